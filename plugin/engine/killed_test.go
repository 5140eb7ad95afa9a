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

// isRefusal reports whether the error is a refusal of the engine.
func isRefusal(err error) bool {
	var response *api.ResponseError
	return errors.As(err, &response) && response.StatusCode == http.StatusBadRequest
}

// fault_test.go stops the engine at each of its calls. This test kills the real plugin process at a random moment, and
// sometimes the server with it.
//
// The test checks the credentials that somebody was given. A killed Vault may keep a database user whose lease it has not
// stored, or a lease that it has not stored as its token's; nobody was given either of them.
func TestKillingPluginOrServerLeavesNoCredentialPastItsWindow(t *testing.T) {
	const rounds, perRound, window = 14, 4, 5 * time.Second
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	passwords := f.addOTPRole("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	must(t, f.mount.AllowGrants(t.Context(), "database-"+f.mount.Path+"-app", "ssh-"+f.mount.Path+"-otp"))
	node := cluster.Nodes[0]

	var ids []string
	var interrupted atomic.Int32
	var mu sync.Mutex
	credentials := map[string][]*api.Secret{} // by request
	claim := func(id string) error {
		credential, err := f.alice.Write(context.WithoutCancel(t.Context()), f.mount.Path+"/claim/"+id, nil)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			credentials[id] = append(credentials[id], credential)
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
			id := f.ask(f.alice, map[string]any{"role": role, "ttl": int(window / time.Second)})
			f.approve(id, f.bob, f.carol)
			batch = append(batch, id)
		}
		must(t, claim(batch[0])) // bob revokes it while alice claims the others
		var calls sync.WaitGroup
		callAtOnce := func(do func() error) {
			calls.Go(func() {
				if err := do(); err != nil && !isRefusal(err) {
					interrupted.Add(1)
				}
			})
		}
		callAtOnce(func() error {
			_, err := f.bob.Write(context.WithoutCancel(t.Context()), f.mount.Path+"/revoke", map[string]any{"id": batch[0]})
			return err
		})
		for _, id := range batch[1:] {
			callAtOnce(func() error { return claim(id) })
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
			_, err := f.alice.Read(ctx, f.mount.Path+"/requests/"+batch[0])
			return err
		})
		ids = append(ids, batch...)

		// Requests that were not granted can be claimed again.
		for _, id := range batch[1:] {
			err := claim(id)
			if err != nil && (!isRefusal(err) || !strings.Contains(err.Error(), "is active") && !strings.Contains(err.Error(), "is ended")) {
				t.Errorf("round %d: after the kill the claim is answered with %v", round, err)
			}
		}
	}
	t.Logf("%d calls were interrupted, and %d requests granted", interrupted.Load(), len(credentials))
	if interrupted.Load() == 0 || len(credentials) == 0 {
		t.Error("no kill interrupted a call, or no request was granted, so the test shows nothing")
	}
	vaulttest.Eventually(t, "all grant tokens to end with their window", func(ctx context.Context) error {
		tokens, err := f.mount.GrantTokens(ctx)
		if err == nil && len(tokens) > 0 {
			err = fmt.Errorf("%d are left", len(tokens))
		}
		return err
	})
	for _, id := range ids {
		if state := f.readRequest(f.alice, id)["state"]; state != "ended" {
			t.Errorf("request %s is %v", id, state)
		}
		if len(credentials[id]) > 1 {
			t.Errorf("request %s was granted %d times", id, len(credentials[id]))
		}
		for _, credential := range credentials[id] {
			if otp, is := credential.Data["key"].(string); is {
				works, err := passwords.VerifySSHOTP(t.Context(), otp)
				if err != nil || works {
					t.Errorf("the one-time password of request %s works: %v (%v)", id, works, err)
				}
				continue
			}
			f.waitUntilGone(pg, credential)
		}
	}
}
