package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// withNewToken returns the same person with a new token, which their present one creates.
func (f *fixture) withNewToken(person *vaulttest.Person, create string, data map[string]any) *vaulttest.Person {
	f.t.Helper()
	made, err := person.Client.Logical().WriteWithContext(f.t.Context(), create, data)
	must(f.t, err)
	other := *person
	other.Client, err = f.Client(made.Auth.ClientToken)
	must(f.t, err)
	return &other
}

func TestPersonCountsOnceWithSeveralTokens(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", newPolicy(2))
	makers := f.mount.Path + "-makers"
	must(t, f.Policy(t.Context(), makers, `path "auth/token/create" { capabilities = ["update"] }`))
	_, err := f.Root().Logical().WriteWithContext(t.Context(), "auth/userpass/users/"+f.bob.Name, map[string]any{
		"password": f.bob.Password, "token_policies": []string{f.mount.UserPolicy, makers},
	})
	must(t, err)
	must(t, f.bob.Login(t.Context()))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	for what, data := range map[string]map[string]any{
		"a child":       {"policies": []string{f.mount.UserPolicy}},
		"a batch token": {"policies": []string{f.mount.UserPolicy}, "type": "batch"},
	} {
		f.must(f.as(f.withNewToken(f.bob, "auth/token/create", data)).Approve(t.Context(), id, "with "+what))
	}
	f.wantApprovals(id, 1)
	if decisions := f.readRequest(f.alice, id).Decisions; len(decisions) != 1 {
		t.Errorf("there are %d decisions", len(decisions))
	}
	f.wantState(id, "pending")
}

// Vault passes membership on from a subgroup. Removing the subgroup takes the membership away.
func TestMembersOfASubgroupCountOnlyWhileItIsASubgroup(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("two", newPolicy(2))
	inner, err := f.Group(t.Context(), "dba-inner", f.carol)
	must(t, err)
	must(t, f.dba.SetMembers(t.Context(), f.bob))
	must(t, f.dba.SetSubgroups(t.Context(), inner))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob, f.carol)
	f.wantState(id, "approved")
	must(t, f.dba.SetSubgroups(t.Context()))
	f.wantClaimRefused(id, "1 of 2", f.carol.Name)
	must(t, f.dba.SetSubgroups(t.Context(), inner))
	f.claim(f.alice, id)
}

// A role's path may lead back to the engine. The engine refuses a grant token there, because it has no entity.
func TestGrantTokenCannotDecideClaimOrRevoke(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	back := f.mount.Path + "-back"
	must(t, f.Policy(t.Context(), back, `path "`+f.mount.Path+`/*" { capabilities = ["create", "read", "update", "list"] }`))
	must(t, f.mount.AllowGrants(t.Context(), back, "ssh-"+f.mount.Path+"-otp"))
	target := f.ask(f.alice, wire.Ask{Role: "otp"})
	for _, path := range []string{"approve", "claim/" + target, "revoke", "cancel"} {
		role := newRole("one", &vaulttest.Upstream{Path: f.mount.Path + "/" + path, Policy: back})
		role.Operation, role.Data, role.AllowUnleased = "write", map[string]any{"id": "{{.Parameters.id}}"}, true
		role.Parameters = map[string]wire.Parameter{"id": {Pattern: "[0-9a-f-]{36}", Required: true}}
		f.must(f.operated().Roles().Write(t.Context(), "loop", role))
		id := f.askApproved(wire.Ask{Role: "loop", Parameters: map[string]string{"id": target}}, f.bob)
		f.wantClaimRefused(id, "no entity", "nothing was given out")
	}
	f.wantState(target, "pending")
	f.wantNoGrantTokens()
}

// Vault ends a lease with the token that made it, and does so for batch tokens too, which it does not store.
func TestGrantEndsWithTheTokenThatClaimedIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	makers := f.mount.Path + "-makers"
	must(t, f.Policy(t.Context(), makers, `path "auth/token/create" { capabilities = ["update"] }`))
	_, err := f.Root().Logical().WriteWithContext(t.Context(), "auth/userpass/users/"+f.alice.Name, map[string]any{
		"password": f.alice.Password, "token_policies": []string{f.mount.UserPolicy, makers},
	})
	must(t, err)
	must(t, f.alice.Login(t.Context()))
	for _, kind := range []string{"batch", "service"} {
		id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
		short := f.withNewToken(f.alice, "auth/token/create", map[string]any{"policies": []string{f.mount.UserPolicy}, "type": kind, "ttl": "3s"})
		credential := f.claim(short, id)
		f.wantLogin(pg, credential, true)
		f.waitUntilGone(pg, credential)
		vaulttest.Eventually(t, "the end to be on record", func(context.Context) error {
			if state := f.readRequest(f.alice, id).State; state != "ended" {
				return fmt.Errorf("the request is %v", state)
			}
			return nil
		})
		if end := f.readEnd(id); end.EndReason != "lease_revoked" {
			t.Errorf("with a %s token the end is %+v", kind, end)
		}
	}
}

// Vault repeats a call to a plugin that shut down during the call.
func TestClaimDuringAPluginReloadGrantsOnce(t *testing.T) {
	const rounds = 12
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	granted, alice := 0, f.as(f.alice)
	for round := range rounds {
		id := f.askApproved(wire.Ask{Role: "otp", TTL: 10 * minute}, f.bob)
		var calls sync.WaitGroup
		var claimErr error
		calls.Go(func() { claimErr = errorOf(alice.Claim(t.Context(), id)) })
		time.Sleep(time.Duration(round*3) * time.Millisecond)
		_, err := f.Root().Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Mounts: []string{f.mount.Path + "/"}})
		must(t, err)
		calls.Wait()
		if claimErr != nil && !isRefusal(claimErr) {
			t.Logf("round %d: %v", round, claimErr)
		}
		state := f.readRequest(f.alice, id).State
		if claimErr == nil && state != "active" {
			t.Errorf("round %d: the claim reports success and the request is %v", round, state)
		}
		if state != "active" {
			f.claim(f.alice, id)
		}
		granted++
		f.wantClaimRefused(id, "active")
	}
	tokens, err := f.mount.GrantTokens(t.Context())
	must(t, err)
	if len(tokens) != granted {
		t.Errorf("%d grant tokens for %d grants", len(tokens), granted)
	}
}
