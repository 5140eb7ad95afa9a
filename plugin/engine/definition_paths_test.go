package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestEveryPathRefusesUnknownFieldsByName(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.ask(f.alice, wire.Ask{Role: "otp"})
	before, err := f.mount.Storage(t.Context())
	must(t, err)
	unknown := map[string]any{"quorum": 0}
	for _, path := range []string{
		"config", "config/rotate-root", "approver-groups/dba", "approver-groups/new", "policies/one", "policies/new", "roles/otp", "roles/new", "tidy",
	} {
		wantRefusal(t, errorOf(f.writeRaw(f.Root(), path, unknown)), "quorum: unknown field", "accepted")
	}
	for _, path := range []string{"request", "request/otp", "approve", "deny", "withdraw", "cancel", "claim", "claim/" + id, "revoke"} {
		wantRefusal(t, errorOf(f.writeRaw(f.alice.Client, path, unknown)), "quorum: unknown field", "accepted")
	}
	query := map[string][]string{"quorum": {"0"}}
	for _, path := range []string{"config", "status", "approver-groups/dba", "policies/one", "policies/one/check", "roles/otp", "requests/" + id} {
		wantRefusal(t, errorOf(f.readRaw(f.Root(), path, query)), "quorum: unknown field")
	}
	query["list"] = []string{"true"}
	for _, path := range []string{"approver-groups", "policies", "roles", "requests", "inbox"} {
		wantRefusal(t, errorOf(f.readRaw(f.Root(), path, query)), "quorum: unknown field")
	}
	after, err := f.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
}

func TestListsDescribeTheirEntries(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	policy := newPolicy(1)
	policy.Description, policy.MaxTTL = "one of them", 2*hour
	f.addOTPRole("one", policy)
	f.must(f.operated().Roles().Change(t.Context(), "otp", map[string]any{"description": "a host"}))
	f.must(f.operated().ApproverGroups().Change(t.Context(), "dba", map[string]any{"description": "who knows the tables", "entity_ids": f.bob.EntityID}))
	groups, err := f.operated().ApproverGroups().List(t.Context())
	must(t, err)
	wantEqual(t, groups, map[string]wire.ApproverGroupSummary{"dba": {EntityIDs: 1, IdentityGroupIDs: 1, Description: "who knows the tables"}})
	policies, err := f.operated().Policies().List(t.Context())
	must(t, err)
	wantEqual(t, policies, map[string]wire.PolicySummary{"one": {Rules: 1, MaxTTL: 2 * hour, Description: "one of them"}})
	roles, err := f.operated().Roles().List(t.Context())
	must(t, err)
	wantEqual(t, roles, map[string]wire.RoleSummary{"otp": {GrantType: "secret", Policy: "one", Description: "a host"}})

	ask := wire.Ask{Role: "otp", TTL: 10 * minute, Reason: "why not"}
	id := f.ask(f.alice, ask)
	for _, page := range []client.Page{f.wantRequests(f.bob, wire.Query{}, id), f.wantInbox(f.bob, wire.Page{}, id)} {
		got := page.Requests[0]
		if got.Role != ask.Role || got.TTL != ask.TTL || got.Reason != ask.Reason || got.State != "pending" || got.Requester != f.alice.Name ||
			got.Operation != "write" || got.Path != "ssh-"+f.mount.Path+"/creds/otp" || got.Data["ip"] != "127.0.0.1" || got.CannotBeTakenBack {
			t.Errorf("a list shows %+v", got)
		}
	}
}

// helpField matches a field in the output of `vault path-help`.
var helpField = regexp.MustCompile(`(?m)^    ([a-z_]+) \(([^\n]+)\)\n\n((?:        [^\n]+\n)*)`)

