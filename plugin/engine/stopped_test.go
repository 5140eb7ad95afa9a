package engine_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// One plugin process may serve a mount's old and new instance at once. What the old one still wrote would undo what the
// new one did.
func TestStoppedEngineWritesNothing(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	counter := &callCounter{}
	engine, err := enginetest.New(t.Context(), f.Address(), counter.step, "alice", "bob")
	must(t, err)
	t.Cleanup(engine.Close)
	calls := []struct {
		op        logical.Operation
		who, path string
		data      map[string]any
	}{
		{logical.UpdateOperation, "", "config", connectTo(engine.Address, f.mount)},
		{logical.UpdateOperation, "", "approver-groups/dba", map[string]any{"entity_ids": []any{"bob"}}},
		{logical.UpdateOperation, "", "policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}}},
		{logical.UpdateOperation, "", "roles/app", map[string]any{
			"policy": "one", "path": "database/creds/app", "grant_policies": []any{"app"},
		}},
		{logical.UpdateOperation, "alice", "request", map[string]any{"role": "app", "reason": "x"}},
		{logical.UpdateOperation, "", "config/rotate-root", nil},
		{logical.DeleteOperation, "", "roles/app", nil},
		{logical.DeleteOperation, "", "config", nil},
	}
	for _, c := range calls[:5] {
		_, err := engine.Call(t.Context(), c.op, c.who, c.path, c.data)
		must(t, err)
	}
	engine.Stop(t.Context())
	written := counter.count("storage put", "storage delete")
	for _, c := range calls {
		_, err := engine.Call(t.Context(), c.op, c.who, c.path, c.data)
		if err == nil || !strings.Contains(err.Error(), "this instance of the engine has been closed") {
			t.Errorf("%s %s answers %v", c.op, c.path, err)
		}
	}
	if n := counter.count("storage put", "storage delete") - written; n != 0 {
		t.Errorf("it wrote %d times", n)
	}
	must(t, engine.Restart(t.Context()))
	_, err = engine.Call(t.Context(), logical.DeleteOperation, "", "roles/app", nil)
	must(t, err)
}
