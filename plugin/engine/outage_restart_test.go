package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// The engine records an end before it revokes anything, so it completes the end after the server was killed.
func TestPendingEndIsCompletedAfterAServerRestart(t *testing.T) {
	t.Parallel()
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	id := f.askApproved(wire.Ask{Role: "db", TTL: hour}, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	pg.Stop()
	if _, warnings := f.revoke(f.carol, id); len(warnings) == 0 {
		t.Error("with upstream down the answer does not warn that the end is unconfirmed")
	}
	cluster.Nodes[0].Kill()
	must(t, cluster.Nodes[0].Start(t.Context()))

	before := f.readEnd(id)
	if before.Revocation != "pending" || before.EndReason != "revoked" {
		t.Errorf("after the restart the end is %+v", before)
	}
	f.wantUnconfirmedEnds(1)
	f.wantClaimRefused(id, "ended")
	must(t, pg.Start(t.Context()))
	vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
		if end := f.readEnd(id); end.Revocation != "confirmed" {
			return fmt.Errorf("it is %+v", end)
		}
		return nil
	})
	f.wantLogin(pg, credential, false)
	f.wantUnconfirmedEnds(0)
	after := f.readEnd(id)
	if after.EndedAt != before.EndedAt || *after.EndedBy != *before.EndedBy || after.LastError != "" {
		t.Errorf("it was %+v and became %+v", before, after)
	}
}

func (f *fixture) wantUnconfirmedEnds(want int) {
	f.t.Helper()
	if got := f.readStatus().UnconfirmedEnds; got != want {
		f.t.Errorf("the status shows %d unconfirmed ends, want %d", got, want)
	}
}
