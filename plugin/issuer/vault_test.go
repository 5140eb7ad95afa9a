package issuer_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestMain(m *testing.M) { vaulttest.Main(m, vaulttest.Options{}) }

// setup is an issuer at a real Vault, with what belongs to it.
type setup struct {
	*vaulttest.Cluster
	*vaulttest.Mount
	*issuer.Issuer
	connection issuer.Connection
	ssh        *vaulttest.Upstream
}

func newSetup(t *testing.T, o vaulttest.MountOptions) *setup {
	t.Helper()
	cluster := vaulttest.Shared(t)
	ssh, err := cluster.EnableSSHOTP(t.Context(), "ssh", "otp")
	must(t, err)
	o.GrantPolicies = append(o.GrantPolicies, ssh.Policy)
	o.Unconfigured = true
	mount, err := cluster.Mount(t.Context(), o)
	must(t, err)
	c := issuer.Connection{
		Address: cluster.Address(), AuthMount: "approle", RoleID: mount.RoleID, SecretID: mount.SecretID, TokenRole: mount.TokenRole,
	}
	return &setup{Cluster: cluster, Mount: mount, Issuer: newIssuer(t, c), connection: c, ssh: ssh}
}

func (r *setup) order(window time.Duration) issuer.Order {
	return issuer.Order{
		RequestID: "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20", Role: "host",
		Requester: approval.Person{EntityID: "entity-alice", Name: "alice"},
		Grant: approval.Rendered{
			GrantType: approval.Secret, Path: r.ssh.Path, Operation: approval.Write, Data: map[string]any{"ip": "127.0.0.1"},
			GrantPolicies: []string{r.ssh.Policy},
		},
		Window: window,
	}
}

func (r *setup) grant(t *testing.T, window time.Duration) (issuer.GrantToken, issuer.Made) {
	t.Helper()
	token, err := r.NewToken(t.Context(), r.order(window))
	must(t, err)
	made, err := r.Fetch(t.Context(), token, r.order(window))
	must(t, err)
	return token, made
}

func (r *setup) tokens(t *testing.T) []*vaulttest.Token {
	t.Helper()
	tokens, err := r.GrantTokens(t.Context())
	must(t, err)
	return tokens
}

// Whoever reads an upstream's audit log must find the person, not the engine.
func TestTheGrantTokenSaysForWhomAndWhyItIs(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	token, _ := r.grant(t, 10*time.Minute)
	live := r.tokens(t)
	if len(live) != 1 || live[0].Accessor != token.Accessor {
		t.Fatalf("the grant tokens are %v", live)
	}
	got := live[0]
	want := map[string]string{
		"jit_request": "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20", "jit_role": "host", "jit_requester": "alice", "jit_requester_entity_id": "entity-alice",
	}
	if !maps.Equal(got.Meta, want) || got.DisplayName != "token-jit-alice" {
		t.Errorf("it carries %v and is called %q", got.Meta, got.DisplayName)
	}
	if !got.Orphan || got.Renewable || got.EntityID != "" || got.Type != "service" || got.ExplicitMaxTTL != 600 || got.TTL > 600 ||
		!slices.Equal(got.Policies, []string{r.ssh.Policy}) {
		t.Errorf("it is %+v", got)
	}
}

func TestAnEndLeavesNothingAndCanBeRepeated(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	token, made := r.grant(t, 10*time.Minute)
	for range 2 {
		must(t, r.End(t.Context(), token.Accessor, made.LeaseID))
		if live := r.tokens(t); len(live) != 0 {
			t.Errorf("tokens live: %v", live)
		}
		works, err := r.ssh.VerifySSHOTP(t.Context(), made.Data["key"].(string))
		must(t, err)
		if works {
			t.Error("the password works")
		}
	}
	must(t, r.End(t.Context(), "", ""))
	must(t, r.End(t.Context(), "no-such-accessor", "ssh/creds/otp/no-such-lease"))
}

