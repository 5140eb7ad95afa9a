package engine_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestClaimWithoutTheIDInThePathSaysWhatToType(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	command := "vault write -f jit/claim/"
	refused := func(path string, data map[string]any, words ...string) {
		t.Helper()
		wantRefusal(t, errorOf(f.writeRaw(f.alice.Client, path, data)), words...)
	}
	refused("claim", nil, "claim/ID: "+command+"ID")
	refused("claim/", nil, "claim/ID: "+command+"ID")
	refused("claim", map[string]any{"id": "4711"}, command+"ID")
	refused("claim", map[string]any{"id": id}, command+id)
	refused("claim", map[string]any{"id": " " + strings.ToUpper(id) + "\n"}, command+id)
	// The path is part of the lease's id, so it has to have the request's id letter for letter.
	refused("claim/"+strings.ToUpper(id), nil, command+id)
	refused("claim/"+strings.ToUpper(id), map[string]any{"id": id}, command+id)
	f.wantState(id, "approved")
	f.claim(f.alice, id)
}

func TestClaimTakesTheIDBesideThePathIfItIsTheSame(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	for _, mark := range []func(id string) string{
		func(id string) string { return id },
		func(id string) string { return " " + strings.ToUpper(id) + "\n" },
	} {
		id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
		wantRefusal(t, errorOf(f.writeRaw(f.alice.Client, "claim/"+id, map[string]any{"id": absentID})), id, "in the path", absentID, "in the body")
		wantRefusal(t, errorOf(f.writeRaw(f.alice.Client, "claim/"+id, map[string]any{"id": ""})), "in the path", "in the body")
		credential, err := f.writeRaw(f.alice.Client, "claim/"+id, map[string]any{"id": mark(id)})
		must(t, err)
		if !strings.HasPrefix(credential.LeaseID, f.mount.Path+"/claim/"+id+"/") {
			t.Errorf("the lease of request %s is %s", id, credential.LeaseID)
		}
	}
}

// This is the emergency stop of docs/operations.md.
func TestRevokingTheLeasesOfTheMountEndsTheGrantOfEachForm(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	all := map[string]client.Credential{}
	for _, claim := range []func(id string) client.Credential{
		func(id string) client.Credential { return f.claim(f.alice, id) },
		func(id string) client.Credential {
			secret, err := f.writeRaw(f.alice.Client, "claim/"+id, map[string]any{"id": id})
			must(t, err)
			return client.Credential{Data: secret.Data}
		},
		func(id string) client.Credential {
			wrapping, err := f.alice.Client.Clone()
			must(t, err)
			wrapping.SetToken(f.alice.Client.Token())
			wrapping.SetWrappingLookupFunc(func(string, string) string { return "5m" })
			wrapped, err := f.writeRaw(wrapping, "claim/"+id, nil)
			must(t, err)
			secret, err := f.alice.Client.Logical().UnwrapWithContext(t.Context(), wrapped.WrapInfo.Token)
			must(t, err)
			return client.Credential{Data: secret.Data}
		},
	} {
		id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
		all[id] = claim(id)
		f.wantLogin(pg, all[id], true)
	}
	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: f.mount.Path + "/", Prefix: true, Sync: true}))
	for id, credential := range all {
		f.wantLogin(pg, credential, false)
		f.wantState(id, "ended")
	}
	tokens, err := f.mount.GrantTokens(t.Context())
	must(t, err)
	leases, err := f.mount.Leases(t.Context())
	must(t, err)
	if len(tokens) != 0 || len(leases) != 0 {
		t.Errorf("left over are grant tokens %v and leases %v", tokens, leases)
	}
}
