package engine_test

import (
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestCredentialNeedsAQuorumAndStopsWorkingWhenRevoked(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{ExtraPolicy: `path "identity/group/id/*" { capabilities = ["read"] }`})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, wire.Ask{Role: "db", TTL: 10 * minute})

	f.wantClaimRefused(id, `rule "dba" has 0 of 2 approvals`, "needs 2 more", `approver group "dba"`, f.bob.Name, f.carol.Name)
	f.approve(id, f.bob)
	f.wantClaimRefused(id, `rule "dba" has 1 of 2 approvals`, "needs 1 more", f.carol.Name)
	f.approve(id, f.carol)

	credential := f.claim(f.alice, id)
	f.wantLogin(pg, credential, true)
	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	f.wantLogin(pg, credential, false)
	f.wantState(id, "ended")
}