func TestHelpDescribesEveryField(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	seen := map[string]bool{}
	for _, path := range []string{
		"config", "config/rotate-root", "status", "tidy", "approver-groups", "approver-groups/x", "policies", "policies/x", "policies/x/check", "roles", "roles/x",
		"request", "request/x", "requests", "requests/x", "inbox", "approve", "deny", "withdraw", "cancel", "claim", "claim/x", "revoke",
	} {
		answer, err := f.readRaw(f.Root(), path, map[string][]string{"help": {"1"}})
		must(t, err)
		text := fmt.Sprint(answer.Data["help"])
		for _, field := range helpField.FindAllStringSubmatch(text, -1) {
			seen[field[1]] = true
			if words := strings.Fields(field[3]); len(words) < 2 || !strings.HasSuffix(words[len(words)-1], ".") {
				t.Errorf("%s: %s is described as %q", path, field[1], field[3])
			}
		}
	}
	for _, field := range strings.Fields(`address namespace ca_cert tls_server_name role_id secret_id client_cert client_key auth_mount token token_role
		auditor_group_ids retention max_pending_per_requester entity_ids identity_group_ids description rules deny_threshold allow_self_approval
		require_reason reason_pattern request_ttl claim_ttl default_ttl max_ttl policy grant_type path operation data parameters grant_policies
		allow_unleased requester_entity_ids requester_identity_group_ids role reason ttl id comment state after limit name`) {
		if !seen[field] {
			t.Errorf("no path describes the field %s", field)
		}
	}
}

// A policy names groups and a role names a policy. A deletion at the same time must not leave a name without its object.
func TestDefinitionsNeverNameDeletedDefinitions(t *testing.T) {
	t.Parallel()
	const rounds = 150
	engine, err := enginetest.New(t.Context(), "http://127.0.0.1:1", func(_ string, do func() error) error {
		time.Sleep(time.Duration(rand.IntN(400)) * time.Microsecond) // a slow storage
		return do()
	}, "bob")
	must(t, err)
	t.Cleanup(engine.Close)
	succeeds := func(operation logical.Operation, path string, data map[string]any) bool {
		answer, err := engine.Call(t.Context(), operation, "", path, data)
		return err == nil && (operation != logical.ReadOperation || answer != nil)
	}
	group, policy := map[string]any{"entity_ids": "bob"}, map[string]any{"rules": []any{rule("a", 1, "g")}}
	role := map[string]any{"policy": "p", "path": "a/b", "grant_policies": "p"}
	for name, c := range map[string]struct {
		named, naming         string
		namedData, namingData map[string]any
	}{
		"a group and a policy": {"approver-groups/g", "policies/p", group, policy},
		"a policy and a role":  {"policies/p", "roles/r", policy, role},
	} {
		made, deleted := 0, 0
		for round := range rounds {
			succeeds(logical.UpdateOperation, "approver-groups/g", group)
			if !succeeds(logical.UpdateOperation, c.named, c.namedData) {
				t.Fatalf("%s: %s cannot be made", name, c.named)
			}
			var both sync.WaitGroup
			both.Go(func() {
				waitIf(round%2 == 0)
				succeeds(logical.UpdateOperation, c.naming, c.namingData)
			})
			both.Go(func() {
				waitIf(round%2 == 1)
				succeeds(logical.DeleteOperation, c.named, nil)
			})
			both.Wait()
			namedThere, namingThere := succeeds(logical.ReadOperation, c.named, nil), succeeds(logical.ReadOperation, c.naming, nil)
			switch {
			case namingThere && !namedThere:
				t.Fatalf("%s: %s names %s, which does not exist", name, c.naming, c.named)
			case namingThere:
				made++
			case !namedThere:
				deleted++
			}
			succeeds(logical.DeleteOperation, c.naming, nil)
		}
		if made == 0 || deleted == 0 {
			t.Errorf("%s: the same call always came first (%d and %d times), so the test shows nothing", name, made, deleted)
		}
	}
}

// waitIf delays its caller a little, so that another caller comes first but both still overlap.
func waitIf(late bool) {
	if late {
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	}
}

