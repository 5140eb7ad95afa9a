package engine_test

import (
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// addTwin adds the same human being at another auth mount. The twin has its own entity until a test merges both.
func (f *fixture) addTwin(name string) *vaulttest.Person {
	f.t.Helper()
	twin, err := f.PersonAt(f.t.Context(), "userpass-"+f.mount.Path, name, f.mount.UserPolicy)
	must(f.t, err)
	return twin
}

func TestClaimNamesFormerApproversAndDoesNotCountThem(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", newPolicy(2))
	ids := map[string]string{}
	for _, name := range []string{"disabled", "left", "deleted"} {
		ids[name] = f.ask(f.alice, wire.Ask{Role: "otp"})
		f.approve(ids[name], f.bob, f.carol)
	}
	must(t, f.carol.SetDisabled(t.Context(), true))
	f.wantClaimRefused(ids["disabled"], "1 of 2", f.carol.Name, "is disabled")
	if _, err := f.as(f.carol).Approve(t.Context(), ids["disabled"], ""); err == nil {
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
	f.addOTPRole("two", newPolicy(2))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	must(t, f.dba.SetMembers(t.Context(), f.carol))
	f.wantApprovalRefused(id, f.bob, "none of the approver groups")
	f.must(f.as(f.bob).Withdraw(t.Context(), id))
	wantRefusal(t, errorOf(f.as(f.bob).Withdraw(t.Context(), id)), "no request")
	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol))
	f.wantApprovals(id, 0)
}

func TestDenialStandsAfterItsApproverLeavesTheGroup(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	f.must(f.as(f.carol).Deny(t.Context(), id, "not today"))
	must(t, f.dba.SetMembers(t.Context(), f.bob))
	f.wantState(id, "denied")
	f.wantClaimRefused(id, "denied")
	f.wantApprovalRefused(id, f.bob, "denied")
}

func TestRequesterNeverCountsAsApproverAfterAMerge(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(f *fixture, twin *vaulttest.Person){
		// The approving login belongs to the requesting entity.
		"merged before the ask": func(f *fixture, twin *vaulttest.Person) {
			must(f.t, f.MergeEntities(f.t.Context(), twin, f.alice))
			must(f.t, twin.Login(f.t.Context()))
			id := f.ask(f.alice, wire.Ask{Role: "otp"})
			f.wantApprovalRefused(id, twin, "you made this request")
		},
		"merged into the requester after the ask": func(f *fixture, twin *vaulttest.Person) {
			id := f.ask(f.alice, wire.Ask{Role: "otp"})
			must(f.t, f.MergeEntities(f.t.Context(), twin, f.alice))
			f.wantApprovalRefused(id, twin, "no longer exists") // the old token
			must(f.t, twin.Login(f.t.Context()))
			f.wantApprovalRefused(id, twin, "you made this request")
		},
		"requester merged into the approver after the ask": func(f *fixture, twin *vaulttest.Person) {
			id := f.ask(f.alice, wire.Ask{Role: "otp"})
			must(f.t, f.MergeEntities(f.t.Context(), f.alice, twin))
			f.wantApprovalRefused(id, twin, "you made this request")
			f.wantApprovalRefused(id, f.bob, "the requester no longer exists")
			f.wantClaimRefused(id, "no longer exists")
		},
		"merged into the requester after the approval": func(f *fixture, twin *vaulttest.Person) {
			id := f.askApproved(wire.Ask{Role: "otp"}, twin)
			must(f.t, f.MergeEntities(f.t.Context(), twin, f.alice))
			f.wantClaimRefused(id, "0 of 1", "does not count")
		},
		"requester merged into the approver after the approval": func(f *fixture, twin *vaulttest.Person) {
			id := f.askApproved(wire.Ask{Role: "otp"}, twin)
			must(f.t, f.MergeEntities(f.t.Context(), f.alice, twin))
			f.wantClaimRefused(id, "no longer exists")
			must(f.t, f.alice.Login(f.t.Context())) // the login now has the twin's entity, which did not make the request
			f.wantClaimRefused(id, "only its requester")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, vaulttest.MountOptions{})
			f.addOTPRole("one", newPolicy(1))
			twin := f.addTwin("alice-elsewhere")
			must(t, f.dba.SetMembers(t.Context(), f.bob, twin, f.alice))
			act(f, twin)
			if tokens, err := f.mount.GrantTokens(t.Context()); err != nil || len(tokens) > 0 {
				t.Errorf("%d grant tokens, %v", len(tokens), err)
			}
		})
	}
}

func TestTwoEntitiesOfOnePersonCountOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", newPolicy(2))
	twin := f.addTwin("bob-elsewhere")
	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol, twin))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob, twin)
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
	f.must(f.operated().ApproverGroups().Write(t.Context(), "security", wire.ApproverGroup{EntityIDs: []string{f.bob.EntityID}}))
	f.must(f.operated().ApproverGroups().Write(t.Context(), "ops", wire.ApproverGroup{EntityIDs: []string{f.bob.EntityID, f.carol.EntityID}}))
	policy := wire.NewPolicy()
	policy.Rules = []wire.Rule{
		{Name: "either", ApproverGroups: []string{"ops", "security"}, Approvals: 1},
		{Name: "security", ApproverGroups: []string{"security"}, Approvals: 1},
	}
	f.addOTPRole("both", policy)
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob) // a greedy count would use bob for the first rule
	f.wantState(id, "pending")
	f.wantClaimRefused(id, "0 of 1")
	f.approve(id, f.carol)
	f.wantState(id, "approved")
	f.claim(f.alice, id)
}

func TestClaimMustMeetTheFrozenAndTheCurrentPolicy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	with := func(approvals, denials int, longest wire.Seconds) wire.Policy {
		policy := newPolicy(approvals)
		policy.DenyThreshold, policy.MaxTTL = denials, longest
		return policy
	}
	write := func(policy wire.Policy) { f.must(f.operated().Policies().Write(t.Context(), "p", policy)) }
	f.addOTPRole("p", with(1, 2, 8*hour))
	ask := func() string { return f.askApproved(wire.Ask{Role: "otp", TTL: 2 * hour}, f.bob) }
	tightened, denied, long := ask(), ask(), ask()
	f.must(f.as(f.carol).Deny(t.Context(), denied, "")) // one denial of the two that end a request

	write(with(2, 2, 8*hour))
	f.wantClaimRefused(tightened, "as it is now (version 2)", "1 of 2")
	loosened := ask()
	write(with(1, 1, 8*hour))
	f.wantClaimRefused(loosened, "1 of 2")
	f.wantClaimRefused(denied, "as it is now", "1 denied it")
	write(with(1, 1, hour))
	f.wantClaimRefused(long, "as it is now", "max_ttl")
	write(with(1, 2, 8*hour))
	f.claim(f.alice, tightened)
	f.approve(loosened, f.carol)
	f.claim(f.alice, loosened)
}

func TestChangedOrDeletedRoleCannotBeClaimed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	f.must(f.operated().Roles().Change(t.Context(), "otp", map[string]any{"data": map[string]any{"ip": "127.0.0.2"}}))
	f.wantClaimRefused(id, "changed since the request was made", "ask again")
	f.must(f.operated().Roles().Change(t.Context(), "otp", map[string]any{"data": map[string]any{"ip": "127.0.0.1"}, "requester_entity_ids": []string{f.bob.EntityID}}))
	f.wantClaimRefused(id, "no longer among the requesters")
	wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), wire.Ask{Role: "otp", Reason: "x"})), "not among the requesters")
	must(t, f.operated().Roles().Delete(t.Context(), "otp"))
	f.wantClaimRefused(id, "has been deleted")
}

func TestCallerNeedsAnActiveEntity(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.ask(f.alice, wire.Ask{Role: "otp"})
	root := f.operated()
	_, _, revoking := root.Revoke(t.Context(), id)
	for _, err := range []error{
		errorOf(root.Ask(t.Context(), wire.Ask{Role: "otp", Reason: "x"})), errorOf(root.Approve(t.Context(), id, "")),
		errorOf(root.Deny(t.Context(), id, "")), errorOf(root.Withdraw(t.Context(), id)), errorOf(root.Cancel(t.Context(), id)),
		errorOf(root.Claim(t.Context(), id)), revoking,
	} {
		wantRefusal(t, err, "no entity")
	}
	must(t, f.alice.SetDisabled(t.Context(), true))
	if _, err := f.as(f.alice).Cancel(t.Context(), id); err == nil {
		t.Error("a disabled requester cancelled")
	}
	f.wantApprovalRefused(id, f.bob, "the requester is disabled")
}
