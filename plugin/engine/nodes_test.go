package engine_test

import (
	"sync"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestSimultaneousClaimsAtAllNodesGiveOneGrant(t *testing.T) {
	const rounds = 5
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 3, LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("two", newPolicy(2))
	for range rounds {
		// Both approvals come at the same time, too.
		id := f.ask(f.alice, wire.Ask{Role: "otp"})
		var calls sync.WaitGroup
		for n, person := range []*vaulttest.Person{f.bob, f.carol} {
			approver := f.at(cluster.Nodes[n], person)
			calls.Go(func() {
				if _, err := approver.Approve(t.Context(), id, ""); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		f.wantApprovals(id, 2)

		var mu sync.Mutex
		var granted []client.Credential
		for _, node := range cluster.Nodes {
			alice := f.at(node, f.alice)
			for range 2 {
				calls.Go(func() {
					credential, err := alice.Claim(t.Context(), id)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						granted = append(granted, credential)
					} else if !isRefusal(err) {
						t.Error(err)
					}
				})
			}
		}
		calls.Wait()
		if len(granted) != 1 {
			t.Errorf("%d claims gave a credential, want 1", len(granted))
		}
	}
	tokens, err := f.mount.GrantTokens(t.Context())
	must(t, err)
	upstream, err := f.Leases(t.Context(), "ssh-"+f.mount.Path+"/")
	must(t, err)
	own, err := f.mount.Leases(t.Context())
	must(t, err)
	if len(tokens) != rounds || len(upstream) != rounds || len(own) != rounds {
		t.Errorf("%d grant tokens, %d one-time passwords and %d leases for %d requests", len(tokens), len(upstream), len(own), rounds)
	}
}