func TestEachMissingCapabilityIsNamedWithTheLineThatGivesIt(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	whole := vaulttest.EnginePolicy(r.TokenRole, r.AppRole)
	optional := "path \"identity/group/id/*\" { capabilities = [\"read\"] }\npath \"auth/token/roles/" + r.TokenRole + "\" { capabilities = [\"read\"] }\n"
	warnings := func(rules string) []string {
		t.Helper()
		must(t, r.Policy(t.Context(), r.EnginePolicy, rules))
		found, err := newIssuer(t, r.connection).Warnings(t.Context())
		must(t, err)
		return found
	}
	if found := warnings(whole + optional); len(found) != 0 {
		t.Errorf("with everything it warns: %v", found)
	}
	lines := strings.Split(strings.TrimSpace(whole+optional), "\n")
	for _, missing := range lines {
		path := strings.Split(missing, `"`)[1]
		rest := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return line == missing })
		found := warnings(strings.Join(rest, "\n"))
		if len(found) != 1 || !strings.Contains(found[0], `path "`+path+`" { capabilities = [`) {
			t.Errorf("without %s it warns %q", path, found)
			continue
		}
		// The line it gives is the one that is missing.
		_, given, _ := strings.Cut(found[0], "give it: ")
		if more := warnings(strings.Join(rest, "\n") + "\n" + given); len(more) != 0 {
			t.Errorf("with the line %s it still warns %v", given, more)
		}
	}
}

func TestATokenRoleThatWouldFailEveryClaimIsWarnedOf(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	must(t, r.Policy(t.Context(), r.EnginePolicy, vaulttest.EnginePolicy(r.TokenRole, r.AppRole)+
		"path \"identity/group/id/*\" { capabilities = [\"read\"] }\npath \"auth/token/roles/*\" { capabilities = [\"read\"] }\n"))
	for says, fields := range map[string]map[string]any{
		"":                 {"allowed_policies": []string{r.ssh.Policy}},
		"orphan must be":   {"allowed_policies": []string{r.ssh.Policy}, "orphan": false},
		"token_type is":    {"allowed_policies": []string{r.ssh.Policy}, "token_type": "batch", "orphan": true},
		"allowed_policies": {"allowed_policies": []string{}},
	} {
		must(t, r.WriteTokenRole(t.Context(), fields))
		found, err := newIssuer(t, r.connection).Warnings(t.Context())
		must(t, err)
		if (says == "") != (len(found) == 0) || !strings.Contains(strings.Join(found, "\n"), says) {
			t.Errorf("with %v it warns %q; it should say %q", fields, found, says)
		}
	}
	absent := r.connection
	absent.TokenRole = "no-such-role"
	found, err := newIssuer(t, absent).Warnings(t.Context())
	must(t, err)
	if !strings.Contains(strings.Join(found, "\n"), `token role "no-such-role" does not exist`) {
		t.Errorf("without a token role it warns %q", found)
	}
}

// The engine's own login never lapses: it is renewed while that is possible, and made anew when it is not.
func TestTheLoginIsKeptAliveBeyondEveryLimitOfItsToken(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	_, err := r.Root().Logical().WriteWithContext(t.Context(), "auth/approle/role/"+r.AppRole, map[string]any{"token_ttl": "3s", "token_max_ttl": "7s"})
	must(t, err)
	most := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		must(t, r.RevokeToken(t.Context(), "no-such-accessor"))
		live, err := r.EngineTokens(t.Context())
		must(t, err)
		most = max(most, len(live))
	}
	if most > 2 {
		t.Errorf("%d tokens of the engine lived at once", most)
	}
}

func TestARevokedLoginIsMadeAgain(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	r.grant(t, time.Minute)
	live, err := r.EngineTokens(t.Context())
	must(t, err)
	for _, token := range live {
		must(t, r.Root().Auth().Token().RevokeAccessorWithContext(t.Context(), token.Accessor))
	}
	r.grant(t, time.Minute)
	live, err = r.EngineTokens(t.Context())
	must(t, err)
	if len(live) != 1 {
		t.Errorf("%d tokens of the engine live", len(live))
	}
}

func TestTheStatusTellsWhenTokenAndSecretIdExpire(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	status := r.Status(t.Context())
	if in := time.Until(status.TokenExpires); !status.LoggedIn || status.Problem != "" || in > time.Hour || in < 59*time.Minute || !status.SecretIDExpires.IsZero() {
		t.Errorf("the status is %+v", status)
	}
	_, err := r.Root().Logical().WriteWithContext(t.Context(), "auth/approle/role/"+r.AppRole, map[string]any{"secret_id_ttl": "2h"})
	must(t, err)
	limited := r.connection
	limited.SecretID, err = r.Issuer.NewSecretID(t.Context())
	must(t, err)
	if in := time.Until(newIssuer(t, limited).Status(t.Context()).SecretIDExpires); in > 2*time.Hour || in < 119*time.Minute {
		t.Errorf("the secret id expires in %s", in)
	}
	limited.SecretID = "hunter2"
	if status := newIssuer(t, limited).Status(t.Context()); status.LoggedIn || status.Problem == "" || strings.Contains(status.Problem, "hunter2") {
		t.Errorf("with a wrong secret id the status is %+v", status)
	}
}

