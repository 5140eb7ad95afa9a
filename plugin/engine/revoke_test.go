package engine_test

import (
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestFormerApproverMayReadAndWithdrawButNotRevoke(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(id, f.bob)

	must(t, f.dba.SetMembers(t.Context(), f.carol))
	if shown := f.readRequest(f.bob, id); shown["state"] != "pending" {
		t.Errorf("before the claim the former approver reads %v", shown)
	}
	f.mustWriteAs(f.bob, "withdraw", map[string]any{"id": id})
	f.wantApprovals(id, "0")

	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol))
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	must(t, f.dba.SetMembers(t.Context(), f.carol))
	if shown := f.readRequest(f.bob, id); shown["state"] != "active" {
		t.Errorf("after the claim the former approver reads %v", shown)
	}
	f.wantRefused(f.bob, "revoke", map[string]any{"id": id}, "you may not end this grant", `policy "two"`)
	f.wantRefused(f.bob, "withdraw", map[string]any{"id": id}, "active")
	f.wantState(id, "active")
	f.wantLogin(pg, credential, true)

	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol))
	f.mustWriteAs(f.bob, "revoke", map[string]any{"id": id})
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
	f.writeAsAdmin("config", map[string]any{"auditor_group_ids": auditors.ID})
	for name, person := range map[string]*vaulttest.Person{"an approver who did not decide": dave, "an auditor": erin} {
		id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
		f.approve(id, f.bob, f.carol)
		credential := f.claim(f.alice, id)
		answer := f.mustWriteAs(person, "revoke", map[string]any{"id": id})
		if answer.Data["state"] != "ended" || len(answer.Warnings) > 0 {
			t.Errorf("%s gets the answer %v and the warnings %q", name, answer.Data, answer.Warnings)
		}
		f.wantLogin(pg, credential, false)
		end := f.readEnd(id)
		by, _ := end["ended_by"].(map[string]any)
		if end["end_reason"] != "revoked" || end["revocation"] != "confirmed" || by["entity_id"] != person.EntityID {
			t.Errorf("after %s revoked, the end is %v", name, end)
		}
	}
	f.wantNoGrantTokens()
}

func TestStrangerGetsTheSameAnswerToRevokeForAGrantAndAnAbsentRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	_, hidden := f.writeAs(f.mallory, "revoke", map[string]any{"id": id})
	_, absent := f.writeAs(f.mallory, "revoke", map[string]any{"id": absentID})
	wantRefusal(t, hidden, "no request")
	wantRefusal(t, absent, "no request")
	if strings.ReplaceAll(hidden.Error(), id, absentID) != absent.Error() {
		t.Errorf("revoke answers %q for a grant and %q for an absent request", hidden, absent)
	}
	f.wantState(id, "active")
	f.wantLogin(pg, credential, true)
}
