package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

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
	passwords := f.addOTPRole("two", newPolicy(2))
	must(t, f.mount.AllowGrants(t.Context(), "database-"+f.mount.Path+"-app", "ssh-"+f.mount.Path+"-otp"))
	node := cluster.Nodes[0]

	var ids []string
	var interrupted atomic.Int32
	var mu sync.Mutex
	credentials := map[string][]client.Credential{} // by request
	alice, bob, ctx := f.as(f.alice), f.as(f.bob), context.WithoutCancel(t.Context())
	claim := func(id string) error {
		credential, err := alice.Claim(ctx, id)
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
			batch = append(batch, f.askApproved(wire.Ask{Role: role, TTL: wire.ToSeconds(window)}, f.bob, f.carol))
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
			_, _, err := bob.Revoke(ctx, batch[0])
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
			return errorOf(alice.Request(ctx, batch[0]))
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
		if state := f.readRequest(f.alice, id).State; state != "ended" {
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
