package approval

import (
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/refusal/refusaltest"
)

func TestQuestionIsRefusedAtItsFieldOrFrozenAsAWhole(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Question)
		refusal string
	}{
		{"as it is", func(*Question) {}, ""},
		{"the zero question", func(q *Question) { *q = Question{} }, ": your entity no longer exists in Vault"},
		{"nobody asks", func(q *Question) { q.Requester = Standing{} }, ": your entity no longer exists in Vault"},
		{"a disabled entity asks", func(q *Question) { q.Requester.Disabled = true }, ": your entity is disabled in Vault"},
		{"no role", func(q *Question) { q.Role = Role{} }, `role: "" cannot be asked for: policy: it is empty; name the policy`},
		{"a role that is not valid", func(q *Question) { changeSecret(&q.Role, func(s *grant.Secret) { s.GrantPolicies = nil }) }, `role: "dba" cannot be asked for: grant_policies: it is empty`},
		{"no policy", func(q *Question) { q.Policy = Policy{} }, `role: "dba" cannot be asked for: rules: it is empty`},
		{"a policy that is not valid", func(q *Question) { q.Policy.Rules[0].Approvals = 0 }, `role: "dba" cannot be asked for: rules[0].approvals: it is 0 in rule "dba"`},
		{"another policy than the role's", func(q *Question) { q.Policy.Name = "lax" }, `role: "dba" is guarded by policy "prod", not by "lax"`},
		{"not among the requesters", func(q *Question) { q.Role.RequesterEntityIDs = []string{"entity-bob"} }, `role: you are not among the requesters of "dba"`},
		{"not in the requesters' group", func(q *Question) {
			q.Role.RequesterIdentityGroupIDs, q.IdentityGroupIDs = []string{"g1"}, []string{"g2"}
		}, `role: you are not among the requesters of "dba"`},
		{"among the requesters", func(q *Question) { q.Role.RequesterEntityIDs = []string{"entity-alice"} }, ""},
		{"in the requesters' group", func(q *Question) {
			q.Role.RequesterIdentityGroupIDs, q.IdentityGroupIDs = []string{"g1"}, []string{"g1"}
		}, ""},

		{"no reason where none is required", func(q *Question) { q.Reason = "" }, ""},
		{"no reason where one is required", func(q *Question) { q.Policy.RequireReason, q.Reason = true, "" }, `reason: it is empty, but policy "prod" requires one`},
		{"only space where a reason is required", func(q *Question) { q.Policy.RequireReason, q.Reason = true, " \t\n\u00a0\u3000" }, `reason: it is empty, but policy "prod" requires one`},
		{"nothing visible where a reason is required", func(q *Question) { q.Policy.RequireReason, q.Reason = true, "\u200b\u2060\ufeff" }, `reason: it is empty, but policy "prod" requires one`},
		{"a reason where one is required", func(q *Question) { q.Policy.RequireReason = true }, ""},
		{"a reason too long", func(q *Question) { q.Reason = strings.Repeat("x", 1<<20) }, "reason: it has 1048576 bytes; at most 4096 are accepted"},
		{"a reason as long as accepted", func(q *Question) { q.Reason = strings.Repeat("x", 4096) }, ""},
		{"an unreadable reason", func(q *Question) { q.Reason = "a\x00b" }, "reason: it holds the control character U+0000"},
		{"a reason that matches", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", "INC-7" }, ""},
		{"a reason that matches in part", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", "INC-7 or so" }, `reason: "INC-7 or so" does not match "INC-[0-9]+", which policy "prod" requires`},
		{"a reason that matches on one line", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "(?m)^INC-[0-9]+$", "INC-7\nx" }, `reason: "INC-7\nx" does not match`},
		{"no reason where one that is given has to match", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", "" }, ""},
		{"only space where one that is given has to match", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", " " }, `reason: " " does not match`},

		{"the shortest ttl", func(q *Question) { q.TTL = time.Second }, ""},
		{"a ttl below a second", func(q *Question) { q.TTL = time.Second - 1 }, "ttl: it is 999.999999ms; it must be whole seconds and at least 1s"},
		{"a ttl in parts of seconds", func(q *Question) { q.TTL = 1500 * time.Millisecond }, "ttl: it is 1.5s"},
		{"a negative ttl", func(q *Question) { q.TTL = -time.Hour }, "ttl: it is -1h0m0s"},
		{"the policy's longest ttl", func(q *Question) { q.TTL = 8 * time.Hour }, ""},
		{"a ttl above the policy's", func(q *Question) { q.TTL = 8*time.Hour + time.Second }, `ttl: 8h0m1s is longer than the max_ttl of policy "prod", 8h0m0s`},
		{"the mount's longest ttl", func(q *Question) { q.MaxWindow = time.Hour }, ""},
		{"a ttl above the mount's", func(q *Question) { q.MaxWindow = time.Hour - time.Second }, "ttl: 1h0m0s is longer than the longest lease of this mount, 59m59s"},
		{"no ttl where the mount allows none", func(q *Question) { q.TTL, q.MaxWindow = 0, 0 }, "ttl: it is 0s"},

		{"one more than may wait", func(q *Question) { q.Waiting, q.MaxWaiting = 20, 20 }, ": you have 20 requests waiting, as many as this engine allows one person; cancel some or wait for their decision"},
		{"as many as may wait", func(q *Question) { q.Waiting, q.MaxWaiting = 19, 20 }, ""},
		{"no limit named", func(q *Question) { q.MaxWaiting = 0 }, ": you have 0 requests waiting, as many as this engine allows one person"},

		{"an unknown parameter", func(q *Question) { q.Parameters = map[string]string{"a": "b"} }, `parameters.a: there is no such parameter; this role accepts none`},
		{"a value that would climb", func(q *Question) {
			changeSecret(&q.Role, func(s *grant.Secret) {
				s.Path, s.Parameters = "database/creds/{{.Parameters.db}}", grant.Parameters{"db": {Pattern: ".*", Required: true}}
			})
			q.Parameters = map[string]string{"db": "../../sys/raw"}
		}, `parameters.db: it is "../../sys/raw", which cannot be part of a path`},
	} {
		t.Run(c.name, func(t *testing.T) {
			question := asking(prod(rule("dba", 2, "dbas")))
			c.change(&question)
			record, err := New(requestID, question, start)
			if c.refusal != "" {
				refusaltest.WantAt(t, err, c.refusal)
				wantEqual(t, "the record that is refused", record, Record{})
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			r, err := Replay(record)
			if err != nil {
				t.Fatal(err)
			}
			wantState(t, r, start, StatePending)
			wantEqual(t, "reason", r.Ask.Reason, question.Reason)
		})
	}
}

func TestAskFreezesWhatItIsJudgedAndExecutedBy(t *testing.T) {
	question := asking(prod(rule("dba", 2, "dbas")))
	question.Requester.Metadata = map[string]string{"team": "orders"}
	// Of two logins at one mount the first is the one.
	question.Requester.Aliases = append(question.Requester.Aliases, Alias{MountAccessor: loginMount, Name: "second"})
	changeSecret(&question.Role, func(s *grant.Secret) {
		s.Operation = grant.Write
		s.Path = "database/{{.Parameters.db}}/{{.Requester.Name}}"
		s.Data = map[string]any{
			"ttl": "{{.TTL}}", "id": "{{.Request.ID}}", "entity": "{{.Requester.EntityID}}",
			"team": "{{.Requester.Metadata.team}}", "login": "{{.Requester.Alias." + loginMount + "}}",
		}
		s.Parameters = grant.Parameters{"db": {Pattern: "[a-z]+", Default: "orders"}}
	})
	question.Reason = "<script>alert(1)</script> & \"quotes\" {{.TTL}}\n\tsecond line"
	record, err := New(requestID, question, start.In(time.FixedZone("CET", 3600)))
	if err != nil {
		t.Fatal(err)
	}
	now, err := question.Role.Now("entity-alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "record", record, Record{V: 1, ID: requestID, Asked: record.Asked, Digest: record.Digest, Events: Events{}})
	r, err := Replay(record)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "ask", r.Ask, Ask{
		ID:              requestID,
		Role:            "dba",
		RoleFingerprint: now.Fingerprint,
		Requester:       question.Requester.Person,
		Reason:          question.Reason,
		TTL:             time.Hour,
		Parameters:      map[string]string{"db": "orders"},
		Policy:          question.Policy,
		Grant: grant.Rendered{
			Kind: grant.KindSecret, Path: "database/orders/alice", Operation: grant.Write, GrantPolicies: []string{"jit-dba"},
			Data: map[string]any{"ttl": "3600", "id": requestID, "entity": "entity-alice", "team": "orders", "login": "alice"},
		},
		At: start,
	})
}

// A year that JSON cannot hold stands for whatever json.Marshal refuses.
func TestAskThatCannotBeStoredIsAFault(t *testing.T) {
	_, err := New(requestID, asking(prod(rule("dba", 1, "dbas"))), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	wantRefusal(t, err, "encoding what was asked")
	if refusal.Of(err) != nil {
		t.Error("it is a refusal")
	}
}

func TestWindowNobodyNamedIsTheDefaultAsFarAsTheMountAllows(t *testing.T) {
	for _, c := range []struct{ def, mount, want time.Duration }{
		{0, 24 * time.Hour, time.Hour},
		{2 * time.Hour, 24 * time.Hour, 2 * time.Hour},
		{2 * time.Hour, 30 * time.Minute, 30 * time.Minute},
	} {
		question := asking(prod(rule("dba", 2, "dbas")))
		question.TTL, question.Policy.DefaultTTL, question.MaxWindow = 0, c.def, c.mount
		r, err := ask(requestID, question, start)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "ttl", r.Ask.TTL, c.want)
	}
}

func TestBadReasonPatternAcceptsNothing(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"))
	policy.ReasonPattern = "("
	refusaltest.WantAt(t, policy.checkReason("("), `reason: "(" is not a regular expression`)
}
