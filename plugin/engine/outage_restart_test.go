package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// The engine records an end before it revokes anything, so it completes the end after the server was killed.
func TestPendingEndIsCompletedAfterAServerRestart(t *testing.T) {
	t.Parallel()
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "1h"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	pg.Stop()
	if answer := f.mustWriteAs(f.carol, "revoke", map[string]any{"id": id}); len(answer.Warnings) == 0 {
		t.Error("with upstream down the answer does not warn that the end is unconfirmed")
	}
	cluster.Nodes[0].Kill()
	must(t, cluster.Nodes[0].Start(t.Context()))

	before := f.readEnd(id)
	if before["revocation"] != "pending" || before["end_reason"] != "revoked" {
		t.Errorf("after the restart the end is %v", before)
	}
	f.wantStatus("unconfirmed_ends", "1")
	f.wantRefused(f.alice, "claim/"+id, nil, "ended")
	must(t, pg.Start(t.Context()))
	vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
		if end := f.readEnd(id); end["revocation"] != "confirmed" {
			return fmt.Errorf("it is %v", end)
		}
		return nil
	})
	f.wantLogin(pg, credential, false)
	f.wantStatus("unconfirmed_ends", "0")
	after := f.readEnd(id)
	if after["ended_at"] != before["ended_at"] || fmt.Sprint(after["ended_by"]) != fmt.Sprint(before["ended_by"]) || after["last_error"] != "" {
		t.Errorf("it was %v and became %v", before, after)
	}
}

func (f *fixture) wantStatus(field, want string) {
	f.t.Helper()
	status, err := f.mount.Read(f.t.Context(), "status")
	must(f.t, err)
	if got := fmt.Sprint(status.Data[field]); got != want {
		f.t.Errorf("%s is %s, want %s", field, got, want)
	}
}
