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

// absentID is an id that no request has.
const absentID = "01a00000-0000-7000-8000-000000000000"

func (w *world) keys(person *vaulttest.Person, path string, query map[string][]string) []string {
	w.t.Helper()
	values := map[string][]string{"list": {"true"}}
	maps.Copy(values, query)
	secret, err := person.Client.Logical().ReadWithDataWithContext(w.t.Context(), w.mount.Path+"/"+path, values)
	must(w.t, err)
	var keys []string
	if secret != nil {
		list, _ := secret.Data["keys"].([]any)
		for _, key := range list {
			keys = append(keys, key.(string))
		}
	}
	return keys
}

func (w *world) wantKeys(person *vaulttest.Person, path string, query map[string][]string, want ...string) {
	w.t.Helper()
	if got := w.keys(person, path, query); !slices.Equal(got, want) {
		w.t.Errorf("%s lists %s %v as %v, want %v", person.Name, path, query, got, want)
	}
}

func TestHiddenRequestIsAnsweredLikeAnAbsentOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	if w.request(w.mallory, id) != nil || w.request(w.mallory, absentID) != nil {
		t.Error("somebody who has no part in it reads the request")
	}
	for _, path := range []string{"approve", "deny", "withdraw", "cancel", "claim", "revoke"} {
		_, hidden := w.as(w.mallory, path, map[string]any{"id": id})
		_, absent := w.as(w.mallory, path, map[string]any{"id": absentID})
		wantRefusal(t, hidden, "no request")
		if strings.ReplaceAll(hidden.Error(), id, absentID) != absent.Error() {
			t.Errorf("%s answers %q for a hidden request and %q for an absent one", path, hidden, absent)
		}
	}
	w.wantKeys(w.mallory, "requests", nil)
	w.wantKeys(w.mallory, "inbox", nil)
	w.wantState(id, "pending")
}

func TestInboxHoldsWhatOneCanDecideAndHasNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	first, second := w.ask(w.alice, map[string]any{"role": "otp"}), w.ask(w.alice, map[string]any{"role": "otp"})
	own := w.ask(w.bob, map[string]any{"role": "otp"})
	w.wantKeys(w.alice, "inbox", nil)
	w.wantKeys(w.bob, "inbox", nil, first, second)
	w.wantKeys(w.carol, "inbox", nil, first, second, own)
	w.wantKeys(w.carol, "inbox", map[string][]string{"limit": {"1"}}, first)
	w.wantKeys(w.carol, "inbox", map[string][]string{"after": {first}}, second, own)
	w.approve(first, w.bob)
	w.wantKeys(w.bob, "inbox", nil, second)
	w.does(w.bob, "withdraw", map[string]any{"id": first})
	w.wantKeys(w.bob, "inbox", nil, first, second)
	w.approve(first, w.bob, w.carol)
	w.claim(w.alice, first)
	w.does(w.alice, "cancel", map[string]any{"id": second})
	w.wantKeys(w.bob, "inbox", nil)
	w.wantKeys(w.carol, "inbox", nil, own)
}

func TestListsShowWhatOneMaySeeAndAsksFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	auditors, err := w.Group(t.Context(), "auditors", w.mallory)
	must(t, err)
	w.set("config", map[string]any{"auditor_group_ids": []string{auditors.ID}})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	role, err := w.mount.Read(t.Context(), "roles/otp")
	must(t, err)
	w.set("roles/other", map[string]any{
		"policy": "one", "path": role.Data["path"], "operation": "write", "data": role.Data["data"], "grant_policies": role.Data["grant_policies"],
	})
	pending := w.ask(w.alice, map[string]any{"role": "otp"})
	denied := w.ask(w.alice, map[string]any{"role": "other"})
	w.does(w.bob, "deny", map[string]any{"id": denied})
	active := w.ask(w.carol, map[string]any{"role": "otp"})
	w.approve(active, w.bob)
	w.claim(w.carol, active)
	stranger, err := w.mount.Person(t.Context(), "stranger")
	must(t, err)

	all := map[string][]string{"state": {"all"}}
	for _, person := range []*vaulttest.Person{w.bob, w.carol, w.mallory} {
		w.wantKeys(person, "requests", nil, pending, active)
		w.wantKeys(person, "requests", all, pending, denied, active)
	}
	w.wantKeys(w.alice, "requests", nil, pending)
	w.wantKeys(w.alice, "requests", all, pending, denied)
	w.wantKeys(w.alice, "requests", map[string][]string{"state": {"denied"}}, denied)
	w.wantKeys(w.mallory, "requests", map[string][]string{"state": {"denied,active"}}, denied, active)
	w.wantKeys(w.mallory, "requests", map[string][]string{"state": {"all"}, "role": {"otp"}}, pending, active)
	w.wantKeys(w.mallory, "requests", map[string][]string{"state": {"all"}, "limit": {"2"}}, pending, denied)
	w.wantKeys(w.mallory, "requests", map[string][]string{"state": {"all"}, "after": {denied}}, active)
	w.wantKeys(stranger, "requests", all)
	w.wantPages(w.mallory, "requests", "all", pending, denied, active)
	for query, says := range map[string]string{"state=sleeping": "sleeping", "limit=0": "limit", "after=x": "after", "stat=all": "stat"} {
		name, value, _ := strings.Cut(query, "=")
		_, err := w.mallory.Client.Logical().ReadWithDataWithContext(t.Context(), w.mount.Path+"/requests", map[string][]string{"list": {"true"}, name: {value}})
		wantRefusal(t, err, says)
	}

	// Auditors end what they see, and cannot decide or claim.
	w.refuses(w.mallory, "approve", map[string]any{"id": pending}, "none of the approver groups")
	w.refuses(w.mallory, "claim", map[string]any{"id": pending}, "only its requester")
	w.does(w.mallory, "revoke", map[string]any{"id": active})
	if by := w.request(w.carol, active)["grant"].(map[string]any)["ended_by"].(map[string]any); by["entity_id"] != w.mallory.EntityID {
		t.Errorf("it was ended by %v", by)
	}
}