// A field has one meaning, whether it comes as text from the command line or as JSON.
func TestFieldsMeanTheSameFromTheCommandLineAndInJSON(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	read := func(path string) map[string]any {
		t.Helper()
		secret, err := f.readRaw(f.Root(), path, nil)
		must(t, err)
		for _, field := range []string{"version", "updated_at", "name"} {
			delete(secret.Data, field)
		}
		return secret.Data
	}
	rules := []any{rule("dba", 2, "dba"), rule("more", 1, "dba")}
	forms := map[string][]map[string]any{
		"approver-groups/x": {
			{"entity_ids": []string{"a", "b"}, "identity_group_ids": []string{"g"}, "description": "d"},
			{"entity_ids": "a,b", "identity_group_ids": "g", "description": "d"},
			{"entity_ids": `["a", "b"]`, "identity_group_ids": `["g"]`, "description": "d"},
		},
		"policies/x": {
			{"rules": rules, "deny_threshold": 2, "allow_self_approval": true, "require_reason": false, "max_ttl": 7200, "request_ttl": 60, "claim_ttl": 61, "default_ttl": 62},
			{"rules": asText(t, rules), "deny_threshold": "2", "allow_self_approval": "true", "require_reason": "false", "max_ttl": "2h", "request_ttl": "1m", "claim_ttl": "61", "default_ttl": "62s"},
		},
		"roles/x": {
			{"policy": "x", "path": "a/b", "operation": "write", "data": map[string]any{"n": 5, "list": []any{1, "two", nil, true}, "in": map[string]any{"t": "{{.TTL}}"}},
				"parameters": map[string]any{"p": map[string]any{"pattern": "x+", "required": true}}, "grant_policies": []string{"one", "two"}, "allow_unleased": true},
			{"policy": "x", "path": "a/b", "operation": "write", "data": `{"n": 5, "list": [1, "two", null, true], "in": {"t": "{{.TTL}}"}}`,
				"parameters": `{"p": {"pattern": "x+", "required": true}}`, "grant_policies": "one,two", "allow_unleased": "true"},
		},
	}
	for _, path := range []string{"approver-groups/x", "policies/x", "roles/x"} {
		var first string
		for n, form := range forms[path] {
			f.must(f.writeRaw(f.Root(), path, form))
			got := asText(t, read(path))
			if n == 0 {
				first = got
			} else if got != first {
				t.Errorf("%s given as %v is\n%s, and given as %v\n%s", path, forms[path][0], first, form, got)
			}
		}
	}
	// JSON can hold null and numbers, where the command line has only text.
	for path, body := range map[string]string{
		"policies/x":  `{"max_ttl": null}`,
		"policies/x ": `{"max_ttl": 1.5}`,
		"roles/x":     `{"description": 5}`,
		"roles/x ":    `{"grant_policies": [null]}`,
		"roles/x  ":   `{"data": {"n": 12345678901234567890}}`,
		"config":      `{"max_pending_per_requester": 2.5}`,
	} {
		status, answer := f.sendRaw(f.Root(), http.MethodPut, strings.TrimSpace(path), body, "")
		if status != http.StatusBadRequest || !strings.Contains(answer, strings.Split(body, `"`)[1]) {
			t.Errorf("%s %s is answered with %d %s", path, body, status, answer)
		}
	}
	// Approvers would see these numbers differently from how they are sent.
	for _, number := range []string{"12345678901234567890", "0.12345678901234567890", "1e400", "1e-999999999", "-9007199254740993"} {
		wantRefusal(t, errorOf(f.operated().Roles().Change(t.Context(), "x", map[string]any{"data": `{"n": ` + number + `}`})), "data", "number", "string")
	}
	f.must(f.operated().Roles().Change(t.Context(), "x", map[string]any{"data": `{"n": "12345678901234567890", "share": 0.25}`}))
	if got := fmt.Sprint(read("roles/x")["data"]); got != "map[n:12345678901234567890 share:0.25]" {
		t.Errorf("the data is %s", got)
	}
}
