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
//
// What counts is what somebody was given. Vault itself, broken off at the wrong moment, may keep a database user whose
// lease it has not noted yet, or a lease that it has not noted to be its token's. Nobody was told of either.
func TestKillingThePluginOrTheServerAtAnyMomentLeavesNobodyACredential(t *testing.T) {
	const rounds, perRound, window = 14, 4, 5 * time.Second
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := w.database()
	passwords := w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	must(t, w.mount.AllowGrants(t.Context(), "database-"+w.mount.Path+"-app", "ssh-"+w.mount.Path+"-otp"))
	node := cluster.Nodes[0]

	var ids []string
	var interrupted atomic.Int32
	var mu sync.Mutex
	given := map[string][]*api.Secret{} // by request
	claim := func(id string) error {
		credential, err := w.alice.Write(context.WithoutCancel(t.Context()), w.mount.Path+"/claim", map[string]any{"id": id})
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			given[id] = append(given[id], credential)
		}
		return err
	}
	for round := range rounds {
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
		must(t, claim(batch[0])) // which is being revoked while the others are claimed
		var calls sync.WaitGroup
		call := func(do func() error) {
			calls.Go(func() {
				if err := do(); err != nil && !isRefusal(err) {
					interrupted.Add(1)
				}
			})
		}
		call(func() error {
			_, err := w.bob.Write(context.WithoutCancel(t.Context()), w.mount.Path+"/revoke", map[string]any{"id": batch[0]})
			return err
		})
		for _, id := range batch[1:] {
			call(func() error { return claim(id) })
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

		// What was not granted can be claimed again.
		for _, id := range batch[1:] {
			err := claim(id)
			if err != nil && (!isRefusal(err) || !strings.Contains(err.Error(), "is active") && !strings.Contains(err.Error(), "is ended")) {
				t.Errorf("round %d: after the kill the claim says %v", round, err)
			}
		}
	}
	t.Logf("%d calls were interrupted, and %d requests granted", interrupted.Load(), len(given))
	if interrupted.Load() == 0 || len(given) == 0 {
		t.Error("no kill interrupted a call, or none was granted, so this shows nothing")
	}
	vaulttest.Eventually(t, "all grant tokens to end with their window", func(ctx context.Context) error {
		tokens, err := w.mount.GrantTokens(ctx)
		if err == nil && len(tokens) > 0 {
			err = fmt.Errorf("%d are left", len(tokens))
		}
		return err
	})
	for _, id := range ids {
		if state := w.request(w.alice, id)["state"]; state != "ended" {
			t.Errorf("request %s is %v", id, state)
		}
		if len(given[id]) > 1 {
			t.Errorf("request %s was granted %d times", id, len(given[id]))
		}
		for _, credential := range given[id] {
			if otp, is := credential.Data["key"].(string); is {
				works, err := passwords.VerifySSHOTP(t.Context(), otp)
				if err != nil || works {
					t.Errorf("the one-time password of request %s works: %v (%v)", id, works, err)
				}
				continue
			}
			w.gone(pg, credential)
		}
	}
}
