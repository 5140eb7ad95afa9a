package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// addRole adds a role, and the policy "one", for which one approval is enough.
func (f *fixture) addRole(name string, role wire.Role) {
	f.t.Helper()
	f.must(f.operated().Policies().Write(f.t.Context(), "one", newPolicy(1)))
	f.must(f.operated().Roles().Write(f.t.Context(), name, role))
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
	role := newOTPRole("one", upstream)
	f.addRole("otp", role)
	role.GrantPolicies = append(role.GrantPolicies, "no-such-policy")
	f.addRole("ghost", role)
	// A write to a token role keeps the other fields, so each case writes all of them.
	right := map[string]any{
		"allowed_policies": []string{upstream.Policy, "no-such-policy"}, "orphan": true, "token_type": "service",
		"token_explicit_max_ttl": 0, "token_period": 0, "token_num_uses": 0,
	}
	for name, c := range map[string]struct {
		fields map[string]any
		role   string
		says   string
	}{
		"not an orphan":      {map[string]any{"orphan": false}, "otp", "orphan"},
		"a batch token":      {map[string]any{"token_type": "batch"}, "otp", "batch tokens"},
		"a shorter life":     {map[string]any{"token_explicit_max_ttl": 60}, "otp", "1m0s instead of 10m0s"},
		"a short period":     {map[string]any{"token_period": 60}, "otp", "1m0s instead of 10m0s"},
		"a number of uses":   {map[string]any{"token_num_uses": 5}, "otp", "5 uses"},
		"a policy not there": {nil, "ghost", "does not exist"},
		"a policy forbidden": {map[string]any{"allowed_policies": []string{"something-else"}}, "otp", "token role"},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			fields := maps.Clone(right)
			maps.Copy(fields, c.fields)
			must(t, f.mount.WriteTokenRole(t.Context(), fields))
			id := f.askApproved(wire.Ask{Role: c.role, TTL: 10 * minute}, f.bob)
			f.wantClaimRefused(id, c.says, "can be claimed again")
			f.wantNoGrantTokens()
			f.wantState(id, "approved")
			f.must(f.as(f.alice).Cancel(t.Context(), id))
		})
	}
	f.t = t
	must(t, f.mount.WriteTokenRole(t.Context(), right))
	f.claim(f.alice, f.askApproved(wire.Ask{Role: "otp", TTL: 10 * minute}, f.bob))
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
	before, err := f.TokenAccessors(t.Context())
	must(t, err)

	for name, c := range map[string]struct {
		path          string
		allowUnleased bool
	}{
		"static": {kv + "/static", false}, "token": {"auth/token/create", true}, "nothing": {kv + "/not-there", true},
		"forbidden": {"sys/mounts", true}, "allowed": {kv + "/static", true},
	} {
		role := newRole("one", &vaulttest.Upstream{Path: c.path, Policy: tokens})
		if role.AllowUnleased = c.allowUnleased; name == "token" {
			role.Operation = "write"
		}
		f.addRole(name, role)
	}
	for role, says := range map[string]string{
		"static": "allow_unleased=true", "token": "with a token", "nothing": "nothing that could be given", "forbidden": "permission denied",
	} {
		id := f.askApproved(wire.Ask{Role: role, TTL: 10 * minute}, f.bob)
		f.wantClaimRefused(id, says, "nothing was given out")
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

	id := f.askApproved(wire.Ask{Role: "allowed", TTL: 10 * minute}, f.bob)
	if shown := f.readRequest(f.bob, id); !shown.CannotBeTakenBack {
		t.Error("approvers do not see that it cannot be taken back")
	}
	credential := f.claim(f.alice, id)
	if credential.Data["password"] != "for ever" || len(credential.Warnings) == 0 {
		t.Errorf("the claim answers %v and warns %q", credential.Data, credential.Warnings)
	}
	_, warnings := f.revoke(f.bob, id)
	wantWarning(t, warnings, "cannot be taken back")
}

func TestShortUpstreamLeaseIsRenewedToTheWindowOrEndsTheGrant(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	pg := vaulttest.SharedPostgres(t)
	stretchable, err := f.EnableDatabase(t.Context(), "database-"+f.mount.Path, pg, "stretchable", time.Minute, 24*time.Hour)
	must(t, err)
	limited, err := f.EnableDatabase(t.Context(), "database-"+f.mount.Path, pg, "limited", time.Minute, 5*time.Minute)
	must(t, err)
	must(t, f.mount.AllowGrants(t.Context(), stretchable.Policy, limited.Policy))
	f.addRole("stretchable", newRole("one", stretchable))
	f.addRole("limited", newRole("one", limited))

	full := f.claim(f.alice, f.askApproved(wire.Ask{Role: "stretchable", TTL: 10 * minute}, f.bob))
	if full.LeaseDuration != 10*time.Minute || len(full.Warnings) > 0 {
		t.Errorf("the lease is for %s and warns %q; upstream could be renewed to 600 s", full.LeaseDuration, full.Warnings)
	}
	leases, err := stretchable.Leases(t.Context())
	must(t, err)
	lease, err := f.Root().Sys().LookupWithContext(t.Context(), leases[0])
	must(t, err)
	if ttl, err := lease.Data["ttl"].(interface{ Int64() (int64, error) }).Int64(); err != nil || ttl < 590 {
		t.Errorf("the upstream lease has %v s left", lease.Data["ttl"])
	}

	short := f.claim(f.alice, f.askApproved(wire.Ask{Role: "limited", TTL: 10 * minute}, f.bob))
	if short.LeaseDuration > 5*time.Minute || short.LeaseDuration < 290*time.Second || len(short.Warnings) == 0 {
		t.Errorf("the lease is for %s and warns %q; upstream gives at most 300 s", short.LeaseDuration, short.Warnings)
	}
}