// wantPages goes through a list one by one, as next tells to.
func (w *world) wantPages(person *vaulttest.Person, path, state string, want ...string) {
	w.t.Helper()
	query := map[string][]string{"list": {"true"}, "state": {state}, "limit": {"1"}}
	for i, id := range want {
		page, err := person.Client.Logical().ReadWithDataWithContext(w.t.Context(), w.mount.Path+"/"+path, query)
		must(w.t, err)
		next, more := page.Data["next"].(string)
		if keys := fmt.Sprint(page.Data["keys"]); keys != fmt.Sprint([]string{id}) {
			w.t.Errorf("page %d is %s, want %s", i, keys, id)
		}
		if last := i == len(want)-1; last == more || (more && next != id) || last != (len(page.Warnings) == 0) {
			w.t.Errorf("page %d says to go on after %q (%q)", i, next, page.Warnings)
		}
		query["after"] = []string{next}
	}
}

func TestReadsChangeNothingThatIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	pending := w.ask(w.alice, map[string]any{"role": "otp"})
	w.set("policies/one", map[string]any{"request_ttl": "1s"})
	expired := w.ask(w.alice, map[string]any{"role": "otp"})
	vaulttest.Eventually(t, "a request to expire", func(context.Context) error {
		if state := w.request(w.alice, expired)["state"]; state != "expired" {
			return fmt.Errorf("it is %v", state)
		}
		return nil
	})
	before, err := w.mount.Storage(t.Context())
	must(t, err)
	for _, path := range []string{
		"config", "status", "approver-groups/dba", "policies/one", "policies/one/check", "roles/otp",
		"requests/" + pending, "requests/" + expired, "requests/" + absentID,
	} {
		for _, client := range []*api.Client{w.Root(), w.alice.Client, w.bob.Client} {
			_, _ = client.Logical().ReadWithContext(t.Context(), w.mount.Path+"/"+path)
		}
	}
	for _, path := range []string{"approver-groups", "policies", "roles", "requests", "inbox"} {
		for _, client := range []*api.Client{w.Root(), w.alice.Client, w.bob.Client} {
			_, _ = client.Logical().ListWithContext(t.Context(), w.mount.Path+"/"+path)
		}
	}
	w.keys(w.bob, "requests", map[string][]string{"state": {"all"}})
	after, err := w.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("reading changed what is stored")
	}
}

func TestOneRequesterCannotFillTheEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{Config: map[string]any{"max_pending_per_requester": 2}})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	first := w.ask(w.alice, map[string]any{"role": "otp"})
	w.ask(w.alice, map[string]any{"role": "otp"})
	w.refuses(w.alice, "request", map[string]any{"role": "otp", "reason": "x"}, "2 requests waiting")
	w.ask(w.carol, map[string]any{"role": "otp"})
	w.approve(first, w.bob)
	w.claim(w.alice, first) // what is granted waits no longer
	w.ask(w.alice, map[string]any{"role": "otp"})
}

// asText is an answer as text, for looking for secrets in it.
func asText(t *testing.T, answer any) string {
	t.Helper()
	text, err := json.Marshal(answer)
	must(t, err)
	return string(text)
}

func TestNoSecretIsInAnyLogOrRead(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{}) // of its own, because all of its log is read
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	w.databaseOn(pg)
	secrets := map[string]string{"the engine's secret_id": w.mount.SecretID}
	var shown []string
	remember := func(err error) {
		if err != nil {
			shown = append(shown, err.Error())
		}
	}
	note := func(id string) {
		grants, err := w.mount.GrantTokens(t.Context())
		must(t, err)
		for _, token := range grants {
			secrets["accessor of a grant token "+token.Accessor] = token.Accessor
		}
		engine, err := w.mount.EngineTokens(t.Context())
		must(t, err)
		for _, token := range engine {
			secrets["accessor of the engine's token "+token.Accessor] = token.Accessor
		}
		shown = append(shown, asText(t, w.request(w.alice, id)))
	}
	for _, how := range []string{"revoked", "outage", "refused"} {
		id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
		_, err := w.as(w.alice, "claim", map[string]any{"id": id})
		remember(err)
		w.approve(id, w.bob, w.carol)
		if how == "refused" {
			pg.Stop()
			_, err := w.as(w.alice, "claim", map[string]any{"id": id})
			remember(err)
			note(id)
			must(t, pg.Start(t.Context()))
		}
		credential := w.claim(w.alice, id)
		secrets["a password "+how] = credential.Data["password"].(string)
		note(id)
		if how == "outage" {
			pg.Stop()
		}
		answer, err := w.as(w.bob, "revoke", map[string]any{"id": id})
		remember(err)
		shown = append(shown, asText(t, answer))
		note(id)
		if how == "outage" {
			must(t, pg.Start(t.Context()))
		}
	}
	w.set("config/rotate-root", nil)
	stored, err := w.mount.Storage(t.Context())
	must(t, err)
	var config struct {
		Body struct {
			SecretID string `json:"secret_id"`
		} `json:"body"`
	}
	must(t, json.Unmarshal([]byte(stored["config"]), &config))
	secrets["the rotated secret_id"] = config.Body.SecretID
	for _, path := range []string{"config", "status", "roles/db", "policies/two", "policies/two/check", "approver-groups/dba"} {
		secret, err := w.mount.Read(t.Context(), path)
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
		// The audit log is Vault's own: it shows accessors of its callers, and hashes all else.
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
