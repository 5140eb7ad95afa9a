package engine_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestConfigKeepsFieldsThatAreNotWrittenAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.must(f.operated().ChangeConfig(t.Context(), map[string]any{"retention": "7d", "max_pending_per_requester": 5}))
	f.must(f.operated().ChangeConfig(t.Context(), map[string]any{"auditor_group_ids": f.dba.ID}))
	config, err := f.readRaw(f.Root(), "config", nil) // a secret would not be in the client's answer
	must(t, err)
	for field, want := range map[string]string{
		"address": f.Address(), "role_id": f.mount.RoleID, "token_role": f.mount.TokenRole, "auth_mount": "approle",
		"retention": "604800", "max_pending_per_requester": "5", "auditor_group_ids": "[" + f.dba.ID + "]",
	} {
		if got := fmt.Sprint(config.Data[field]); got != want {
			t.Errorf("%s reads %s, want %s", field, got, want)
		}
	}
	for _, field := range []string{"secret_id", "token", "client_key"} {
		if value, there := config.Data[field]; there {
			t.Errorf("%s reads %v", field, value)
		}
	}
}

// Somebody who may write the configuration must not be able to send the engine's secret to their own server.
func TestStoredSecretIsNeverSentToAnotherServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	var calls atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer elsewhere.Close()
	for _, change := range []map[string]any{
		{"address": elsewhere.URL}, {"namespace": "team"}, {"auth_mount": "other"}, {"tls_server_name": "x"}, {"role_id": "x"},
		{"address": elsewhere.URL, "secret_id": ""}, {"address": elsewhere.URL, "token": ""},
	} {
		before, err := f.mount.Storage(t.Context())
		must(t, err)
		wantRefusal(t, errorOf(f.operated().ChangeConfig(t.Context(), change)))
		after, err := f.mount.Storage(t.Context())
		must(t, err)
		if before["config"] != after["config"] {
			t.Errorf("%v was stored", change)
		}
	}
	if calls.Load() > 0 {
		t.Errorf("%d calls reached the other server", calls.Load())
	}
}

func TestConfigThatCannotLogInIsNotStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	good := connectTo(f.Address(), f.mount)
	for field, c := range map[string]struct{ value, says string }{
		"secret_id":  {"wrong", "AppRole"},
		"address":    {"vault:8200", "address"},
		"token_role": {"../x", "token_role"},
		"ca_cert":    {"not PEM", "ca_cert"},
		"auth_mount": {"nowhere", "AppRole"},
		"client_key": {"key without certificate", "client_cert"},
	} {
		bad := maps.Clone(good)
		bad[field] = c.value
		wantRefusal(t, errorOf(f.operated().ChangeConfig(t.Context(), bad)), c.says)
	}
	wantRefusal(t, errorOf(f.operated().ChangeConfig(t.Context(), map[string]any{"address": f.Address()})), "role_id")
	if config, err := f.operated().Config(t.Context()); !errors.Is(err, client.ErrAbsent) {
		t.Errorf("stored: %+v (%v)", config, err)
	}
	f.must(f.operated().ChangeConfig(t.Context(), good))
}

func TestConfigWarnsOfMissingCapabilitiesWithThePolicyLine(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	warnings, err := f.operated().ChangeConfig(t.Context(), map[string]any{"retention": "1h"})
	must(t, err)
	wantWarning(t, warnings, `path "identity/group/id/*" { capabilities = ["read"] }`)
	if strings.Contains(fmt.Sprint(warnings), "may not") {
		t.Errorf("the warnings say that the documented policy is not enough: %q", warnings)
	}
	must(t, f.Policy(t.Context(), f.mount.EnginePolicy, strings.ReplaceAll(
		vaulttest.EnginePolicy(f.mount.TokenRole, f.mount.AppRole), `path "sys/leases/revoke"`, `path "sys/leases/none"`)))
	warnings, err = f.operated().ChangeConfig(t.Context(), map[string]any{"retention": "2h"})
	must(t, err)
	wantWarning(t, warnings, `may not update sys/leases/revoke; give it: path "sys/leases/revoke" { capabilities = ["create", "update"] }`)
}

func TestRotationDestroysTheReplacedSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	old := map[string]any{"role_id": f.mount.RoleID, "secret_id": f.mount.SecretID}
	must(t, f.loginAppRole(old))
	f.must(f.operated().RotateRoot(t.Context()))
	if f.loginAppRole(old) == nil {
		t.Error("the replaced secret_id still works")
	}
	f.endEngineTokens() // so that it logs in with the stored secret
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	f.claim(f.alice, id)
}

func TestStatusShowsThatTheEngineCannotLogIn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	_, err := f.Root().Logical().WriteWithContext(t.Context(), "auth/approle/role/"+f.mount.AppRole+"/secret-id/destroy",
		map[string]any{"secret_id": f.mount.SecretID})
	must(t, err)
	f.endEngineTokens()
	f.wantClaimRefused(id, "logging in to Vault by AppRole")
	status := f.readStatus()
	if status.LoggedIn || !status.TokenExpiresAt.IsZero() || !strings.Contains(status.LoginProblem, "logging in to Vault by AppRole") {
		t.Errorf("the status is %+v", status)
	}
	secret, err := f.mount.NewSecretID(t.Context())
	must(t, err)
	f.must(f.operated().ChangeConfig(t.Context(), map[string]any{"secret_id": secret}))
	if status := f.readStatus(); !status.LoggedIn {
		t.Errorf("with another secret the status is %+v", status)
	}
	f.claim(f.alice, id)
}

func (f *fixture) loginAppRole(credentials map[string]any) error {
	_, err := f.Root().Logical().WriteWithContext(f.t.Context(), "auth/approle/login", credentials)
	return err
}

func TestConfigCannotBeDeletedWhileGrantsLive(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	f.claim(f.alice, id)
	wantRefusal(t, f.operated().DeleteConfig(t.Context()), id)
	f.revoke(f.alice, id)
	must(t, f.operated().DeleteConfig(t.Context()))
	id = f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	f.wantClaimRefused(id, "not configured")
}

func TestEngineIgnoresItsServersEnvironment(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Env: []string{
		"VAULT_ADDR=http://127.0.0.1:1", "VAULT_AGENT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=from-the-environment", "VAULT_NAMESPACE=elsewhere",
		"VAULT_SKIP_VERIFY=true", "VAULT_CACERT=/does/not/exist", "VAULT_WRAP_TTL=5m", "VAULT_MAX_RETRIES=9", "VAULT_RATE_LIMIT=nonsense",
		"VAULT_PROXY_ADDR=http://127.0.0.1:1", "VAULT_HTTP_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1",
		`VAULT_HEADERS={"X-Vault-Token":"x"}`,
	}})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	credential := f.claim(f.alice, id)
	if credential.Data["key"] == nil {
		t.Errorf("the claim answers %v", credential.Data)
	}
	f.revoke(f.alice, id)
	f.wantState(id, "ended")
}
