package engine_test

import (
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Another Vault knows none of the leases and tokens of live grants, and the engine would count them as gone.
func TestConfigCannotMoveToAnotherVaultWhileGrantsLive(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
	credential := f.claim(f.alice, id)

	other := vaulttest.New(t, vaulttest.Options{})
	mount, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	elsewhere := connectTo(other.Address(), mount)
	wantRefusal(t, errorOf(f.operated().ChangeConfig(t.Context(), elsewhere)), id, "not known", "nothing was stored")
	f.revoke(f.alice, id)
	f.wantLogin(pg, credential, false)
	f.must(f.operated().ChangeConfig(t.Context(), elsewhere))
}

// Another Vault would also confirm an end that is still pending.
func TestConfigCannotMoveToAnotherVaultWhileAnEndIsPending(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	id := f.askApproved(wire.Ask{Role: "db", TTL: hour}, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	pg.Stop()
	f.revoke(f.bob, id)

	other := vaulttest.New(t, vaulttest.Options{})
	mount, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	wantRefusal(t, errorOf(f.operated().ChangeConfig(t.Context(), connectTo(other.Address(), mount))), id, "not known to have ended")
	// A new secret for the same Vault is accepted. Otherwise an engine that lost its secret could never end anything.
	secret, err := f.mount.NewSecretID(t.Context())
	must(t, err)
	f.must(f.operated().ChangeConfig(t.Context(), map[string]any{"secret_id": secret}))

	must(t, pg.Start(t.Context()))
	f.revoke(f.bob, id)
	f.wantLogin(pg, credential, false)
}
