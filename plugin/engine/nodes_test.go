package engine_test

import (
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestSimultaneousClaimsAtAllNodesGiveOneGrant(t *testing.T) {
	const rounds = 5
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 3, LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	for range rounds {
		// Both approvals come at the same time, too.
		id := f.ask(f.alice, map[string]any{"role": "otp"})
		var calls sync.WaitGroup
		for n, person := range []*vaulttest.Person{f.bob, f.carol} {
			calls.Go(func() {
				client, err := person.At(cluster.Nodes[n])
				if err == nil {
					_, err = client.Logical().WriteWithContext(t.Context(), f.mount.Path+"/approve", map[string]any{"id": id})
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		f.wantApprovals(id, "2")

		var mu sync.Mutex
		var granted []*api.Secret
		for _, node := range cluster.Nodes {
			for range 2 {
				calls.Go(func() {
					client, err := f.alice.At(node)
					must(t, err)
					credential, err := client.Logical().WriteWithContext(t.Context(), f.mount.Path+"/claim/"+id, nil)
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
