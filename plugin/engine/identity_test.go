package engine_test

import (
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// addOTPRole adds the role "otp" for SSH one-time passwords, and the policy that guards it.
func (f *fixture) addOTPRole(policy string, fields map[string]any) *vaulttest.Upstream {
	f.t.Helper()
	upstream, err := f.EnableSSHOTP(f.t.Context(), "ssh-"+f.mount.Path, "otp")
	must(f.t, err)
	must(f.t, f.mount.AllowGrants(f.t.Context(), upstream.Policy))
	f.writeAsAdmin("policies/"+policy, fields)
	f.writeAsAdmin("roles/otp", map[string]any{
		"policy": policy, "path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"},
		"grant_policies": []string{upstream.Policy},
	})
	return upstream
}

// addTwin adds the same human being at another auth mount. The twin has its own entity until a test merges both.
func (f *fixture) addTwin(name string) *vaulttest.Person {
	f.t.Helper()
	twin, err := f.PersonAt(f.t.Context(), "userpass-"+f.mount.Path, name, f.mount.UserPolicy)
	must(f.t, err)
	return twin
}

func (f *fixture) wantClaimRefused(id string, words ...string) {
	f.t.Helper()
	f.wantRefused(f.alice, "claim/"+id, nil, words...)
}

func TestClaimNamesFormerApproversAndDoesNotCountThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	ids := map[string]string{}
	for _, name := range []string{"disabled", "left", "deleted"} {
		ids[name] = f.ask(f.alice, map[string]any{"role": "otp"})
		f.approve(ids[name], f.bob, f.carol)
	}
	must(t, f.carol.SetDisabled(t.Context(), true))
	f.wantClaimRefused(ids["disabled"], "1 of 2", f.carol.Name, "is disabled")
	if _, err := f.writeAs(f.carol, "approve", map[string]any{"id": ids["disabled"]}); err == nil {
		t.Error("a disabled approver approved")
	}
	must(t, f.carol.SetDisabled(t.Context(), false))
	f.claim(f.alice, ids["disabled"])

	must(t, f.dba.SetMembers(t.Context(), f.bob))
	f.wantClaimRefused(ids["left"], "1 of 2", f.carol.Name, "none of the policy's approver groups")
	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol))
	f.claim(f.alice, ids["left"])

	must(t, f.carol.Delete(t.Context()))
	f.wantClaimRefused(ids["deleted"], "1 of 2", f.carol.Name, "no longer exists")
	// Another approver can take the place of a deleted one.
	dave, err := f.mount.Person(t.Context(), "dave")
	must(t, err)
	must(t, f.dba.SetMembers(t.Context(), f.bob, dave))
	f.approve(ids["deleted"], dave)
	f.claim(f.alice, ids["deleted"])
}

func TestFormerApproverMayWithdraw(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	must(t, f.dba.SetMembers(t.Context(), f.carol))
	f.wantRefused(f.bob, "approve", map[string]any{"id": id}, "none of the approver groups")
	f.mustWriteAs(f.bob, "withdraw", map[string]any{"id": id})
	f.wantRefused(f.bob, "withdraw", map[string]any{"id": id}, "no request")
	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol))
	f.wantApprovals(id, "0")
}

func TestDenialStandsAfterItsApproverLeavesTheGroup(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	f.mustWriteAs(f.carol, "deny", map[string]any{"id": id, "comment": "not today"})
	must(t, f.dba.SetMembers(t.Context(), f.bob))
	f.wantState(id, "denied")
	f.wantClaimRefused(id, "denied")
	f.wantRefused(f.bob, "approve", map[string]any{"id": id}, "denied")
}

func TestRequesterNeverCountsAsApproverAfterAMerge(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(f *fixture, twin *vaulttest.Person){
		// The approving login belongs to the requesting entity.
		"merged before the ask": func(f *fixture, twin *vaulttest.Person) {
			must(f.t, f.MergeEntities(f.t.Context(), twin, f.alice))
			must(f.t, twin.Login(f.t.Context()))
			id := f.ask(f.alice, map[string]any{"role": "otp"})
			f.wantRefused(twin, "approve", map[string]any{"id": id}, "you made this request")
		},
		"merged into the requester after the ask": func(f *fixture, twin *vaulttest.Person) {
			id := f.ask(f.alice, map[string]any{"role": "otp"})
			must(f.t, f.MergeEntities(f.t.Context(), twin, f.alice))
			f.wantRefused(twin, "approve", map[string]any{"id": id}, "no longer exists") // the old token
			must(f.t, twin.Login(f.t.Context()))
			f.wantRefused(twin, "approve", map[string]any{"id": id}, "you made this request")
		},
		"requester merged into the approver after the ask": func(f *fixture, twin *vaulttest.Person) {
			id := f.ask(f.alice, map[string]any{"role": "otp"})
			must(f.t, f.MergeEntities(f.t.Context(), f.alice, twin))
			f.wantRefused(twin, "approve", map[string]any{"id": id}, "you made this request")
			f.wantApprovalRefused(id, f.bob, "the requester no longer exists")
			f.wantRefused(f.alice, "claim/"+id, nil, "no longer exists")
		},
		"merged into the requester after the approval": func(f *fixture, twin *vaulttest.Person) {
			id := f.ask(f.alice, map[string]any{"role": "otp"})
			f.approve(id, twin)
			must(f.t, f.MergeEntities(f.t.Context(), twin, f.alice))
			f.wantClaimRefused(id, "0 of 1", "does not count")
		},
		"requester merged into the approver after the approval": func(f *fixture, twin *vaulttest.Person) {
			id := f.ask(f.alice, map[string]any{"role": "otp"})
			f.approve(id, twin)
			must(f.t, f.MergeEntities(f.t.Context(), f.alice, twin))
			f.wantRefused(f.alice, "claim/"+id, nil, "no longer exists")
			must(f.t, f.alice.Login(f.t.Context())) // the login now has the twin's entity, which did not make the request
			f.wantRefused(f.alice, "claim/"+id, nil, "only its requester")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, vaulttest.MountOptions{})
			f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
			twin := f.addTwin("alice-elsewhere")
			must(t, f.dba.SetMembers(t.Context(), f.bob, twin, f.alice))
			act(f, twin)
			if tokens, err := f.mount.GrantTokens(t.Context()); err != nil || len(tokens) > 0 {
				t.Errorf("%d grant tokens, %v", len(tokens), err)
			}
		})
	}
}

