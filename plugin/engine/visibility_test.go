package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// absentID is the id of no request.
const absentID = "01a00000-0000-7000-8000-000000000000"

func (f *fixture) listKeys(person *vaulttest.Person, path string, query map[string][]string) []string {
	f.t.Helper()
	values := map[string][]string{"list": {"true"}}
	maps.Copy(values, query)
	secret, err := person.Client.Logical().ReadWithDataWithContext(f.t.Context(), f.mount.Path+"/"+path, values)
	must(f.t, err)
	var keys []string
	if secret != nil {
		list, _ := secret.Data["keys"].([]any)
		for _, key := range list {
			keys = append(keys, key.(string))
		}
	}
	return keys
}

func (f *fixture) wantKeys(person *vaulttest.Person, path string, query map[string][]string, want ...string) {
	f.t.Helper()
	if got := f.listKeys(person, path, query); !slices.Equal(got, want) {
		f.t.Errorf("%s lists %s %v as %v, want %v", person.Name, path, query, got, want)
	}
}

func TestStrangerGetsTheSameAnswerForAHiddenAndAnAbsentRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	if f.readRequest(f.mallory, id) != nil || f.readRequest(f.mallory, absentID) != nil {
		t.Error("a stranger reads the request")
	}
	for _, path := range []string{"approve", "deny", "withdraw", "cancel", "claim/ID", "revoke"} {
		_, hidden := f.writeAs(f.mallory, strings.Replace(path, "ID", id, 1), map[string]any{"id": id})
		_, absent := f.writeAs(f.mallory, strings.Replace(path, "ID", absentID, 1), map[string]any{"id": absentID})
		wantRefusal(t, hidden, "no request")
		if strings.ReplaceAll(hidden.Error(), id, absentID) != absent.Error() {
			t.Errorf("%s answers %q for a hidden request and %q for an absent one", path, hidden, absent)
		}
	}
	f.wantKeys(f.mallory, "requests", nil)
	f.wantKeys(f.mallory, "inbox", nil)
	f.wantState(id, "pending")
}

func TestInboxListsUndecidedRequestsOfItsApprover(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	first, second := f.ask(f.alice, map[string]any{"role": "otp"}), f.ask(f.alice, map[string]any{"role": "otp"})
	own := f.ask(f.bob, map[string]any{"role": "otp"})
	f.wantKeys(f.alice, "inbox", nil)
	f.wantKeys(f.bob, "inbox", nil, second, first)
	f.wantKeys(f.carol, "inbox", nil, own, second, first)
	f.wantKeys(f.carol, "inbox", map[string][]string{"limit": {"1"}}, own)
	f.wantKeys(f.carol, "inbox", map[string][]string{"after": {own}}, second, first)
	f.approve(first, f.bob)
	f.wantKeys(f.bob, "inbox", nil, second)
	f.mustWriteAs(f.bob, "withdraw", map[string]any{"id": first})
	f.wantKeys(f.bob, "inbox", nil, second, first)
	f.approve(first, f.bob, f.carol)
	f.claim(f.alice, first)
	f.mustWriteAs(f.alice, "cancel", map[string]any{"id": second})
	f.wantKeys(f.bob, "inbox", nil)
	f.wantKeys(f.carol, "inbox", nil, own)
}

