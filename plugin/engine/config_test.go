package engine_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestConfigKeepsFieldsThatAreNotWrittenAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.writeAsAdmin("config", map[string]any{"retention": "7d", "max_pending_per_requester": 5})
	f.writeAsAdmin("config", map[string]any{"auditor_group_ids": f.dba.ID})
	config, err := f.mount.Read(t.Context(), "config")
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
		f.wantAdminRefused("config", change)
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
	good := map[string]any{"address": f.Address(), "role_id": f.mount.RoleID, "secret_id": f.mount.SecretID, "token_role": f.mount.TokenRole}
	for field, c := range map[string]struct{ value, says string }{
		"secret_id":  {"wrong", "AppRole"},
		"address":    {"vault:8200", "address"},
		"token_role": {"../x", "token_role"},
		"ca_cert":    {"not PEM", "ca_cert"},
		"auth_mount": {"nowhere", "AppRole"},
		"client_key": {"key without certificate", "client_cert"},
	} {
		bad := map[string]any{}
		for name, value := range good {
			bad[name] = value
		}
		bad[field] = c.value
		f.wantAdminRefused("config", bad, c.says)
	}
	f.wantAdminRefused("config", map[string]any{"address": f.Address()}, "role_id")
	config, err := f.mount.Read(t.Context(), "config")
	must(t, err)
	if config != nil {
		t.Errorf("stored: %v", config.Data)
	}
	f.writeAsAdmin("config", good)
}

func TestConfigWarnsOfMissingCapabilitiesWithThePolicyLine(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	answer := f.writeAsAdmin("config", map[string]any{"retention": "1h"})
	warnings := strings.Join(answer.Warnings, "\n")
	if !strings.Contains(warnings, `path "identity/group/id/*" { capabilities = ["read"] }`) {
		t.Errorf("the warnings do not name the optional capability: %s", warnings)
	}
	if strings.Contains(warnings, "may not") {
		t.Errorf("the warnings say that the documented policy is not enough: %s", warnings)
	}
	must(t, f.Policy(t.Context(), f.mount.EnginePolicy, strings.ReplaceAll(
		vaulttest.EnginePolicy(f.mount.TokenRole, f.mount.AppRole), `path "sys/leases/revoke"`, `path "sys/leases/none"`)))
	answer = f.writeAsAdmin("config", map[string]any{"retention": "2h"})
	if warnings := strings.Join(answer.Warnings, "\n"); !strings.Contains(warnings, `may not update sys/leases/revoke; give it: path "sys/leases/revoke" { capabilities = ["create", "update"] }`) {
		t.Errorf("the warnings do not name the missing capability: %s", warnings)
	}
}

func TestRotationDestroysTheReplacedSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	old := map[string]any{"role_id": f.mount.RoleID, "secret_id": f.mount.SecretID}
	must(t, f.loginAppRole(old))
	f.writeAsAdmin("config/rotate-root", nil)
	if f.loginAppRole(old) == nil {
		t.Error("the replaced secret_id still works")
	}
	f.endEngineTokens() // so that it logs in with the stored secret
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	f.claim(f.alice, id)
}

func TestStatusShowsThatTheEngineCannotLogIn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	_, err := f.Root().Logical().WriteWithContext(t.Context(), "auth/approle/role/"+f.mount.AppRole+"/secret-id/destroy",
		map[string]any{"secret_id": f.mount.SecretID})
	must(t, err)
	f.endEngineTokens()
	f.wantRefused(f.alice, "claim/"+id, nil, "logging in to Vault by AppRole")
	status, err := f.mount.Read(t.Context(), "status")
	must(t, err)
	problem := fmt.Sprint(status.Data["login_problem"])
	if status.Data["logged_in"] != false || status.Data["token_expires_at"] != "" || !strings.Contains(problem, "logging in to Vault by AppRole") {
		t.Errorf("the status is %v", status.Data)
	}
	secret, err := f.mount.NewSecretID(t.Context())
	must(t, err)
	f.writeAsAdmin("config", map[string]any{"secret_id": secret})
	f.wantStatus("logged_in", "true")
	f.claim(f.alice, id)
}

func (f *fixture) loginAppRole(credentials map[string]any) error {
	_, err := f.Root().Logical().WriteWithContext(f.t.Context(), "auth/approle/login", credentials)
	return err
}

func TestConfigCannotBeDeletedWhileGrantsLive(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	f.claim(f.alice, id)
	wantRefusal(t, f.mount.Delete(t.Context(), "config"), id)
	f.mustWriteAs(f.alice, "revoke", map[string]any{"id": id})
	must(t, f.mount.Delete(t.Context(), "config"))
	id = f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	f.wantRefused(f.alice, "claim/"+id, nil, "not configured")
}

func TestEngineIgnoresItsServersEnvironment(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Env: []string{
		"VAULT_ADDR=http://127.0.0.1:1", "VAULT_AGENT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=from-the-environment", "VAULT_NAMESPACE=elsewhere",
		"VAULT_SKIP_VERIFY=true", "VAULT_CACERT=/does/not/exist", "VAULT_WRAP_TTL=5m", "VAULT_MAX_RETRIES=9", "VAULT_RATE_LIMIT=nonsense",
		"VAULT_PROXY_ADDR=http://127.0.0.1:1", "VAULT_HTTP_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1",
		`VAULT_HEADERS={"X-Vault-Token":"x"}`,
	}})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
	credential := f.claim(f.alice, id)
	if credential.Data["key"] == nil {
		t.Errorf("the claim answers %v", credential.Data)
	}
	f.mustWriteAs(f.alice, "revoke", map[string]any{"id": id})
	f.wantState(id, "ended")
}