// wantApprovalRefused approves as the person. The engine must refuse that.
func (f *fixture) wantApprovalRefused(id string, person *vaulttest.Person, says string) {
	f.t.Helper()
	f.wantRefused(person, "approve", map[string]any{"id": id}, says)
}

func TestTwoEntitiesOfOnePersonCountOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	twin := f.addTwin("bob-elsewhere")
	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol, twin))
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob, twin)
	f.wantState(id, "approved") // to Vault they are two people until the merge
	must(t, f.MergeEntities(t.Context(), twin, f.bob))
	f.wantClaimRefused(id, "replaced by a later decision of the same person")
	f.approve(id, f.bob)
	f.wantClaimRefused(id, "1 of 2")
	f.approve(id, f.carol)
	f.claim(f.alice, id)
}

func TestPersonInTwoGroupsCountsOnceForTheRuleThatNeedsThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.writeAsAdmin("approver-groups/security", map[string]any{"entity_ids": []string{f.bob.EntityID}})
	f.writeAsAdmin("approver-groups/ops", map[string]any{"entity_ids": []string{f.bob.EntityID, f.carol.EntityID}})
	f.addOTPRole("both", map[string]any{"rules": []any{rule("either", 1, "ops", "security"), rule("security", 1, "security")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob) // a greedy count would use bob for the first rule
	f.wantState(id, "pending")
	f.wantClaimRefused(id, "0 of 1")
	f.approve(id, f.carol)
	f.wantState(id, "approved")
	f.claim(f.alice, id)
}

func TestClaimMustMeetTheFrozenAndTheCurrentPolicy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	one := map[string]any{"rules": []any{rule("dba", 1, "dba")}, "deny_threshold": 2, "max_ttl": "8h"}
	f.addOTPRole("p", one)
	ask := func() string {
		id := f.ask(f.alice, map[string]any{"role": "otp", "ttl": "2h"})
		f.approve(id, f.bob)
		return id
	}
	tightened, denied, long := ask(), ask(), ask()
	f.mustWriteAs(f.carol, "deny", map[string]any{"id": denied}) // one denial of the two that end a request

	f.writeAsAdmin("policies/p", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	f.wantClaimRefused(tightened, "as it is now (version 2)", "1 of 2")
	loosened := ask()
	f.writeAsAdmin("policies/p", map[string]any{"rules": []any{rule("dba", 1, "dba")}, "deny_threshold": 1})
	f.wantClaimRefused(loosened, "1 of 2")
	f.wantClaimRefused(denied, "as it is now", "1 denied it")
	f.writeAsAdmin("policies/p", map[string]any{"max_ttl": "1h"})
	f.wantClaimRefused(long, "as it is now", "max_ttl")
	f.writeAsAdmin("policies/p", one)
	f.claim(f.alice, tightened)
	f.approve(loosened, f.carol)
	f.claim(f.alice, loosened)
}

func TestChangedOrDeletedRoleCannotBeClaimed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	f.writeAsAdmin("roles/otp", map[string]any{"data": map[string]any{"ip": "127.0.0.2"}})
	f.wantClaimRefused(id, "changed since the request was made", "ask again")
	f.writeAsAdmin("roles/otp", map[string]any{"data": map[string]any{"ip": "127.0.0.1"}, "requester_entity_ids": []string{f.bob.EntityID}})
	f.wantClaimRefused(id, "no longer among the requesters")
	f.wantRefused(f.alice, "request", map[string]any{"role": "otp", "reason": "x"}, "not among the requesters")
	must(t, f.mount.Delete(t.Context(), "roles/otp"))
	f.wantClaimRefused(id, "has been deleted")
}

func TestCallerNeedsAnActiveEntity(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	for _, path := range []string{"request", "approve", "deny", "withdraw", "cancel", "claim/" + id, "revoke"} {
		data := map[string]any{"id": id}
		if path == "request" {
			data = map[string]any{"role": "otp", "reason": "x"}
		}
		f.wantAdminRefused(path, data, "no entity") // as root
	}
	must(t, f.alice.SetDisabled(t.Context(), true))
	if _, err := f.writeAs(f.alice, "cancel", map[string]any{"id": id}); err == nil {
		t.Error("a disabled requester cancelled")
	}
	f.wantApprovalRefused(id, f.bob, "the requester is disabled")
}
