package issuer_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestMain(m *testing.M) { vaulttest.Main(m, vaulttest.Options{}) }

// vaultFixture is an issuer at a real Vault, with what belongs to it.
type vaultFixture struct {
	*vaulttest.Cluster
	*vaulttest.Mount
	*issuer.Issuer
	connection session.Connection
	ssh        *vaulttest.Upstream
}

func newVaultFixture(t *testing.T) *vaultFixture {
	t.Helper()
	cluster := vaulttest.Shared(t)
	ssh, err := cluster.EnableSSHOTP(t.Context(), "ssh", "otp")
	sessiontest.Must(t, err)
	mount, err := cluster.Mount(t.Context(), vaulttest.MountOptions{AllowedPolicies: []string{ssh.Policy}, Unconfigured: true})
	sessiontest.Must(t, err)
	c := session.Connection{
		Address: cluster.Address(), AuthMount: "approle", RoleID: mount.RoleID, SecretID: mount.SecretID, TokenRole: mount.TokenRole,
	}
	return &vaultFixture{Cluster: cluster, Mount: mount, Issuer: startIssuer(t, c), connection: c, ssh: ssh}
}

func startIssuer(t *testing.T, c session.Connection) *issuer.Issuer {
	t.Helper()
	return issuer.New(sessiontest.Start(t, c), time.Now)
}

func (f *vaultFixture) make(t *testing.T, window time.Duration) issuer.Made {
	t.Helper()
	made, err := f.Make(t.Context(), issuer.Order{
		RequestID: "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20", Role: "host", RequesterName: "alice", RequesterEntityID: "entity-alice",
		Grant: grant.Rendered{
			Kind: grant.KindSecret, Path: f.ssh.Path, Operation: grant.Write, Data: map[string]any{"ip": "127.0.0.1"},
			GrantPolicies: []string{f.ssh.Policy},
		},
		Window: window,
	}, func(grant.Token, time.Time) error { return nil })
	sessiontest.Must(t, err)
	return made
}

func (f *vaultFixture) listTokens(t *testing.T) []*vaulttest.Token {
	t.Helper()
	tokens, err := f.GrantTokens(t.Context())
	sessiontest.Must(t, err)
	return tokens
}

