package engine_test

import (
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestCredentialOnlyAfterQuorumAndGoneAfterRevoke(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{ExtraPolicy: `path "identity/group/id/*" { capabilities = ["read"] }`})
	pg := w.database()
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})

	w.refuses(w.alice, "claim", map[string]any{"id": id}, `rule "dba" has 0 of 2 approvals`, "needs 2 more", `approver group "dba"`, w.bob.Name, w.carol.Name)
	w.approve(id, w.bob)
	w.refuses(w.alice, "claim", map[string]any{"id": id}, `rule "dba" has 1 of 2 approvals`, "needs 1 more", w.carol.Name)
	w.approve(id, w.carol)

	credential := w.claim(w.alice, id)
	w.wantLogin(pg, credential, true)
	must(t, w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	w.wantLogin(pg, credential, false)
	w.wantState(id, "ended")
}
