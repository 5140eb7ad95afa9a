package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// quick gives the world a policy "one" that bob alone can satisfy, and a role for a path.
func (w *world) quick(name string, role map[string]any) {
	w.t.Helper()
	w.set("policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}, "max_ttl": "48h"})
	role["policy"] = "one"
	w.set("roles/"+name, role)
}

// approved is the id of an approved request of alice's.
func (w *world) approved(role, ttl string) string {
	w.t.Helper()
	id := w.ask(w.alice, map[string]any{"role": role, "ttl": ttl})
	w.approve(id, w.bob)
	return id
}

// wantNoTokens is the promise that a refused claim leaves nothing.
func (w *world) wantNoTokens() {
	w.t.Helper()
	tokens, err := w.mount.GrantTokens(w.t.Context())
	must(w.t, err)
	if len(tokens) > 0 {
		w.t.Errorf("%d grant tokens are left: %v", len(tokens), tokens[0])
	}
}

func TestGrantTokenThatIsNotExactlyWhatWasAskedForIsRefused(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	upstream, err := w.EnableSSHOTP(t.Context(), "ssh-"+w.mount.Path, "otp")
	must(t, err)
	w.quick("otp", map[string]any{
		"path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"}, "grant_policies": []string{upstream.Policy},
	})
	w.quick("ghost", map[string]any{
		"path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"}, "grant_policies": []string{upstream.Policy, "no-such-policy"},
	})
	// Writing a token role leaves alone what is not given, so every field that a case sets is set right again.
	right := map[string]any{
		"allowed_policies": []string{upstream.Policy, "no-such-policy"}, "orphan": true, "token_type": "service",
		"token_explicit_max_ttl": 0, "token_period": 0, "token_num_uses": 0,
	}
	for name, c := range map[string]struct {
		fields map[string]any
		role   string
		ttl    string
		says   string
	}{
		"not an orphan":      {map[string]any{"orphan": false}, "otp", "10m", "orphan"},
		"a batch token":      {map[string]any{"token_type": "batch"}, "otp", "10m", "batch tokens"},
		"a shorter life":     {map[string]any{"token_explicit_max_ttl": 60}, "otp", "10m", "1m0s instead of 10m0s"},
		"a short period":     {map[string]any{"token_period": 60}, "otp", "10m", "1m0s instead of 10m0s"},
		"a number of uses":   {map[string]any{"token_num_uses": 5}, "otp", "10m", "5 uses"},
		"a policy not there": {nil, "ghost", "10m", "does not exist"},
		"a policy forbidden": {map[string]any{"allowed_policies": []string{"something-else"}}, "otp", "10m", "token role"},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			fields := map[string]any{}
			for _, set := range []map[string]any{right, c.fields} {
				for field, value := range set {
					fields[field] = value
				}
			}
			must(t, w.mount.WriteTokenRole(t.Context(), fields))
			id := w.approved(c.role, c.ttl)
			w.refuses(w.alice, "claim", map[string]any{"id": id}, c.says, "can be claimed again")
			w.wantNoTokens()
			w.wantState(id, "approved")
			w.does(w.alice, "cancel", map[string]any{"id": id})
		})
	}
	w.t = t
	must(t, w.mount.WriteTokenRole(t.Context(), right))
	w.claim(w.alice, w.approved("otp", "10m"))
}

