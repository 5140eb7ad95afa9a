package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// isRefusal reports whether the engine refused, rather than failed.
func isRefusal(err error) bool {
	var response *api.ResponseError
	return errors.As(err, &response) && response.StatusCode == http.StatusBadRequest
}

// Where fault_test.go stops the engine at each of its steps in turn, here the real process is killed whenever it happens
// to be, and now and then the server with it.
func TestKillingThePluginOrTheServerAtAnyMomentLeavesNothingBehind(t *testing.T) {
	const rounds, perRound, window = 14, 4, 5 * time.Second
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t) // of its own, because its users are counted
	w.databaseOn(pg)
	w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	must(t, w.mount.AllowGrants(t.Context(), "database-"+w.mount.Path+"-app", "ssh-"+w.mount.Path+"-otp"))
	node := cluster.Nodes[0]

	var ids []string
	var interrupted atomic.Int32
	for round := range rounds {
		// A server that dies between making a database user and noting its lease leaves a user that nobody knows of,
		// this engine or not. So where the server is killed, what counts is what it noted.
		role, killServer := "db", round%7 == 6
		if killServer {
			role = "otp"
		}
		var batch []string
		for range perRound {
			id := w.ask(w.alice, map[string]any{"role": role, "ttl": int(window / time.Second)})
			w.approve(id, w.bob, w.carol)
			batch = append(batch, id)
		}
		w.claim(w.alice, batch[0]) // which is being revoked while the others are claimed
		var calls sync.WaitGroup
		call := func(person *vaulttest.Person, path, id string) {
			calls.Go(func() {
				_, err := person.Write(context.WithoutCancel(t.Context()), w.mount.Path+"/"+path, map[string]any{"id": id})
				if err != nil && !isRefusal(err) {
					interrupted.Add(1)
				}
			})
		}
		call(w.bob, "revoke", batch[0])
		for _, id := range batch[1:] {
			call(w.alice, "claim", id)
		}
		time.Sleep(time.Duration(rand.IntN(70)) * time.Millisecond)
		if killServer {
			node.Kill()
			calls.Wait()
			must(t, node.Start(t.Context()))
		} else if err := node.KillPlugin(); err != nil {
			t.Fatal(err)
		}
		calls.Wait()
		vaulttest.Eventually(t, "the engine to answer", func(ctx context.Context) error {
			_, err := w.alice.Read(ctx, w.mount.Path+"/requests/"+batch[0])
			return err
		})
		ids = append(ids, batch...)

		// What was not granted can be claimed again; what was granted was granted once.
		for _, id := range batch[1:] {
			_, err := w.as(w.alice, "claim", map[string]any{"id": id})
			if err != nil && (!isRefusal(err) || !strings.Contains(err.Error(), "is active") && !strings.Contains(err.Error(), "is ended")) {
				t.Errorf("round %d: after the kill the claim says %v", round, err)
			}
		}
	}
	t.Logf("%d calls were interrupted", interrupted.Load())
	if interrupted.Load() == 0 {
		t.Error("no kill interrupted a call, so this shows nothing")
	}
	vaulttest.Eventually(t, "everything to end with its window", func(ctx context.Context) error {
		users, err := pg.Users(ctx)
		if err != nil {
			return err
		}
		leases, err := w.Leases(ctx, "ssh-"+w.mount.Path+"/")
		if err != nil {
			return err
		}
		tokens, err := w.mount.GrantTokens(ctx)
		if err != nil {
			return err
		}
		if len(users)+len(leases)+len(tokens) > 0 {
			return fmt.Errorf("%d database users, %d one-time passwords and %d grant tokens are left", len(users), len(leases), len(tokens))
		}
		return nil
	})
	for _, id := range ids {
		if state := w.request(w.alice, id)["state"]; state != "ended" {
			t.Errorf("request %s is %v", id, state)
		}
	}
}
