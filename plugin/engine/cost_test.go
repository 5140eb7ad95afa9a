package engine_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// callCounter counts the engine's calls by kind.
type callCounter struct {
	mu    sync.Mutex
	calls []string
}

func (c *callCounter) step(name string, do func() error) error {
	c.mu.Lock()
	c.calls = append(c.calls, name)
	c.mu.Unlock()
	return do()
}

func (c *callCounter) count(kinds ...string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.calls {
		for _, kind := range kinds {
			if strings.HasPrefix(call, kind) {
				n++
			}
		}
	}
	return n
}

// The number of calls decides the engine's speed: a storage or HTTP call costs about as much as a request to Vault's KV.
func TestOperationsStayWithinTheirBudgetOfCalls(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	counter := &callCounter{}
	engine, err := enginetest.New(t.Context(), f.Address(), counter.step, "alice", "bob")
	must(t, err)
	t.Cleanup(engine.Close)
	write := func(who, path string, data map[string]any) *logical.Response {
		t.Helper()
		response, err := engine.Call(t.Context(), logical.UpdateOperation, who, path, data)
		must(t, err)
		return response
	}
	long, err := f.EnableSSHOTP(t.Context(), "ssh-"+f.mount.Path, "otp")
	must(t, err)
	short, err := f.EnableDatabase(t.Context(), "database-"+f.mount.Path, vaulttest.SharedPostgres(t), "short", time.Minute, 24*time.Hour)
	must(t, err)
	must(t, f.mount.AllowGrants(t.Context(), long.Policy, short.Policy))
	write("", "config", connectTo(engine.Address, f.mount))
	write("", "approver-groups/dba", map[string]any{"entity_ids": []any{"bob"}})
	write("", "policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	write("", "roles/otp", map[string]any{
		"policy": "one", "path": long.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"}, "grant_policies": []any{long.Policy},
	})
	write("", "roles/db", map[string]any{"policy": "one", "path": short.Path, "grant_policies": []any{short.Policy}})

	for _, upstream := range []struct {
		role string
		http int
	}{{"otp", 2}, {"db", 3}} {
		var id string
		var lease *logical.Secret
		for round := range 2 { // the first round warms up
			for _, operation := range []struct {
				name                string
				reads, writes, http int
				run                 func()
			}{
				{"request", 0, 1, 0, func() {
					id = write("alice", "request", map[string]any{"role": upstream.role, "reason": "x"}).Data["id"].(string)
				}},
				{"approve", 1, 1, 0, func() { write("bob", "approve", map[string]any{"id": id}) }},
				{"claim", 2, 2, upstream.http, func() { lease = write("alice", "claim/"+id, nil).Secret }},
				{"lease revoke", 1, 2, 2, func() { must(t, engine.Revoke(t.Context(), lease)) }},
				{"request, approve and claim", 3, 4, upstream.http, func() {
					id = write("alice", "request", map[string]any{"role": upstream.role, "reason": "x"}).Data["id"].(string)
					write("bob", "approve", map[string]any{"id": id})
					lease = write("alice", "claim/"+id, nil).Secret
				}},
				{"revoke", 1, 3, 2, func() { write("alice", "revoke", map[string]any{"id": id}) }},
				{"lease revoke after it", 2, 0, 0, func() { must(t, engine.Revoke(t.Context(), lease)) }},
			} {
				counter.calls = nil
				operation.run()
				reads := counter.count("storage get", "storage list")
				writes := counter.count("storage put", "storage delete")
				http := counter.count("http")
				if round > 0 && (reads > operation.reads || writes > operation.writes || http > operation.http) {
					t.Errorf("%s of %s takes %d reads, %d writes and %d HTTP calls; its budget is %d, %d and %d: %q",
						operation.name, upstream.role, reads, writes, http, operation.reads, operation.writes, operation.http, counter.calls)
				}
			}
		}
	}
}