func TestUpstreamThatCannotBeTakenBackIsRefusedUnlessTheRoleAllowsIt(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	kv, tokens := "kv-"+w.mount.Path, w.mount.Path+"-tokens"
	must(t, w.Root().Sys().MountWithContext(t.Context(), kv, &api.MountInput{Type: "kv"}))
	_, err := w.Root().Logical().WriteWithContext(t.Context(), kv+"/static", map[string]any{"password": "for ever"})
	must(t, err)
	must(t, w.Policy(t.Context(), tokens, fmt.Sprintf(`path "%s/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/tools/random/8" { capabilities = ["update"] }`, kv)))
	must(t, w.mount.AllowGrants(t.Context(), tokens))
	policies := []string{tokens}
	before, err := w.TokenAccessors(t.Context())
	must(t, err)

	w.quick("static", map[string]any{"path": kv + "/static", "grant_policies": policies})
	w.quick("token", map[string]any{"path": "auth/token/create", "operation": "write", "grant_policies": policies, "allow_unleased": true})
	w.quick("nothing", map[string]any{"path": kv + "/not-there", "grant_policies": policies, "allow_unleased": true})
	w.quick("forbidden", map[string]any{"path": "sys/mounts", "grant_policies": policies, "allow_unleased": true})
	w.quick("allowed", map[string]any{"path": kv + "/static", "grant_policies": policies, "allow_unleased": true})
	for role, says := range map[string]string{
		"static": "allow_unleased=true", "token": "with a token", "nothing": "nothing that could be given", "forbidden": "permission denied",
	} {
		id := w.approved(role, "10m")
		w.refuses(w.alice, "claim", map[string]any{"id": id}, says, "nothing was given out")
		w.wantNoTokens()
	}
	after, err := w.TokenAccessors(t.Context())
	must(t, err)
	for _, accessor := range after {
		if !slices.Contains(before, accessor) {
			token, err := w.Token(t.Context(), accessor)
			must(t, err)
			if token != nil && slices.Contains(token.Policies, tokens) {
				t.Errorf("a token is left: %v", token)
			}
		}
	}

	id := w.approved("allowed", "10m")
	if shown := w.request(w.bob, id); shown["cannot_be_taken_back"] != true {
		t.Error("approvers are not told that it cannot be taken back")
	}
	credential := w.claim(w.alice, id)
	if credential.Data["password"] != "for ever" || len(credential.Warnings) == 0 {
		t.Errorf("the claim answers %v and warns %q", credential.Data, credential.Warnings)
	}
	ended := w.does(w.bob, "revoke", map[string]any{"id": id})
	if !strings.Contains(fmt.Sprint(ended.Warnings), "cannot be taken back") {
		t.Errorf("the end warns %q", ended.Warnings)
	}
}

func TestShorterUpstreamLeaseIsStretchedToTheWindowOrShortensIt(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	pg := vaulttest.SharedPostgres(t)
	stretchable, err := w.EnableDatabase(t.Context(), "database-"+w.mount.Path, pg, "stretchable", time.Minute, 24*time.Hour)
	must(t, err)
	limited, err := w.EnableDatabase(t.Context(), "database-"+w.mount.Path, pg, "limited", time.Minute, 5*time.Minute)
	must(t, err)
	must(t, w.mount.AllowGrants(t.Context(), stretchable.Policy, limited.Policy))
	w.quick("stretchable", map[string]any{"path": stretchable.Path, "grant_policies": []string{stretchable.Policy}})
	w.quick("limited", map[string]any{"path": limited.Path, "grant_policies": []string{limited.Policy}})

	full := w.claim(w.alice, w.approved("stretchable", "10m"))
	if full.LeaseDuration != 600 || len(full.Warnings) > 0 {
		t.Errorf("the lease is for %d s and warns %q; upstream could be renewed to 600 s", full.LeaseDuration, full.Warnings)
	}
	leases, err := stretchable.Leases(t.Context())
	must(t, err)
	lease, err := w.Root().Sys().LookupWithContext(t.Context(), leases[0])
	must(t, err)
	if ttl, err := lease.Data["ttl"].(interface{ Int64() (int64, error) }).Int64(); err != nil || ttl < 590 {
		t.Errorf("the upstream lease has %v s left", lease.Data["ttl"])
	}

	short := w.claim(w.alice, w.approved("limited", "10m"))
	if short.LeaseDuration > 300 || short.LeaseDuration < 290 || len(short.Warnings) == 0 {
		t.Errorf("the lease is for %d s and warns %q; upstream gives at most 300 s", short.LeaseDuration, short.Warnings)
	}
}