func TestAConfiguredTokenIsUsedWithWhateverItMayLearnOfItself(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	for name, c := range map[string]struct {
		ask     map[string]any
		expires bool
	}{
		"that may look at itself":     {map[string]any{"policies": []string{r.EnginePolicy}, "ttl": "1h"}, true},
		"that may not":                {map[string]any{"policies": []string{r.EnginePolicy}, "ttl": "1h", "no_default_policy": true}, false},
		"that has no end and is root": {map[string]any{"policies": []string{"root"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := r.Root().Logical().WriteWithContext(t.Context(), "auth/token/create-orphan", c.ask)
			must(t, err)
			own := issuer.Connection{Address: r.Address(), Token: made.Auth.ClientToken, TokenRole: r.TokenRole}
			i := newIssuer(t, own)
			if status := i.Status(t.Context()); !status.LoggedIn || status.Problem != "" || status.TokenExpires.IsZero() == c.expires {
				t.Errorf("the status is %+v", status)
			}
			token, err := i.NewToken(t.Context(), r.order(time.Minute))
			must(t, err)
			must(t, i.RevokeToken(t.Context(), token.Accessor))
			_, err = i.NewSecretID(t.Context())
			wantError(t, err, "logs in with a token")

			must(t, r.Root().Auth().Token().RevokeAccessorWithContext(t.Context(), made.Auth.Accessor))
			wantError(t, newIssuer(t, own).Login(t.Context()), "configured token")
			wantError(t, i.RevokeToken(t.Context(), "x"), "403")
		})
	}
}

func TestMembersOfAGroupAreKnownOrSaidNotToBe(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	ctx := t.Context()
	bob, err := r.Cluster.Person(ctx, "bob")
	must(t, err)
	carol, err := r.Cluster.Person(ctx, "carol")
	must(t, err)
	inner, err := r.Group(ctx, "inner", carol)
	must(t, err)
	outer, err := r.Group(ctx, "outer", bob)
	must(t, err)
	must(t, outer.SetSubgroups(ctx, inner))
	if members, known := r.GroupMembers(ctx, outer.ID); known || len(members) != 0 {
		t.Errorf("without the permission to read groups it gives %v and %v", members, known)
	}
	must(t, r.Policy(ctx, r.EnginePolicy, vaulttest.EnginePolicy(r.TokenRole, r.AppRole)+`path "identity/group/id/`+outer.ID+`" { capabilities = ["read"] }`))
	if members, known := r.GroupMembers(ctx, outer.ID); known || !slices.Equal(members, []string{bob.EntityID}) {
		t.Errorf("with an inner group that it may not read it gives %v and %v", members, known)
	}
	must(t, r.Policy(ctx, r.EnginePolicy, vaulttest.EnginePolicy(r.TokenRole, r.AppRole)+`path "identity/group/id/*" { capabilities = ["read"] }`))
	members, known := r.GroupMembers(ctx, outer.ID)
	slices.Sort(members)
	want := []string{bob.EntityID, carol.EntityID}
	slices.Sort(want)
	if !known || !slices.Equal(members, want) {
		t.Errorf("it gives %v and %v", members, known)
	}
	must(t, outer.Delete(ctx))
	if members, known := r.GroupMembers(ctx, outer.ID); !known || len(members) != 0 {
		t.Errorf("of a group that is no more it gives %v and %v", members, known)
	}
	for _, id := range []string{"../../sys/health", "a b", "a?list=true", ""} {
		if members, known := r.GroupMembers(ctx, id); known || len(members) != 0 {
			t.Errorf("of the id %q it gives %v and %v", id, members, known)
		}
	}
}

func TestASecretIdIsReplacedAndTheOldOneUseless(t *testing.T) {
	r := newSetup(t, vaulttest.MountOptions{})
	fresh := r.connection
	var err error
	fresh.SecretID, err = r.Issuer.NewSecretID(t.Context())
	must(t, err)
	must(t, newIssuer(t, fresh).Login(t.Context()))
	must(t, r.DestroySecretID(t.Context(), r.connection.SecretID))
	wantError(t, newIssuer(t, r.connection).Login(t.Context()), "invalid")
	must(t, newIssuer(t, fresh).Login(t.Context()))
}