func TestRequestsAreListedByPersonAndFilter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	auditors, err := f.Group(t.Context(), "auditors", f.mallory)
	must(t, err)
	f.writeAsAdmin("config", map[string]any{"auditor_group_ids": []string{auditors.ID}})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	role, err := f.mount.Read(t.Context(), "roles/otp")
	must(t, err)
	f.writeAsAdmin("roles/other", map[string]any{
		"policy": "one", "path": role.Data["path"], "operation": "write", "data": role.Data["data"], "grant_policies": role.Data["grant_policies"],
	})
	pending := f.ask(f.alice, map[string]any{"role": "otp"})
	denied := f.ask(f.alice, map[string]any{"role": "other"})
	f.mustWriteAs(f.bob, "deny", map[string]any{"id": denied})
	active := f.ask(f.carol, map[string]any{"role": "otp"})
	f.approve(active, f.bob)
	f.claim(f.carol, active)
	stranger, err := f.mount.Person(t.Context(), "stranger")
	must(t, err)

	all := map[string][]string{"state": {"all"}}
	for _, person := range []*vaulttest.Person{f.bob, f.carol, f.mallory} {
		f.wantKeys(person, "requests", nil, active, pending)
		f.wantKeys(person, "requests", all, active, denied, pending)
	}
	f.wantKeys(f.alice, "requests", nil, pending)
	f.wantKeys(f.alice, "requests", all, denied, pending)
	f.wantKeys(f.alice, "requests", map[string][]string{"state": {"denied"}}, denied)
	f.wantKeys(f.mallory, "requests", map[string][]string{"state": {"denied,active"}}, active, denied)
	f.wantKeys(f.mallory, "requests", map[string][]string{"state": {"all"}, "role": {"otp"}}, active, pending)
	f.wantKeys(f.mallory, "requests", map[string][]string{"state": {"all"}, "limit": {"2"}}, active, denied)
	f.wantKeys(f.mallory, "requests", map[string][]string{"state": {"all"}, "after": {denied}}, pending)
	f.wantKeys(stranger, "requests", all)
	f.wantPages(f.mallory, "requests", "all", active, denied, pending)
	for query, says := range map[string]string{"state=sleeping": "sleeping", "limit=0": "limit", "after=x": "after", "stat=all": "stat"} {
		name, value, _ := strings.Cut(query, "=")
		_, err := f.mallory.Client.Logical().ReadWithDataWithContext(t.Context(), f.mount.Path+"/requests", map[string][]string{"list": {"true"}, name: {value}})
		wantRefusal(t, err, says)
	}

	// Auditors may end any grant, and cannot decide or claim.
	f.wantRefused(f.mallory, "approve", map[string]any{"id": pending}, "none of the approver groups")
	f.wantRefused(f.mallory, "claim/"+pending, nil, "only its requester")
	f.mustWriteAs(f.mallory, "revoke", map[string]any{"id": active})
	if by := f.readRequest(f.carol, active)["grant"].(map[string]any)["ended_by"].(map[string]any); by["entity_id"] != f.mallory.EntityID {
		t.Errorf("it was ended by %v", by)
	}
}

// wantPages reads a list in pages of one entry and follows next.
func (f *fixture) wantPages(person *vaulttest.Person, path, state string, want ...string) {
	f.t.Helper()
	query := map[string][]string{"list": {"true"}, "state": {state}, "limit": {"1"}}
	for i, id := range want {
		page, err := person.Client.Logical().ReadWithDataWithContext(f.t.Context(), f.mount.Path+"/"+path, query)
		must(f.t, err)
		next, more := page.Data["next"].(string)
		if keys := fmt.Sprint(page.Data["keys"]); keys != fmt.Sprint([]string{id}) {
			f.t.Errorf("page %d is %s, want %s", i, keys, id)
		}
		if last := i == len(want)-1; last == more || (more && next != id) || last != (len(page.Warnings) == 0) {
			f.t.Errorf("page %d has the next %q and warns %q", i, next, page.Warnings)
		}
		query["after"] = []string{next}
	}
}

func TestReadsWriteNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	pending := f.ask(f.alice, map[string]any{"role": "otp"})
	f.writeAsAdmin("policies/one", map[string]any{"request_ttl": "1s"})
	expired := f.ask(f.alice, map[string]any{"role": "otp"})
	vaulttest.Eventually(t, "a request to expire", func(context.Context) error {
		if state := f.readRequest(f.alice, expired)["state"]; state != "expired" {
			return fmt.Errorf("it is %v", state)
		}
		return nil
	})
	before, err := f.mount.Storage(t.Context())
	must(t, err)
	for _, path := range []string{
		"config", "status", "approver-groups/dba", "policies/one", "policies/one/check", "roles/otp",
		"requests/" + pending, "requests/" + expired, "requests/" + absentID,
	} {
		for _, client := range []*api.Client{f.Root(), f.alice.Client, f.bob.Client} {
			_, _ = client.Logical().ReadWithContext(t.Context(), f.mount.Path+"/"+path)
		}
	}
	for _, path := range []string{"approver-groups", "policies", "roles", "requests", "inbox"} {
		for _, client := range []*api.Client{f.Root(), f.alice.Client, f.bob.Client} {
			_, _ = client.Logical().ListWithContext(t.Context(), f.mount.Path+"/"+path)
		}
	}
	f.listKeys(f.bob, "requests", map[string][]string{"state": {"all"}})
	after, err := f.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("reading changed what is stored")
	}
}

func TestRequesterHasALimitOfPendingRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"max_pending_per_requester": 2}})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	first := f.ask(f.alice, map[string]any{"role": "otp"})
	f.ask(f.alice, map[string]any{"role": "otp"})
	f.wantRefused(f.alice, "request", map[string]any{"role": "otp", "reason": "x"}, "2 requests waiting")
	f.ask(f.carol, map[string]any{"role": "otp"})
	f.approve(first, f.bob)
	f.claim(f.alice, first) // a granted request is no longer pending
	f.ask(f.alice, map[string]any{"role": "otp"})
}

// asText formats an answer, so that a test can look for secrets in it.
func asText(t *testing.T, answer any) string {
	t.Helper()
	text, err := json.Marshal(answer)
	must(t, err)
	return string(text)
}

func TestSecretsAreInNoLogAndNoAnswer(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{}) // its own cluster, because the test reads its whole log
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	secrets := map[string]string{"the engine's secret_id": f.mount.SecretID}
	var shown []string
	remember := func(err error) {
		if err != nil {
			shown = append(shown, err.Error())
		}
	}
	note := func(id string) {
		grants, err := f.mount.GrantTokens(t.Context())
		must(t, err)
		for _, token := range grants {
			secrets["accessor of a grant token "+token.Accessor] = token.Accessor
		}
		engine, err := f.mount.EngineTokens(t.Context())
		must(t, err)
		for _, token := range engine {
			secrets["accessor of the engine's token "+token.Accessor] = token.Accessor
		}
		shown = append(shown, asText(t, f.readRequest(f.alice, id)))
	}
	for _, how := range []string{"revoked", "outage", "refused"} {
		id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
		_, err := f.writeAs(f.alice, "claim/"+id, nil)
		remember(err)
		f.approve(id, f.bob, f.carol)
		if how == "refused" {
			pg.Stop()
			_, err := f.writeAs(f.alice, "claim/"+id, nil)
			remember(err)
			note(id)
			must(t, pg.Start(t.Context()))
		}
		credential := f.claim(f.alice, id)
		secrets["a password "+how] = credential.Data["password"].(string)
		note(id)
		if how == "outage" {
			pg.Stop()
		}
		answer, err := f.writeAs(f.bob, "revoke", map[string]any{"id": id})
		remember(err)
		shown = append(shown, asText(t, answer))
		note(id)
		if how == "outage" {
			must(t, pg.Start(t.Context()))
		}
	}
	f.writeAsAdmin("config/rotate-root", nil)
	stored, err := f.mount.Storage(t.Context())
	must(t, err)
	var config struct {
		Body struct {
			SecretID string `json:"secret_id"`
		} `json:"body"`
	}
	must(t, json.Unmarshal([]byte(stored["config"]), &config))
	secrets["the rotated secret_id"] = config.Body.SecretID
	for _, path := range []string{"config", "status", "roles/db", "policies/two", "policies/two/check", "approver-groups/dba"} {
		secret, err := f.mount.Read(t.Context(), path)
		must(t, err)
		shown = append(shown, asText(t, secret.Data))
	}
	log, err := cluster.Log()
	must(t, err)
	audit, err := cluster.AuditLog()
	must(t, err)
	if len(secrets) < 7 || !strings.Contains(log, "[TRACE]") {
		t.Fatalf("only %d secrets are looked for, or the log is not at trace level", len(secrets))
	}
	for what, secret := range secrets {
		if secret == "" {
			t.Fatalf("%s is empty", what)
		}
		// Vault's audit log shows the accessors of callers and hashes all other secrets.
		if !strings.HasPrefix(what, "accessor") && strings.Contains(audit, secret) {
			t.Errorf("%s is in the audit log", what)
		}
		if strings.Contains(log, secret) {
			t.Errorf("%s is in the log", what)
		}
		for _, text := range shown {
			if strings.Contains(text, secret) {
				t.Errorf("%s is shown: %.300s", what, text)
			}
		}
	}
}
