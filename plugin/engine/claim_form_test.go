package engine_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestClaimWithoutTheIDInThePathSaysWhatToType(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	command := "vault write -f jit/claim/"
	f.wantRefused(f.alice, "claim", nil, "claim/ID: "+command+"ID")
	f.wantRefused(f.alice, "claim/", nil, "claim/ID: "+command+"ID")
	f.wantRefused(f.alice, "claim", map[string]any{"id": "4711"}, command+"ID")
	f.wantRefused(f.alice, "claim", map[string]any{"id": id}, command+id)
	f.wantRefused(f.alice, "claim", map[string]any{"id": " " + strings.ToUpper(id) + "\n"}, command+id)
	// The path is part of the lease's id, so it has to have the request's id letter for letter.
	f.wantRefused(f.alice, "claim/"+strings.ToUpper(id), nil, command+id)
	f.wantRefused(f.alice, "claim/"+strings.ToUpper(id), map[string]any{"id": id}, command+id)
	f.wantState(id, "approved")
	f.claim(f.alice, id)
}

func TestClaimTakesTheIDBesideThePathIfItIsTheSame(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	for _, mark := range []func(id string) string{
		func(id string) string { return id },
		func(id string) string { return " " + strings.ToUpper(id) + "\n" },
	} {
		id := f.ask(f.alice, map[string]any{"role": "otp"})
		f.approve(id, f.bob)
		f.wantRefused(f.alice, "claim/"+id, map[string]any{"id": absentID}, id, "in the path", absentID, "in the body")
		f.wantRefused(f.alice, "claim/"+id, map[string]any{"id": ""}, "in the path", "in the body")
		credential := f.mustWriteAs(f.alice, "claim/"+id, map[string]any{"id": mark(id)})
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
	grant := func(claim func(id string) (*api.Secret, error)) (id string, credential *api.Secret) {
		t.Helper()
		id = f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
		f.approve(id, f.bob, f.carol)
		credential, err := claim(id)
		must(t, err)
		return id, credential
	}
	all := map[string]*api.Secret{}
	for _, claim := range []func(id string) (*api.Secret, error){
		func(id string) (*api.Secret, error) { return f.writeAs(f.alice, "claim/"+id, nil) },
		func(id string) (*api.Secret, error) {
			return f.writeAs(f.alice, "claim/"+id, map[string]any{"id": id})
		},
		func(id string) (*api.Secret, error) {
			wrapping, err := f.alice.Client.Clone()
			must(t, err)
			wrapping.SetToken(f.alice.Client.Token())
			wrapping.SetWrappingLookupFunc(func(string, string) string { return "5m" })
			wrapped, err := wrapping.Logical().WriteWithContext(t.Context(), f.mount.Path+"/claim/"+id, nil)
			must(t, err)
			return f.alice.Client.Logical().UnwrapWithContext(t.Context(), wrapped.WrapInfo.Token)
		},
	} {
		id, credential := grant(claim)
		all[id] = credential
		f.wantLogin(pg, credential, true)
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
