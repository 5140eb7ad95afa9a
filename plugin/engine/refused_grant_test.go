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

// addRole adds the policy "one", for which one approval is enough, and a role that it guards.
func (f *fixture) addRole(name string, role map[string]any) {
	f.t.Helper()
	f.writeAsAdmin("policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}, "max_ttl": "48h"})
	role["policy"] = "one"
	f.writeAsAdmin("roles/"+name, role)
}

// askApproved makes a request of alice's that bob approves, and returns its id.
func (f *fixture) askApproved(role, ttl string) string {
	f.t.Helper()
	id := f.ask(f.alice, map[string]any{"role": role, "ttl": ttl})
	f.approve(id, f.bob)
	return id
}

// wantNoGrantTokens checks that no grant token of the mount is left.
func (f *fixture) wantNoGrantTokens() {
	f.t.Helper()
	tokens, err := f.mount.GrantTokens(f.t.Context())
	must(f.t, err)
	if len(tokens) > 0 {
		f.t.Errorf("%d grant tokens are left: %v", len(tokens), tokens[0])
	}
}

func TestClaimRefusesAGrantTokenThatDiffersFromTheRequestedOne(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	upstream, err := f.EnableSSHOTP(t.Context(), "ssh-"+f.mount.Path, "otp")
	must(t, err)
	f.addRole("otp", map[string]any{
		"path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"}, "grant_policies": []string{upstream.Policy},
	})
	f.addRole("ghost", map[string]any{
		"path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"}, "grant_policies": []string{upstream.Policy, "no-such-policy"},
	})
	// A write to a token role keeps the other fields, so each case writes all of them.
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
			f.t = t
			fields := map[string]any{}
			for _, values := range []map[string]any{right, c.fields} {
				for field, value := range values {
					fields[field] = value
				}
			}
			must(t, f.mount.WriteTokenRole(t.Context(), fields))
			id := f.askApproved(c.role, c.ttl)
			f.wantRefused(f.alice, "claim/"+id, nil, c.says, "can be claimed again")
			f.wantNoGrantTokens()
			f.wantState(id, "approved")
			f.mustWriteAs(f.alice, "cancel", map[string]any{"id": id})
		})
	}
	f.t = t
	must(t, f.mount.WriteTokenRole(t.Context(), right))
	f.claim(f.alice, f.askApproved("otp", "10m"))
}

func TestAnswerWithoutLeaseIsRefusedUnlessTheRoleAllowsIt(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	kv, tokens := "kv-"+f.mount.Path, f.mount.Path+"-tokens"
	must(t, f.Root().Sys().MountWithContext(t.Context(), kv, &api.MountInput{Type: "kv"}))
	_, err := f.Root().Logical().WriteWithContext(t.Context(), kv+"/static", map[string]any{"password": "for ever"})
	must(t, err)
	must(t, f.Policy(t.Context(), tokens, fmt.Sprintf(`path "%s/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/tools/random/8" { capabilities = ["update"] }`, kv)))
	must(t, f.mount.AllowGrants(t.Context(), tokens))
	policies := []string{tokens}
	before, err := f.TokenAccessors(t.Context())
	must(t, err)

	f.addRole("static", map[string]any{"path": kv + "/static", "grant_policies": policies})
	f.addRole("token", map[string]any{"path": "auth/token/create", "operation": "write", "grant_policies": policies, "allow_unleased": true})
	f.addRole("nothing", map[string]any{"path": kv + "/not-there", "grant_policies": policies, "allow_unleased": true})
	f.addRole("forbidden", map[string]any{"path": "sys/mounts", "grant_policies": policies, "allow_unleased": true})
	f.addRole("allowed", map[string]any{"path": kv + "/static", "grant_policies": policies, "allow_unleased": true})
	for role, says := range map[string]string{
		"static": "allow_unleased=true", "token": "with a token", "nothing": "nothing that could be given", "forbidden": "permission denied",
	} {
		id := f.askApproved(role, "10m")
		f.wantRefused(f.alice, "claim/"+id, nil, says, "nothing was given out")
		f.wantNoGrantTokens()
	}
	after, err := f.TokenAccessors(t.Context())
	must(t, err)
	for _, accessor := range after {
		if !slices.Contains(before, accessor) {
			token, err := f.Token(t.Context(), accessor)
			must(t, err)
			if token != nil && slices.Contains(token.Policies, tokens) {
				t.Errorf("a token is left: %v", token)
			}
		}
	}

	id := f.askApproved("allowed", "10m")
	if shown := f.readRequest(f.bob, id); shown["cannot_be_taken_back"] != true {
		t.Error("approvers do not see that it cannot be taken back")
	}
	credential := f.claim(f.alice, id)
	if credential.Data["password"] != "for ever" || len(credential.Warnings) == 0 {
		t.Errorf("the claim answers %v and warns %q", credential.Data, credential.Warnings)
	}
	ended := f.mustWriteAs(f.bob, "revoke", map[string]any{"id": id})
	if !strings.Contains(fmt.Sprint(ended.Warnings), "cannot be taken back") {
		t.Errorf("the end warns %q", ended.Warnings)
	}
}

func TestShortUpstreamLeaseIsRenewedToTheWindowOrEndsTheGrant(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	pg := vaulttest.SharedPostgres(t)
	stretchable, err := f.EnableDatabase(t.Context(), "database-"+f.mount.Path, pg, "stretchable", time.Minute, 24*time.Hour)
	must(t, err)
	limited, err := f.EnableDatabase(t.Context(), "database-"+f.mount.Path, pg, "limited", time.Minute, 5*time.Minute)
	must(t, err)
	must(t, f.mount.AllowGrants(t.Context(), stretchable.Policy, limited.Policy))
	f.addRole("stretchable", map[string]any{"path": stretchable.Path, "grant_policies": []string{stretchable.Policy}})
	f.addRole("limited", map[string]any{"path": limited.Path, "grant_policies": []string{limited.Policy}})

	full := f.claim(f.alice, f.askApproved("stretchable", "10m"))
	if full.LeaseDuration != 600 || len(full.Warnings) > 0 {
		t.Errorf("the lease is for %d s and warns %q; upstream could be renewed to 600 s", full.LeaseDuration, full.Warnings)
	}
	leases, err := stretchable.Leases(t.Context())
	must(t, err)
	lease, err := f.Root().Sys().LookupWithContext(t.Context(), leases[0])
	must(t, err)
	if ttl, err := lease.Data["ttl"].(interface{ Int64() (int64, error) }).Int64(); err != nil || ttl < 590 {
		t.Errorf("the upstream lease has %v s left", lease.Data["ttl"])
	}

	short := f.claim(f.alice, f.askApproved("limited", "10m"))
	if short.LeaseDuration > 300 || short.LeaseDuration < 290 || len(short.Warnings) == 0 {
		t.Errorf("the lease is for %d s and warns %q; upstream gives at most 300 s", short.LeaseDuration, short.Warnings)
	}
}
