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

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// absentID is the id of no request.
const absentID = "01a00000-0000-7000-8000-000000000000"

func listIDs(page client.Page) []string {
	ids := []string{}
	for _, request := range page.Requests {
		ids = append(ids, request.ID)
	}
	return ids
}

// wantRequests checks which requests the person is shown, newest first.
func (f *fixture) wantRequests(person *vaulttest.Person, query wire.Query, want ...string) client.Page {
	f.t.Helper()
	page, err := f.as(person).Requests(f.t.Context(), query)
	must(f.t, err)
	if got := listIDs(page); !slices.Equal(got, want) {
		f.t.Errorf("%s lists the requests %+v as %v, want %v", person.Name, query, got, want)
	}
	return page
}

// wantInbox checks which requests wait for the person, newest first.
func (f *fixture) wantInbox(person *vaulttest.Person, part wire.Page, want ...string) client.Page {
	f.t.Helper()
	page, err := f.as(person).Inbox(f.t.Context(), part)
	must(f.t, err)
	if got := listIDs(page); !slices.Equal(got, want) {
		f.t.Errorf("%s has %v in the inbox, %+v of it, want %v", person.Name, got, part, want)
	}
	return page
}

func TestStrangerGetsTheSameAnswerForAHiddenAndAnAbsentRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.ask(f.alice, wire.Ask{Role: "otp"})
	if f.sees(f.mallory, id) || f.sees(f.mallory, absentID) {
		t.Error("a stranger reads the request")
	}
	mallory := f.as(f.mallory)
	try := func(id string) (refusals []error) {
		_, _, revoking := mallory.Revoke(t.Context(), id)
		return []error{
			errorOf(mallory.Approve(t.Context(), id, "")), errorOf(mallory.Deny(t.Context(), id, "")), errorOf(mallory.Withdraw(t.Context(), id)),
			errorOf(mallory.Cancel(t.Context(), id)), errorOf(mallory.Claim(t.Context(), id)), revoking,
		}
	}
	absent := try(absentID)
	for n, hidden := range try(id) {
		wantRefusal(t, hidden, "no request")
		if strings.ReplaceAll(hidden.Error(), id, absentID) != absent[n].Error() {
			t.Errorf("call %d is answered with %q for a hidden request and %q for an absent one", n, hidden, absent[n])
		}
	}
	f.wantRequests(f.mallory, wire.Query{})
	f.wantInbox(f.mallory, wire.Page{})
	f.wantState(id, "pending")
}

func TestInboxListsUndecidedRequestsOfItsApprover(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", newPolicy(2))
	first, second := f.ask(f.alice, wire.Ask{Role: "otp"}), f.ask(f.alice, wire.Ask{Role: "otp"})
	own := f.ask(f.bob, wire.Ask{Role: "otp"})
	f.wantInbox(f.alice, wire.Page{})
	f.wantInbox(f.bob, wire.Page{}, second, first)
	f.wantInbox(f.carol, wire.Page{}, own, second, first)
	f.wantInbox(f.carol, wire.Page{Limit: 1}, own)
	f.wantInbox(f.carol, wire.Page{After: own}, second, first)
	f.approve(first, f.bob)
	f.wantInbox(f.bob, wire.Page{}, second)
	f.must(f.as(f.bob).Withdraw(t.Context(), first))
	f.wantInbox(f.bob, wire.Page{}, second, first)
	f.approve(first, f.bob, f.carol)
	f.claim(f.alice, first)
	f.must(f.as(f.alice).Cancel(t.Context(), second))
	f.wantInbox(f.bob, wire.Page{})
	f.wantInbox(f.carol, wire.Page{}, own)
}