// Whoever reads an upstream's audit log must find the person, not the engine.
func TestGrantTokenSaysForWhomAndWhyItIs(t *testing.T) {
	f := newVaultFixture(t)
	made := f.make(t, 10*time.Minute)
	live := f.listTokens(t)
	if len(live) != 1 || made.Handles.Find("token") != (grant.Token{Accessor: live[0].Accessor}) {
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
		!slices.Equal(got.Policies, []string{f.ssh.Policy}) {
		t.Errorf("it is %+v", got)
	}
	// With Vault's own clock in whole seconds, its end is where the grant's is.
	if early := time.Until(made.Until) - time.Duration(got.TTL)*time.Second; early > time.Second || early < -time.Second {
		t.Errorf("the token has %ds left, the grant %s", got.TTL, time.Until(made.Until))
	}
}

func TestEndLeavesNothingAndCanBeRepeated(t *testing.T) {
	f := newVaultFixture(t)
	made := f.make(t, 10*time.Minute)
	if len(made.Handles) != 2 {
		t.Fatalf("the handles are %v", made.Handles)
	}
	for range 2 {
		for _, h := range made.Handles {
			sessiontest.Must(t, f.End(t.Context(), h))
		}
		if live := f.listTokens(t); len(live) != 0 {
			t.Errorf("tokens live: %v", live)
		}
		works, err := f.ssh.VerifySSHOTP(t.Context(), made.Data["key"].(string))
		sessiontest.Must(t, err)
		if works {
			t.Error("the password works")
		}
	}
	sessiontest.Must(t, f.End(t.Context(), grant.Token{Accessor: "no-such-accessor"}))
	sessiontest.Must(t, f.End(t.Context(), grant.Lease{ID: "ssh/creds/otp/no-such-lease"}))
}

func TestEachHandleEndsByItself(t *testing.T) {
	f := newVaultFixture(t)
	for _, key := range []string{"token", "lease"} {
		t.Run(key, func(t *testing.T) {
			made := f.make(t, 10*time.Minute)
			h := made.Handles.Find(key)
			sessiontest.Must(t, f.End(t.Context(), h))
			if held, isToken := h.(grant.Token); isToken {
				if known, err := f.Knows(t.Context(), held); known || err != nil {
					t.Errorf("it is known: %v, %v", known, err)
				}
				return // Vault takes back what hangs on a token in the background
			}
			works, err := f.ssh.VerifySSHOTP(t.Context(), made.Data["key"].(string))
			sessiontest.Must(t, err)
			if works {
				t.Error("the password works")
			}
			if known, err := f.Knows(t.Context(), made.Handles.Find("token").(grant.Token)); !known || err != nil {
				t.Errorf("the other one is known: %v, %v", known, err)
			}
		})
	}
}

func TestEachMissingCapabilityIsNamedWithTheLineThatGivesIt(t *testing.T) {
	f := newVaultFixture(t)
	whole := vaulttest.EnginePolicy(f.TokenRole, f.AppRole)
	optional := "path \"identity/group/id/*\" { capabilities = [\"read\"] }\npath \"auth/token/roles/" + f.TokenRole + "\" { capabilities = [\"read\"] }\n"
	warnings := func(rules string) []string {
		t.Helper()
		sessiontest.Must(t, f.Policy(t.Context(), f.EnginePolicy, rules))
		found, err := startIssuer(t, f.connection).Warnings(t.Context())
		sessiontest.Must(t, err)
		return found
	}
	if found := warnings(whole + optional); len(found) != 0 {
		t.Errorf("with everything it warns: %v", found)
	}
	rules := regexp.MustCompile(`path "[^}]*}`).FindAllString(whole+optional, -1)
	for _, missing := range rules {
		path := strings.Split(missing, `"`)[1]
		rest := slices.DeleteFunc(slices.Clone(rules), func(rule string) bool { return rule == missing })
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

func TestTokenRoleThatWouldFailEveryClaimIsWarnedOf(t *testing.T) {
	f := newVaultFixture(t)
	sessiontest.Must(t, f.Policy(t.Context(), f.EnginePolicy, vaulttest.EnginePolicy(f.TokenRole, f.AppRole)+
		"path \"identity/group/id/*\" { capabilities = [\"read\"] }\npath \"auth/token/roles/*\" { capabilities = [\"read\"] }\n"))
	type role = map[string]any
	for _, c := range []struct {
		says   string
		fields role
	}{
		{"", role{"allowed_policies": []string{f.ssh.Policy}}},
		{"", role{"allowed_policies": []string{}, "allowed_policies_glob": []string{"app-*"}}},
		{"orphan must be", role{"allowed_policies": []string{f.ssh.Policy}, "orphan": false}},
		{"token_type is", role{"allowed_policies": []string{f.ssh.Policy}, "token_type": "batch", "orphan": true}},
		{"allowed_policies", role{"allowed_policies": []string{}, "allowed_policies_glob": []string{}}},
	} {
		sessiontest.Must(t, f.WriteTokenRole(t.Context(), c.fields))
		found, err := startIssuer(t, f.connection).Warnings(t.Context())
		sessiontest.Must(t, err)
		if (c.says == "") != (len(found) == 0) || !strings.Contains(strings.Join(found, "\n"), c.says) {
			t.Errorf("with %v it warns %q; it should say %q", c.fields, found, c.says)
		}
	}
	absent := f.connection
	absent.TokenRole = "no-such-role"
	found, err := startIssuer(t, absent).Warnings(t.Context())
	sessiontest.Must(t, err)
	if !strings.Contains(strings.Join(found, "\n"), `token role "no-such-role" does not exist`) {
		t.Errorf("without a token role it warns %q", found)
	}
}

func TestPolicyThatTheTokenRoleDoesNotAllowIsWarnedOf(t *testing.T) {
	f := newVaultFixture(t)
	if found := f.PolicyWarnings(t.Context(), []string{"another"}); len(found) != 0 {
		t.Errorf("without the permission to look it warns %q", found)
	}
	sessiontest.Must(t, f.Policy(t.Context(), f.EnginePolicy, vaulttest.EnginePolicy(f.TokenRole, f.AppRole)+
		"path \"auth/token/roles/*\" { capabilities = [\"read\"] }\n"))
	sessiontest.Must(t, f.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": []string{f.ssh.Policy}, "allowed_policies_glob": []string{"app-*"}}))
	found := f.PolicyWarnings(t.Context(), []string{f.ssh.Policy, "app-db", "another"})
	if len(found) != 1 || !strings.Contains(found[0], `does not allow "another"`) {
		t.Errorf("it warns %q", found)
	}
}
