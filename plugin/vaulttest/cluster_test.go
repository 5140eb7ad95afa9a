package vaulttest_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		leaveBehind()
	}
	vaulttest.Main(m, vaulttest.Options{})
}

// newMount makes a mount without config.
func newMount(t *testing.T, c *vaulttest.Cluster, o vaulttest.MountOptions) *vaulttest.Mount {
	t.Helper()
	o.Unconfigured = true
	m, err := c.Mount(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// askEngine fails unless the engine answers.
func askEngine(ctx context.Context, m *vaulttest.Mount) error {
	jit, err := m.Operated()
	if err == nil {
		_, err = jit.Status(ctx)
	}
	return err
}

func TestPluginServesTheMount(t *testing.T) {
	c := vaulttest.Shared(t)
	m := newMount(t, c, vaulttest.MountOptions{})

	pids, err := c.Nodes[0].PluginPIDs()
	if err != nil || len(pids) == 0 {
		t.Fatalf("plugin processes are %v (%v)", pids, err)
	}
	if err := askEngine(t.Context(), m); err != nil {
		t.Errorf("the engine does not answer: %v", err)
	}
	log, err := c.Log()
	if err != nil || !strings.Contains(log, "[TRACE]") {
		t.Errorf("the log has no trace of anything (%v)", err)
	}
	audit, err := c.AuditLog()
	if err != nil || !strings.Contains(audit, m.Path+"/status") {
		t.Errorf("the audit log lacks the request (%v)", err)
	}
}

func TestKilledPluginIsStartedAgain(t *testing.T) {
	c := vaulttest.New(t, vaulttest.Options{})
	m := newMount(t, c, vaulttest.MountOptions{})
	before, err := c.Nodes[0].PluginPIDs()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[0].KillPlugin(); err != nil {
		t.Fatal(err)
	}
	vaulttest.Eventually(t, "the plugin", func(ctx context.Context) error {
		return askEngine(ctx, m)
	})
	after, err := c.Nodes[0].PluginPIDs()
	if err != nil || len(after) == 0 || slices.ContainsFunc(after, func(pid int) bool { return slices.Contains(before, pid) }) {
		t.Errorf("plugin processes were %v and are %v (%v)", before, after, err)
	}
}

func TestEngineTokenMayDoWhatIsDocumentedAndNoMore(t *testing.T) {
	c := vaulttest.Shared(t)
	m := newMount(t, c, vaulttest.MountOptions{})
	client, err := c.Client("")
	if err != nil {
		t.Fatal(err)
	}
	login, err := client.Logical().WriteWithContext(t.Context(), "auth/approle/login", map[string]any{
		"role_id": m.RoleID, "secret_id": m.SecretID,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := login.Auth.Policies; !slices.Equal(got, []string{m.EnginePolicy}) {
		t.Errorf("the engine's policies are %q", got)
	}
	client.SetToken(login.Auth.ClientToken)
	may := map[string]bool{
		"auth/token/create/" + m.TokenRole:                   true,
		"auth/token/revoke-accessor":                         true,
		"auth/token/renew-accessor":                          true,
		"auth/token/lookup-accessor":                         true,
		"sys/leases/revoke":                                  true,
		"sys/leases/renew":                                   true,
		"auth/approle/role/" + m.AppRole + "/secret-id":      true,
		"auth/approle/role/" + m.AppRole + "/secret-id/list": false,
		"auth/token/create":                                  false,
		"auth/token/create-orphan":                           false,
		"auth/token/renew-self":                              false,
		"identity/entity":                                    false,
		"sys/policies/acl/" + m.EnginePolicy:                 false,
		m.Path + "/config":                                   false,
	}
	paths := slices.Collect(maps.Keys(may))
	answer, err := client.Logical().WriteWithContext(t.Context(), "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range may {
		got := fmt.Sprint(answer.Data[path])
		if (got != "[deny]") != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	// Renewal needs only an accessor, so the engine can keep its own login without renew-self.
	_, err = client.Logical().WriteWithContext(t.Context(), "auth/token/renew-accessor", map[string]any{"accessor": login.Auth.Accessor})
	if err != nil {
		t.Errorf("renewing its own login by accessor: %v", err)
	}
}

func TestMountedEngineIsLoggedInWithItsAppRole(t *testing.T) {
	c := vaulttest.Shared(t)
	m, err := c.Mount(t.Context(), vaulttest.MountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := m.EngineTokens(t.Context())
	if err != nil || len(tokens) == 0 {
		t.Fatalf("the engine's tokens are %v (%v)", tokens, err)
	}
	if got := tokens[0].Policies; !slices.Equal(got, []string{m.EnginePolicy}) {
		t.Errorf("the engine's policies are %q", got)
	}
}

func TestGrantTokensComeFromTheMountsTokenRole(t *testing.T) {
	c := vaulttest.Shared(t)
	otp, err := c.EnableSSHOTP(t.Context(), "ssh", "grants")
	if err != nil {
		t.Fatal(err)
	}
	m := newMount(t, c, vaulttest.MountOptions{AllowedPolicies: []string{otp.Policy}})
	made, err := c.Root().Logical().WriteWithContext(t.Context(), "auth/token/create/"+m.TokenRole, map[string]any{
		"policies": []string{otp.Policy}, "ttl": "5m", "meta": map[string]string{"request": "r1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := m.GrantTokens(t.Context())
	if err != nil || len(tokens) != 1 {
		t.Fatalf("grant tokens are %v (%v)", tokens, err)
	}
	if got := tokens[0]; !got.Orphan || got.Renewable || got.Type != "service" || !slices.Equal(got.Policies, []string{otp.Policy}) || got.TTL > 300 {
		t.Errorf("the grant token is %+v", got)
	}
	if with, err := c.Tokens(t.Context(), func(one *vaulttest.Token) bool { return one.Meta["request"] == "r1" }); err != nil || len(with) != 1 {
		t.Errorf("tokens with that metadata are %v (%v)", with, err)
	}

	client, err := c.Client(made.Auth.ClientToken)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.Logical().WriteWithContext(t.Context(), otp.Path, map[string]any{"ip": "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if leases, err := otp.Leases(t.Context()); err != nil || !slices.Equal(leases, []string{secret.LeaseID}) {
		t.Errorf("leases are %q (%v)", leases, err)
	}
	if err := c.Root().Auth().Token().RevokeAccessorWithContext(t.Context(), made.Auth.Accessor); err != nil {
		t.Fatal(err)
	}
	if gone, err := c.Token(t.Context(), made.Auth.Accessor); err != nil || gone != nil {
		t.Errorf("the token is still %v (%v)", gone, err)
	}
	vaulttest.Eventually(t, "the lease to be gone", func(ctx context.Context) error {
		leases, err := otp.Leases(ctx)
		if len(leases) > 0 {
			return fmt.Errorf("leases are %q", leases)
		}
		return err
	})
	if works, err := otp.VerifySSHOTP(t.Context(), secret.Data["key"].(string)); err != nil || works {
		t.Errorf("the password works: %v (%v)", works, err)
	}
}

func TestServerHasTheGivenEnvironmentAndNotTheDevelopers(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "the developer's own")
	t.Setenv("VAULT_NAMESPACE", "somewhere")
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_WRAP_TTL", "60s")
	c := vaulttest.New(t, vaulttest.Options{Env: []string{"VAULT_SKIP_VERIFY=true"}})
	environ, err := c.Nodes[0].Environ()
	if err != nil {
		t.Fatal(err)
	}
	var vaults []string
	for _, v := range environ {
		if strings.HasPrefix(v, "VAULT_") {
			vaults = append(vaults, v)
		}
	}
	if !slices.Equal(vaults, []string{"VAULT_SKIP_VERIFY=true"}) {
		t.Errorf("the server's environment has %q", vaults)
	}
}

func TestRaftNodeKeepsItsDataThroughStopAndKill(t *testing.T) {
	c := vaulttest.New(t, vaulttest.Options{Nodes: 1})
	m := newMount(t, c, vaulttest.MountOptions{})
	alice, err := m.Person(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	n := c.Nodes[0]
	for name, end := range map[string]func(){"stopped": n.Stop, "killed": n.Kill} {
		end()
		if n.Running() {
			t.Fatalf("%s: it runs", name)
		}
		if err := n.Start(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := alice.Read(t.Context(), "auth/token/lookup-self"); err != nil {
			t.Errorf("%s: alice's token is gone: %v", name, err)
		}
		if err := askEngine(t.Context(), m); err != nil {
			t.Errorf("%s: the engine does not answer: %v", name, err)
		}
	}
}

func TestClusterOutlivesItsActiveNode(t *testing.T) {
	c := vaulttest.New(t, vaulttest.Options{Nodes: 3})
	m := newMount(t, c, vaulttest.MountOptions{})
	alice, err := m.Person(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Active(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	standbys, err := c.Standbys(t.Context())
	if err != nil || len(standbys) != 2 {
		t.Fatalf("standbys are %v (%v)", standbys, err)
	}
	there, err := alice.At(standbys[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Logical().ReadWithContext(t.Context(), "auth/token/lookup-self"); err != nil {
		t.Errorf("through a standby: %v", err)
	}
	second, err := c.StepDown(t.Context())
	if err != nil || second == first {
		t.Fatalf("after stepping down %v is active (%v)", second, err)
	}
	second.Kill()
	third, err := c.Active(t.Context())
	if err != nil || third == second {
		t.Fatalf("after killing it %v is active (%v)", third, err)
	}
	if _, err := alice.Read(t.Context(), "auth/token/lookup-self"); err != nil {
		t.Errorf("through the cluster's address: %v", err)
	}
	if err := second.Start(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloseFailsAfterADataRace(t *testing.T) {
	c, err := vaulttest.Start(t.Context(), vaulttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[0].AppendToLog("WARNING: DATA RACE\nhere"); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "DATA RACE:\nhere") {
		t.Errorf("it said %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing it again: %v", err)
	}
}

func TestStorageShowsWritesAndChangesNothing(t *testing.T) {
	c := vaulttest.Shared(t)
	m := newMount(t, c, vaulttest.MountOptions{})
	before, err := m.Storage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	jit, err := m.Operated()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jit.ApproverGroups().Write(t.Context(), "dba", wire.ApproverGroup{EntityIDs: []string{"a1b2"}}); err != nil {
		t.Fatal(err)
	}
	after, err := m.Storage(t.Context())
	if err != nil || maps.Equal(before, after) {
		t.Errorf("a write is not seen in %v (%v)", after, err)
	}
	if again, err := m.Storage(t.Context()); err != nil || !maps.Equal(after, again) {
		t.Errorf("looking changed what is there (%v)", err)
	}
}
