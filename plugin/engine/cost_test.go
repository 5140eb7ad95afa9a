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

// ledger counts the engine's calls by kind.
type ledger struct {
	mu    sync.Mutex
	calls []string
}

func (l *ledger) step(name string, do func() error) error {
	l.mu.Lock()
	l.calls = append(l.calls, name)
	l.mu.Unlock()
	return do()
}

func (l *ledger) count(kinds ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, call := range l.calls {
		for _, kind := range kinds {
			if strings.HasPrefix(call, kind) {
				n++
			}
		}
	}
	return n
}

// Every storage and HTTP call costs about as much as a whole request to Vault's KV, so their number is the engine's speed.
func TestOperationsStayWithinTheirBudgetOfCalls(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	calls := &ledger{}
	stage, err := enginetest.New(t.Context(), w.Address(), calls.step, "alice", "bob")
	must(t, err)
	t.Cleanup(stage.Close)
	write := func(who, path string, data map[string]any) *logical.Response {
		t.Helper()
		response, err := stage.Call(t.Context(), logical.UpdateOperation, who, path, data)
		must(t, err)
		return response
	}
	long, err := w.EnableSSHOTP(t.Context(), "ssh-"+w.mount.Path, "otp")
	must(t, err)
	short, err := w.EnableDatabase(t.Context(), "database-"+w.mount.Path, vaulttest.SharedPostgres(t), "short", time.Minute, 24*time.Hour)
	must(t, err)
	must(t, w.mount.AllowGrants(t.Context(), long.Policy, short.Policy))
	write("", "config", map[string]any{
		"address": stage.Address, "role_id": w.mount.RoleID, "secret_id": w.mount.SecretID, "token_role": w.mount.TokenRole,
	})
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
		for warm := range 2 {
			for _, operation := range []struct {
				name                string
				reads, writes, http int
				run                 func()
			}{
				{"request", 0, 1, 0, func() {
					id = write("alice", "request", map[string]any{"role": upstream.role, "reason": "x"}).Data["id"].(string)
				}},
				{"approve", 1, 2, 0, func() { write("bob", "approve", map[string]any{"id": id}) }},
				{"claim", 1, 3, upstream.http, func() { lease = write("alice", "claim", map[string]any{"id": id}).Secret }},
				{"lease revoke", 1, 3, 2, func() { must(t, stage.Revoke(t.Context(), lease)) }},
			} {
				calls.calls = nil
				operation.run()
				reads := calls.count("storage get", "storage list")
				writes := calls.count("storage put", "storage delete")
				http := calls.count("http")
				if warm > 0 && (reads > operation.reads || writes > operation.writes || http > operation.http) {
					t.Errorf("%s of %s takes %d reads, %d writes and %d HTTP calls; its budget is %d, %d and %d: %q",
						operation.name, upstream.role, reads, writes, http, operation.reads, operation.writes, operation.http, calls.calls)
				}
			}
		}
	}
}
