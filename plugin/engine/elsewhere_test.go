package engine_test

import (
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// A Vault that never made the live grants knows none of their leases and tokens, and what is unknown counts as gone.
func TestConfigCannotLeadAwayFromTheVaultThatHoldsLiveGrants(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	pg := w.database()
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
	w.approve(id, w.bob, w.carol)
	credential := w.claim(w.alice, id)

	other := vaulttest.New(t, vaulttest.Options{})
	mount, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	elsewhere := map[string]any{
		"address": other.Address(), "role_id": mount.RoleID, "secret_id": mount.SecretID, "token_role": mount.TokenRole,
	}
	w.refusesSet("config", elsewhere, id, "not known", "nothing was stored")
	w.does(w.alice, "revoke", map[string]any{"id": id})
	w.wantLogin(pg, credential, false)
	w.set("config", elsewhere)
}