func TestRequestsAreListedByPersonAndFilter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	auditors, err := f.Group(t.Context(), "auditors", f.mallory)
	must(t, err)
	f.must(f.operated().ChangeConfig(t.Context(), map[string]any{"auditor_group_ids": []string{auditors.ID}}))
	upstream := f.addOTPRole("one", newPolicy(1))
	f.must(f.operated().Roles().Write(t.Context(), "other", newOTPRole("one", upstream)))
	pending := f.ask(f.alice, wire.Ask{Role: "otp"})
	denied := f.ask(f.alice, wire.Ask{Role: "other"})
	f.must(f.as(f.bob).Deny(t.Context(), denied, ""))
	active := f.ask(f.carol, wire.Ask{Role: "otp"})
	f.approve(active, f.bob)
	f.claim(f.carol, active)
	stranger, err := f.mount.Person(t.Context(), "stranger")
	must(t, err)

	all := wire.Query{State: []string{"all"}}
	for _, person := range []*vaulttest.Person{f.bob, f.carol, f.mallory} {
		f.wantRequests(person, wire.Query{}, active, pending)
		f.wantRequests(person, all, active, denied, pending)
	}
	f.wantRequests(f.alice, wire.Query{}, pending)
	f.wantRequests(f.alice, all, denied, pending)
	f.wantRequests(f.alice, wire.Query{State: []string{"denied"}}, denied)
	f.wantRequests(f.mallory, wire.Query{State: []string{"denied,active"}}, active, denied)
	f.wantRequests(f.mallory, wire.Query{State: []string{"denied", "active"}}, active, denied)
	f.wantRequests(f.mallory, wire.Query{State: []string{"all"}, Role: "otp"}, active, pending)
	f.wantRequests(f.mallory, wire.Query{State: []string{"all"}, Page: wire.Page{Limit: 2}}, active, denied)
	f.wantRequests(f.mallory, wire.Query{State: []string{"all"}, Page: wire.Page{After: denied}}, pending)
	f.wantRequests(stranger, all)
	f.wantPages(f.mallory, all, active, denied, pending)
	for query, says := range map[string]string{"state=sleeping": "sleeping", "limit=0": "limit", "after=x": "after", "stat=all": "stat"} {
		name, value, _ := strings.Cut(query, "=")
		wantRefusal(t, errorOf(f.readRaw(f.mallory.Client, "requests", map[string][]string{"list": {"true"}, name: {value}})), says)
	}

	// Auditors may end any grant, and cannot decide or claim.
	f.wantApprovalRefused(pending, f.mallory, "none of the approver groups")
	wantRefusal(t, errorOf(f.as(f.mallory).Claim(t.Context(), pending)), "only its requester")
	f.revoke(f.mallory, active)
	if by := f.readRequest(f.carol, active).Grant.EndedBy; by == nil || by.EntityID != f.mallory.EntityID {
		t.Errorf("it was ended by %v", by)
	}
}

// wantPages reads a list in pages of one entry and follows next.
func (f *fixture) wantPages(person *vaulttest.Person, query wire.Query, want ...string) {
	f.t.Helper()
	query.Limit = 1
	for i, id := range want {
		page := f.wantRequests(person, query, id)
		last := i == len(want)-1
		if last != (page.Next == "") || (!last && page.Next != id) || last != (len(page.Warnings) == 0) {
			f.t.Errorf("page %d has the next %q and warns %q", i, page.Next, page.Warnings)
		}
		query.After = page.Next
	}
}

func TestReadsWriteNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	pending := f.ask(f.alice, wire.Ask{Role: "otp"})
	f.must(f.operated().Policies().Change(t.Context(), "one", map[string]any{"request_ttl": "1s"}))
	expired := f.ask(f.alice, wire.Ask{Role: "otp"})
	vaulttest.Eventually(t, "a request to expire", func(context.Context) error {
		if state := f.readRequest(f.alice, expired).State; state != "expired" {
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
		for _, vault := range []*api.Client{f.Root(), f.alice.Client, f.bob.Client} {
			_, _ = f.readRaw(vault, path, nil)
		}
	}
	for _, path := range []string{"approver-groups", "policies", "roles", "requests", "inbox"} {
		for _, vault := range []*api.Client{f.Root(), f.alice.Client, f.bob.Client} {
			_, _ = f.readRaw(vault, path, map[string][]string{"list": {"true"}})
		}
	}
	f.must(f.as(f.bob).Requests(t.Context(), wire.Query{State: []string{"all"}}))
	after, err := f.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("reading changed what is stored")
	}
}

func TestRequesterHasALimitOfPendingRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"max_pending_per_requester": 2}})
	f.addOTPRole("one", newPolicy(1))
	first := f.ask(f.alice, wire.Ask{Role: "otp"})
	f.ask(f.alice, wire.Ask{Role: "otp"})
	wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), wire.Ask{Role: "otp", Reason: "x"})), "2 requests waiting")
	f.ask(f.carol, wire.Ask{Role: "otp"})
	f.approve(first, f.bob)
	f.claim(f.alice, first) // a granted request is no longer pending
	f.ask(f.alice, wire.Ask{Role: "otp"})
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
		request, err := f.readRaw(f.alice.Client, "requests/"+id, nil)
		must(t, err)
		shown = append(shown, asText(t, request.Data))
	}
	for _, how := range []string{"revoked", "outage", "refused"} {
		id := f.ask(f.alice, wire.Ask{Role: "db", TTL: 10 * minute})
		_, err := f.writeRaw(f.alice.Client, "claim/"+id, nil)
		remember(err)
		f.approve(id, f.bob, f.carol)
		if how == "refused" {
			pg.Stop()
			_, err := f.writeRaw(f.alice.Client, "claim/"+id, nil)
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
		answer, err := f.writeRaw(f.bob.Client, "revoke", map[string]any{"id": id})
		remember(err)
		shown = append(shown, asText(t, answer))
		note(id)
		if how == "outage" {
			must(t, pg.Start(t.Context()))
		}
	}
	f.must(f.operated().RotateRoot(t.Context()))
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
		secret, err := f.readRaw(f.Root(), path, nil)
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
