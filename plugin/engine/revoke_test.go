package engine_test

import (
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestFormerApproverMayReadAndWithdrawButNotRevoke(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob)

	must(t, f.dba.SetMembers(t.Context(), f.carol))
	if shown := f.readRequest(f.bob, id); shown.State != "pending" {
		t.Errorf("before the claim the former approver reads %+v", shown)
	}
	f.must(f.as(f.bob).Withdraw(t.Context(), id))
	f.wantApprovals(id, 0)

	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol))
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	must(t, f.dba.SetMembers(t.Context(), f.carol))
	if shown := f.readRequest(f.bob, id); shown.State != "active" {
		t.Errorf("after the claim the former approver reads %+v", shown)
	}
	_, _, err := f.as(f.bob).Revoke(t.Context(), id)
	wantRefusal(t, err, "you may not end this grant", `policy "two"`)
	wantRefusal(t, errorOf(f.as(f.bob).Withdraw(t.Context(), id)), "active")
	f.wantState(id, "active")
	f.wantLogin(pg, credential, true)

	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol))
	f.revoke(f.bob, id)
	f.waitUntilGone(pg, credential)
}

func TestApproverWhoDidNotDecideAndAuditorMayRevoke(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	dave, err := f.mount.Person(t.Context(), "dave")
	must(t, err)
	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol, dave))
	erin, err := f.mount.Person(t.Context(), "erin")
	must(t, err)
	auditors, err := f.Group(t.Context(), "auditors", erin)
	must(t, err)
	f.must(f.operated().ChangeConfig(t.Context(), map[string]any{"auditor_group_ids": auditors.ID}))
	for name, person := range map[string]*vaulttest.Person{"an approver who did not decide": dave, "an auditor": erin} {
		id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
		credential := f.claim(f.alice, id)
		if revoked, warnings := f.revoke(person, id); revoked.State != "ended" || len(warnings) > 0 {
			t.Errorf("%s gets the answer %+v and the warnings %q", name, revoked, warnings)
		}
		f.wantLogin(pg, credential, false)
		end := f.readEnd(id)
		if end.EndReason != "revoked" || end.Revocation != "confirmed" || end.EndedBy == nil || end.EndedBy.EntityID != person.EntityID {
			t.Errorf("after %s revoked, the end is %+v", name, end)
		}
	}
	f.wantNoGrantTokens()
}

func TestStrangerGetsTheSameAnswerToRevokeForAGrantAndAnAbsentRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	_, _, hidden := f.as(f.mallory).Revoke(t.Context(), id)
	_, _, absent := f.as(f.mallory).Revoke(t.Context(), absentID)
	wantRefusal(t, hidden, "no request")
	wantRefusal(t, absent, "no request")
	if strings.ReplaceAll(hidden.Error(), id, absentID) != absent.Error() {
		t.Errorf("revoke answers %q for a grant and %q for an absent request", hidden, absent)
	}
	f.wantState(id, "active")
	f.wantLogin(pg, credential, true)
}
