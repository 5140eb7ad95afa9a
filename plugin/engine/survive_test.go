package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (f *fixture) wantApprovals(id string, approvals int) {
	f.t.Helper()
	if got := f.readRequest(f.alice, id).Rules[0].ApprovalsCounted; got != approvals {
		f.t.Errorf("request %s counts %d approvals, want %d", id, got, approvals)
	}
}

func TestRequestsAndGrantsSurviveARestart(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, Race: true})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	pending := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob)
	approved := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
	active := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
	credential := f.claim(f.alice, active)

	for name, restart := range map[string]func(){
		"stopped": cluster.Nodes[0].Stop,
		"killed":  cluster.Nodes[0].Kill,
	} {
		restart()
		must(t, cluster.Nodes[0].Start(t.Context()))
		for id, state := range map[string]string{pending: "pending", approved: "approved", active: "active"} {
			f.wantState(id, state)
		}
		f.wantApprovals(pending, 1)
		f.wantApprovals(approved, 2)
		f.wantLogin(pg, credential, true)
		if t.Failed() {
			t.Fatalf("after the server was %s", name)
		}
	}

	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	f.wantLogin(pg, credential, false)
	f.wantState(active, "ended")
	f.approve(pending, f.carol)
	for _, id := range []string{pending, approved} {
		credential := f.claim(f.alice, id)
		f.wantLogin(pg, credential, true)
		f.revoke(f.bob, id)
		f.wantLogin(pg, credential, false)
	}
}

func TestGrantClaimedThroughAStandbyCanBeEndedAfterAStepDown(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 3})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t) // its own PostgreSQL, because the test counts its users
	f.addDatabaseRoleOn(pg)
	standbys, err := cluster.Standbys(t.Context())
	must(t, err)
	if len(standbys) != 2 {
		t.Fatalf("%d standbys", len(standbys))
	}
	request, err := f.at(standbys[0], f.alice).Ask(t.Context(), wire.Ask{Role: "db", Reason: "through a standby", TTL: 10 * minute})
	must(t, err)
	id := request.ID
	f.must(f.at(standbys[0], f.bob).Approve(t.Context(), id, ""))
	f.must(f.at(standbys[1], f.carol).Approve(t.Context(), id, ""))
	credential, err := f.at(standbys[1], f.alice).Claim(t.Context(), id)
	must(t, err)
	f.wantLogin(pg, credential, true)
	wantLeft := func(want int) {
		t.Helper()
		users, err := pg.Users(t.Context())
		must(t, err)
		tokens, err := f.mount.GrantTokens(t.Context())
		must(t, err)
		leases, err := f.mount.Leases(t.Context())
		must(t, err)
		if len(users) != want || len(tokens) != want || len(leases) > 1 {
			t.Errorf("%d database users, %d grant tokens and %d leases, want %d of each", len(users), len(tokens), len(leases), want)
		}
	}
	wantLeft(1)

	_, err = cluster.StepDown(t.Context())
	must(t, err)
	f.wantState(id, "active")
	f.wantLogin(pg, credential, true)
	f.wantClaimRefused(id, "active")
	// A standby that does not know the new active node yet refuses the engine's calls. Then the engine records the end, and
	// the periodic work completes it.
	f.revoke(f.bob, id)
	f.wantState(id, "ended")
	vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
		if end := f.readEnd(id); end.Revocation != "confirmed" {
			return fmt.Errorf("it is %+v", end)
		}
		return nil
	})
	f.wantLogin(pg, credential, false)
	wantLeft(0)
}
