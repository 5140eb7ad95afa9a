package engine_test

import (
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// Another Vault knows none of the leases and tokens of live grants, and the engine would count them as gone.
func TestConfigCannotMoveToAnotherVaultWhileGrantsLive(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)

	other := vaulttest.New(t, vaulttest.Options{})
	mount, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	elsewhere := map[string]any{
		"address": other.Address(), "role_id": mount.RoleID, "secret_id": mount.SecretID, "token_role": mount.TokenRole,
	}
	f.wantAdminRefused("config", elsewhere, id, "not known", "nothing was stored")
	f.mustWriteAs(f.alice, "revoke", map[string]any{"id": id})
	f.wantLogin(pg, credential, false)
	f.writeAsAdmin("config", elsewhere)
}

// Another Vault would also confirm an end that is still pending.
func TestConfigCannotMoveToAnotherVaultWhileAnEndIsPending(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "1h"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	pg.Stop()
	f.mustWriteAs(f.bob, "revoke", map[string]any{"id": id})

	other := vaulttest.New(t, vaulttest.Options{})
	mount, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	f.wantAdminRefused("config", map[string]any{
		"address": other.Address(), "role_id": mount.RoleID, "secret_id": mount.SecretID, "token_role": mount.TokenRole,
	}, id, "not known to have ended")
	// A new secret for the same Vault is accepted. Otherwise an engine that lost its secret could never end anything.
	secret, err := f.mount.NewSecretID(t.Context())
	must(t, err)
	f.writeAsAdmin("config", map[string]any{"secret_id": secret})

	must(t, pg.Start(t.Context()))
	f.mustWriteAs(f.bob, "revoke", map[string]any{"id": id})
	f.wantLogin(pg, credential, false)
}
