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

// Of an end that is not confirmed, too, another Vault would say that nothing is left.
func TestConfigCannotLeadAwayFromAnEndThatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	w.databaseOn(pg)
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "1h"})
	w.approve(id, w.bob, w.carol)
	credential := w.claim(w.alice, id)
	pg.Stop()
	w.does(w.bob, "revoke", map[string]any{"id": id})

	other := vaulttest.New(t, vaulttest.Options{})
	mount, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	w.refusesSet("config", map[string]any{
		"address": other.Address(), "role_id": mount.RoleID, "secret_id": mount.SecretID, "token_role": mount.TokenRole,
	}, id, "not known to have ended")
	// Another identity in the same Vault is no other Vault; without it an engine that lost its secret could never end anything.
	secret, err := w.mount.NewSecretID(t.Context())
	must(t, err)
	w.set("config", map[string]any{"secret_id": secret})

	must(t, pg.Start(t.Context()))
	w.does(w.bob, "revoke", map[string]any{"id": id})
	w.wantLogin(pg, credential, false)
}
