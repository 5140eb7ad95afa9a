package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// An end is on record before it is tried, so it is completed even if nothing of what knew of it is left.
func TestAnEndThatIsNotConfirmedOutlivesTheServer(t *testing.T) {
	t.Parallel()
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	w.databaseOn(pg)
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "1h"})
	w.approve(id, w.bob, w.carol)
	credential := w.claim(w.alice, id)
	pg.Stop()
	if answer := w.does(w.carol, "revoke", map[string]any{"id": id}); len(answer.Warnings) == 0 {
		t.Error("with upstream down the end is not said to be unconfirmed")
	}
	cluster.Nodes[0].Kill()
	must(t, cluster.Nodes[0].Start(t.Context()))

	before := w.end(id)
	if before["revocation"] != "pending" || before["end_reason"] != "revoked" {
		t.Errorf("after the restart the end is %v", before)
	}
	w.wantStatus("unconfirmed_ends", "1")
	w.refuses(w.alice, "claim", map[string]any{"id": id}, "ended")
	must(t, pg.Start(t.Context()))
	vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
		if end := w.end(id); end["revocation"] != "confirmed" {
			return fmt.Errorf("it is %v", end)
		}
		return nil
	})
	w.wantLogin(pg, credential, false)
	w.wantStatus("unconfirmed_ends", "0")
	after := w.end(id)
	if after["ended_at"] != before["ended_at"] || fmt.Sprint(after["ended_by"]) != fmt.Sprint(before["ended_by"]) || after["last_error"] != "" {
		t.Errorf("it was %v and became %v", before, after)
	}
}

func (w *world) wantStatus(field, want string) {
	w.t.Helper()
	status, err := w.mount.Read(w.t.Context(), "status")
	must(w.t, err)
	if got := fmt.Sprint(status.Data[field]); got != want {
		w.t.Errorf("%s is %s, want %s", field, got, want)
	}
}
