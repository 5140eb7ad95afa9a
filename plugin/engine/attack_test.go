package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// with is a person with another token than that of the login.
func (w *world) with(person *vaulttest.Person, create string, data map[string]any) *vaulttest.Person {
	w.t.Helper()
	made, err := person.Client.Logical().WriteWithContext(w.t.Context(), create, data)
	must(w.t, err)
	other := *person
	other.Client, err = w.Client(made.Auth.ClientToken)
	must(w.t, err)
	return &other
}

func TestAPersonIsOneVoiceWithWhateverToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	makers := w.mount.Path + "-makers"
	must(t, w.Policy(t.Context(), makers, `path "auth/token/create" { capabilities = ["update"] }`))
	_, err := w.Root().Logical().WriteWithContext(t.Context(), "auth/userpass/users/"+w.bob.Name, map[string]any{
		"password": w.bob.Password, "token_policies": []string{w.mount.UserPolicy, makers},
	})
	must(t, err)
	must(t, w.bob.Login(t.Context()))
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	for what, data := range map[string]map[string]any{
		"a child":       {"policies": []string{w.mount.UserPolicy}},
		"a batch token": {"policies": []string{w.mount.UserPolicy}, "type": "batch"},
	} {
		w.does(w.with(w.bob, "auth/token/create", data), "approve", map[string]any{"id": id, "comment": "with " + what})
	}
	w.wantCounted(id, "1")
	if decisions := w.request(w.alice, id)["decisions"].([]any); len(decisions) != 1 {
		t.Errorf("there are %d decisions", len(decisions))
	}
	w.wantState(id, "pending")
}

// Membership also comes through groups inside the group, and goes the same way.
func TestApproversOfInnerGroupsCountAsLongAsTheyAreThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	inner, err := w.Group(t.Context(), "dba-inner", w.carol)
	must(t, err)
	must(t, w.dba.SetMembers(t.Context(), w.bob))
	must(t, w.dba.SetSubgroups(t.Context(), inner))
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob, w.carol)
	w.wantState(id, "approved")
	must(t, w.dba.SetSubgroups(t.Context()))
	w.refusesClaim(id, "1 of 2", w.carol.Name)
	must(t, w.dba.SetSubgroups(t.Context(), inner))
	w.claim(w.alice, id)
}

// A role's path may lead back to the engine. Whoever holds a grant token is nobody there: it has no entity.
func TestAGrantCannotDecideOrClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	back := w.mount.Path + "-back"
	must(t, w.Policy(t.Context(), back, `path "`+w.mount.Path+`/*" { capabilities = ["create", "read", "update", "list"] }`))
	must(t, w.mount.AllowGrants(t.Context(), back, "ssh-"+w.mount.Path+"-otp"))
	target := w.ask(w.alice, map[string]any{"role": "otp"})
	for _, path := range []string{"approve", "claim", "revoke", "cancel"} {
		w.quick("loop", map[string]any{
			"path": w.mount.Path + "/" + path, "operation": "write", "data": map[string]any{"id": "{{.Parameters.id}}"}, "grant_policies": back,
			"parameters": map[string]any{"id": map[string]any{"pattern": "[0-9a-f-]{36}", "required": true}}, "allow_unleased": true,
		})
		id := w.ask(w.alice, map[string]any{"role": "loop", "parameters": "id=" + target})
		w.approve(id, w.bob)
		w.refuses(w.alice, "claim", map[string]any{"id": id}, "no entity", "nothing was given out")
	}
	w.wantState(target, "pending")
	w.wantNoTokens()
}

// What was claimed with a token ends with it, also with one that Vault does not store.
func TestAGrantEndsWithTheTokenItWasClaimedWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pg := w.database()
	makers := w.mount.Path + "-makers"
	must(t, w.Policy(t.Context(), makers, `path "auth/token/create" { capabilities = ["update"] }`))
	_, err := w.Root().Logical().WriteWithContext(t.Context(), "auth/userpass/users/"+w.alice.Name, map[string]any{
		"password": w.alice.Password, "token_policies": []string{w.mount.UserPolicy, makers},
	})
	must(t, err)
	must(t, w.alice.Login(t.Context()))
	for _, kind := range []string{"batch", "service"} {
		id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
		w.approve(id, w.bob, w.carol)
		short := w.with(w.alice, "auth/token/create", map[string]any{"policies": []string{w.mount.UserPolicy}, "type": kind, "ttl": "3s"})
		credential := w.claim(short, id)
		w.wantLogin(pg, credential, true)
		w.gone(pg, credential)
		vaulttest.Eventually(t, "the end to be on record", func(context.Context) error {
			if state := w.request(w.alice, id)["state"]; state != "ended" {
				return fmt.Errorf("the request is %v", state)
			}
			return nil
		})
		if end := w.end(id); end["end_reason"] != "lease_revoked" {
			t.Errorf("with a %s token the end is %v", kind, end)
		}
	}
}

// Vault repeats a call to a plugin that shut down while it was at it.
func TestReloadingThePluginWhileItClaimsGrantsOnce(t *testing.T) {
	const rounds = 12
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	granted := 0
	for round := range rounds {
		id := w.ask(w.alice, map[string]any{"role": "otp", "ttl": "10m"})
		w.approve(id, w.bob)
		var calls sync.WaitGroup
		var claimErr error
		calls.Go(func() { _, claimErr = w.as(w.alice, "claim", map[string]any{"id": id}) })
		time.Sleep(time.Duration(round*3) * time.Millisecond)
		_, err := w.Root().Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Mounts: []string{w.mount.Path + "/"}})
		must(t, err)
		calls.Wait()
		if claimErr != nil && !isRefusal(claimErr) {
			t.Logf("round %d: %v", round, claimErr)
		}
		state := w.request(w.alice, id)["state"]
		if claimErr == nil && state != "active" {
			t.Errorf("round %d: the claim reports success and the request is %v", round, state)
		}
		if state != "active" {
			w.claim(w.alice, id)
		}
		granted++
		if _, err := w.as(w.alice, "claim", map[string]any{"id": id}); !isRefusal(err) {
			t.Errorf("round %d: a granted request is claimed again: %v", round, err)
		}
	}
	tokens, err := w.mount.GrantTokens(t.Context())
	must(t, err)
	if len(tokens) != granted {
		t.Errorf("%d grant tokens for %d grants", len(tokens), granted)
	}
}
