package engine_test

import (
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// otp gives the world a role "otp" for SSH one-time passwords under the policy of that name.
func (w *world) otp(policy string, fields map[string]any) *vaulttest.Upstream {
	w.t.Helper()
	upstream, err := w.EnableSSHOTP(w.t.Context(), "ssh-"+w.mount.Path, "otp")
	must(w.t, err)
	must(w.t, w.mount.AllowGrants(w.t.Context(), upstream.Policy))
	w.set("policies/"+policy, fields)
	w.set("roles/otp", map[string]any{
		"policy": policy, "path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"},
		"grant_policies": []string{upstream.Policy},
	})
	return upstream
}

// twin is the same human being at another auth mount, with an entity of its own until both are merged.
func (w *world) twin(name string) *vaulttest.Person {
	w.t.Helper()
	twin, err := w.PersonAt(w.t.Context(), "userpass-"+w.mount.Path, name, w.mount.UserPolicy)
	must(w.t, err)
	return twin
}

func (w *world) refusesClaim(id string, words ...string) {
	w.t.Helper()
	w.refuses(w.alice, "claim", map[string]any{"id": id}, words...)
}

func TestApproverWhoIsNoLongerOneIsNamedAndDoesNotCountAtTheClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	ids := map[string]string{}
	for _, name := range []string{"disabled", "left", "deleted"} {
		ids[name] = w.ask(w.alice, map[string]any{"role": "otp"})
		w.approve(ids[name], w.bob, w.carol)
	}
	must(t, w.carol.SetDisabled(t.Context(), true))
	w.refusesClaim(ids["disabled"], "1 of 2", w.carol.Name, "is disabled")
	if _, err := w.as(w.carol, "approve", map[string]any{"id": ids["disabled"]}); err == nil {
		t.Error("a disabled approver approved")
	}
	must(t, w.carol.SetDisabled(t.Context(), false))
	w.claim(w.alice, ids["disabled"])

	must(t, w.dba.SetMembers(t.Context(), w.bob))
	w.refusesClaim(ids["left"], "1 of 2", w.carol.Name, "none of the policy's approver groups")
	must(t, w.dba.SetMembers(t.Context(), w.bob, w.carol))
	w.claim(w.alice, ids["left"])

	must(t, w.carol.Delete(t.Context()))
	w.refusesClaim(ids["deleted"], "1 of 2", w.carol.Name, "no longer exists")
	// Somebody else can take the place of an approver who is gone.
	dave, err := w.mount.Person(t.Context(), "dave")
	must(t, err)
	must(t, w.dba.SetMembers(t.Context(), w.bob, dave))
	w.approve(ids["deleted"], dave)
	w.claim(w.alice, ids["deleted"])
}

func TestWhoLeftTheApproversTakesTheirWordBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	must(t, w.dba.SetMembers(t.Context(), w.carol))
	w.refuses(w.bob, "approve", map[string]any{"id": id}, "none of the approver groups")
	w.does(w.bob, "withdraw", map[string]any{"id": id})
	w.refuses(w.bob, "withdraw", map[string]any{"id": id}, "no request")
	must(t, w.dba.SetMembers(t.Context(), w.bob, w.carol))
	w.wantCounted(id, "0")
}

func TestDenialStandsWhenItsDenierLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	w.does(w.carol, "deny", map[string]any{"id": id, "comment": "not today"})
	must(t, w.dba.SetMembers(t.Context(), w.bob))
	w.wantState(id, "denied")
	w.refusesClaim(id, "denied")
	w.refuses(w.bob, "approve", map[string]any{"id": id}, "denied")
}

func TestRequesterNeverCountsUnderWhateverEntity(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(w *world, twin *vaulttest.Person){
		// The login that approves belongs to the entity that asks.
		"merged before the ask": func(w *world, twin *vaulttest.Person) {
			must(w.t, w.MergeEntities(w.t.Context(), twin, w.alice))
			must(w.t, twin.Login(w.t.Context()))
			id := w.ask(w.alice, map[string]any{"role": "otp"})
			w.refuses(twin, "approve", map[string]any{"id": id}, "you made this request")
		},
		"merged into the requester after the ask": func(w *world, twin *vaulttest.Person) {
			id := w.ask(w.alice, map[string]any{"role": "otp"})
			must(w.t, w.MergeEntities(w.t.Context(), twin, w.alice))
			w.refuses(twin, "approve", map[string]any{"id": id}, "no longer exists") // the old token
			must(w.t, twin.Login(w.t.Context()))
			w.refuses(twin, "approve", map[string]any{"id": id}, "you made this request")
		},
		"requester merged into the approver after the ask": func(w *world, twin *vaulttest.Person) {
			id := w.ask(w.alice, map[string]any{"role": "otp"})
			must(w.t, w.MergeEntities(w.t.Context(), w.alice, twin))
			w.refuses(twin, "approve", map[string]any{"id": id}, "you made this request")
			w.refusesApproval(id, w.bob, "the requester no longer exists")
			w.refuses(w.alice, "claim", map[string]any{"id": id}, "no longer exists")
		},
		"merged into the requester after the approval": func(w *world, twin *vaulttest.Person) {
			id := w.ask(w.alice, map[string]any{"role": "otp"})
			w.approve(id, twin)
			must(w.t, w.MergeEntities(w.t.Context(), twin, w.alice))
			w.refusesClaim(id, "0 of 1", "does not count")
		},
		"requester merged into the approver after the approval": func(w *world, twin *vaulttest.Person) {
			id := w.ask(w.alice, map[string]any{"role": "otp"})
			w.approve(id, twin)
			must(w.t, w.MergeEntities(w.t.Context(), w.alice, twin))
			w.refuses(w.alice, "claim", map[string]any{"id": id}, "no longer exists")
			must(w.t, w.alice.Login(w.t.Context())) // now as the twin's entity, which did not ask
			w.refuses(w.alice, "claim", map[string]any{"id": id}, "only its requester")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, vaulttest.MountOptions{})
			w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
			twin := w.twin("alice-elsewhere")
			must(t, w.dba.SetMembers(t.Context(), w.bob, twin, w.alice))
			play(w, twin)
			if tokens, err := w.mount.GrantTokens(t.Context()); err != nil || len(tokens) > 0 {
				t.Errorf("%d grant tokens, %v", len(tokens), err)
			}
		})
	}
}

// refusesApproval is an approval that has to be refused.
func (w *world) refusesApproval(id string, person *vaulttest.Person, says string) {
	w.t.Helper()
	w.refuses(person, "approve", map[string]any{"id": id}, says)
}

func TestTwoEntitiesOfOnePersonCountOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	twin := w.twin("bob-elsewhere")
	must(t, w.dba.SetMembers(t.Context(), w.bob, w.carol, twin))
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob, twin)
	w.wantState(id, "approved") // as far as Vault knew then, two people
	must(t, w.MergeEntities(t.Context(), twin, w.bob))
	w.refusesClaim(id, "replaced by a later decision of the same person")
	w.approve(id, w.bob)
	w.refusesClaim(id, "1 of 2")
	w.approve(id, w.carol)
	w.claim(w.alice, id)
}

func TestPersonInTwoGroupsCountsOnceAndWhereItHelpsMost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.set("approver-groups/security", map[string]any{"entity_ids": []string{w.bob.EntityID}})
	w.set("approver-groups/ops", map[string]any{"entity_ids": []string{w.bob.EntityID, w.carol.EntityID}})
	w.otp("both", map[string]any{"rules": []any{rule("either", 1, "ops", "security"), rule("security", 1, "security")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob) // first come, first served would put him on the first rule
	w.wantState(id, "pending")
	w.refusesClaim(id, "0 of 1")
	w.approve(id, w.carol)
	w.wantState(id, "approved")
	w.claim(w.alice, id)
}

func TestStrictestOfFrozenAndCurrentPolicyWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	one := map[string]any{"rules": []any{rule("dba", 1, "dba")}, "deny_threshold": 2, "max_ttl": "8h"}
	w.otp("p", one)
	ask := func() string {
		id := w.ask(w.alice, map[string]any{"role": "otp", "ttl": "2h"})
		w.approve(id, w.bob)
		return id
	}
	tightened, denied, long := ask(), ask(), ask()
	w.does(w.carol, "deny", map[string]any{"id": denied}) // one of two, so not final

	w.set("policies/p", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	w.refusesClaim(tightened, "as it is now (version 2)", "1 of 2")
	loosened := ask()
	w.set("policies/p", map[string]any{"rules": []any{rule("dba", 1, "dba")}, "deny_threshold": 1})
	w.refusesClaim(loosened, "1 of 2")
	w.refusesClaim(denied, "as it is now", "1 denied it")
	w.set("policies/p", map[string]any{"max_ttl": "1h"})
	w.refusesClaim(long, "as it is now", "max_ttl")
	w.set("policies/p", one)
	w.claim(w.alice, tightened)
	w.approve(loosened, w.carol)
	w.claim(w.alice, loosened)
}

func TestRoleThatChangedOrIsGoneCannotBeClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	w.set("roles/otp", map[string]any{"data": map[string]any{"ip": "127.0.0.2"}})
	w.refusesClaim(id, "changed since the request was made", "ask again")
	w.set("roles/otp", map[string]any{"data": map[string]any{"ip": "127.0.0.1"}, "requester_entity_ids": []string{w.bob.EntityID}})
	w.refusesClaim(id, "no longer among the requesters")
	w.refuses(w.alice, "request", map[string]any{"role": "otp", "reason": "x"}, "not among the requesters")
	must(t, w.mount.Delete(t.Context(), "roles/otp"))
	w.refusesClaim(id, "has been deleted")
}

func TestNobodyActsWithoutALivingEntity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	for _, path := range []string{"request", "approve", "deny", "withdraw", "cancel", "claim", "revoke"} {
		data := map[string]any{"id": id}
		if path == "request" {
			data = map[string]any{"role": "otp", "reason": "x"}
		}
		w.refusesSet(path, data, "no entity") // as root
	}
	must(t, w.alice.SetDisabled(t.Context(), true))
	if _, err := w.as(w.alice, "cancel", map[string]any{"id": id}); err == nil {
		t.Error("a disabled requester cancelled")
	}
	w.refusesApproval(id, w.bob, "the requester is disabled")
}
