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

func TestConfigIsPartlyWrittenAndNeverShowsASecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.set("config", map[string]any{"retention": "7d", "max_pending_per_requester": 5})
	w.set("config", map[string]any{"auditor_group_ids": w.dba.ID})
	config, err := w.mount.Read(t.Context(), "config")
	must(t, err)
	for field, want := range map[string]string{
		"address": w.Address(), "role_id": w.mount.RoleID, "token_role": w.mount.TokenRole, "auth_mount": "approle",
		"retention": "604800", "max_pending_per_requester": "5", "auditor_group_ids": "[" + w.dba.ID + "]",
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

// Whoever may write the configuration must not be able to have the engine's secret sent to a server of their own.
func TestStoredSecretIsNeverSentElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	var calls atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer elsewhere.Close()
	for _, change := range []map[string]any{
		{"address": elsewhere.URL}, {"namespace": "team"}, {"auth_mount": "other"}, {"tls_server_name": "x"}, {"role_id": "x"},
		{"address": elsewhere.URL, "secret_id": ""}, {"address": elsewhere.URL, "token": ""},
	} {
		before, err := w.mount.Storage(t.Context())
		must(t, err)
		w.refusesSet("config", change)
		after, err := w.mount.Storage(t.Context())
		must(t, err)
		if before["config"] != after["config"] {
			t.Errorf("%v was stored", change)
		}
	}
	if calls.Load() > 0 {
		t.Errorf("%d calls went elsewhere", calls.Load())
	}
}

func TestConfigThatCannotLogInIsNotStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{Unconfigured: true})
	good := map[string]any{"address": w.Address(), "role_id": w.mount.RoleID, "secret_id": w.mount.SecretID, "token_role": w.mount.TokenRole}
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
		w.refusesSet("config", bad, c.says)
	}
	w.refusesSet("config", map[string]any{"address": w.Address()}, "role_id")
	config, err := w.mount.Read(t.Context(), "config")
	must(t, err)
	if config != nil {
		t.Errorf("stored: %v", config.Data)
	}
	w.set("config", good)
}

func TestMissingCapabilitiesAreNamedWithTheLineThatGivesThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	answer := w.set("config", map[string]any{"retention": "1h"})
	warnings := strings.Join(answer.Warnings, "\n")
	if !strings.Contains(warnings, `path "identity/group/id/*" { capabilities = ["read"] }`) {
		t.Errorf("an optional capability is not offered: %s", warnings)
	}
	if strings.Contains(warnings, "may not") {
		t.Errorf("the documented policy is said to lack something: %s", warnings)
	}
	must(t, w.Policy(t.Context(), w.mount.EnginePolicy, strings.ReplaceAll(
		vaulttest.EnginePolicy(w.mount.TokenRole, w.mount.AppRole), `path "sys/leases/revoke"`, `path "sys/leases/none"`)))
	answer = w.set("config", map[string]any{"retention": "2h"})
	if warnings := strings.Join(answer.Warnings, "\n"); !strings.Contains(warnings, `may not update sys/leases/revoke; give it: path "sys/leases/revoke" { capabilities = ["create", "update"] }`) {
		t.Errorf("the missing capability is not named: %s", warnings)
	}
}

func TestRotatedSecretIsTheOnlyOneThatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	old := map[string]any{"role_id": w.mount.RoleID, "secret_id": w.mount.SecretID}
	must(t, login(w, old))
	w.set("config/rotate-root", nil)
	if login(w, old) == nil {
		t.Error("the replaced secret_id still works")
	}
	w.endEngineTokens() // so that it logs in with what is stored
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	w.claim(w.alice, id)
}

func TestStatusTellsThatTheEngineCannotLogIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	_, err := w.Root().Logical().WriteWithContext(t.Context(), "auth/approle/role/"+w.mount.AppRole+"/secret-id/destroy",
		map[string]any{"secret_id": w.mount.SecretID})
	must(t, err)
	w.endEngineTokens()
	w.refuses(w.alice, "claim", map[string]any{"id": id}, "logging in to Vault by AppRole")
	status, err := w.mount.Read(t.Context(), "status")
	must(t, err)
	problem := fmt.Sprint(status.Data["login_problem"])
	if status.Data["logged_in"] != false || status.Data["token_expires_at"] != "" || !strings.Contains(problem, "logging in to Vault by AppRole") {
		t.Errorf("the status is %v", status.Data)
	}
	secret, err := w.mount.NewSecretID(t.Context())
	must(t, err)
	w.set("config", map[string]any{"secret_id": secret})
	w.wantStatus("logged_in", "true")
	w.claim(w.alice, id)
}

func login(w *world, credentials map[string]any) error {
	_, err := w.Root().Logical().WriteWithContext(w.t.Context(), "auth/approle/login", credentials)
	return err
}

func TestConfigCannotBeDeletedWhileGrantsLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	w.claim(w.alice, id)
	wantRefusal(t, w.mount.Delete(t.Context(), "config"), id)
	w.does(w.alice, "revoke", map[string]any{"id": id})
	must(t, w.mount.Delete(t.Context(), "config"))
	id = w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	w.refuses(w.alice, "claim", map[string]any{"id": id}, "not configured")
}

func TestEngineIgnoresItsServersEnvironment(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Env: []string{
		"VAULT_ADDR=http://127.0.0.1:1", "VAULT_AGENT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=from-the-environment", "VAULT_NAMESPACE=elsewhere",
		"VAULT_SKIP_VERIFY=true", "VAULT_CACERT=/does/not/exist", "VAULT_WRAP_TTL=5m", "VAULT_MAX_RETRIES=9", "VAULT_RATE_LIMIT=nonsense",
		"VAULT_PROXY_ADDR=http://127.0.0.1:1", "VAULT_HTTP_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1",
		`VAULT_HEADERS={"X-Vault-Token":"x"}`,
	}})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	credential := w.claim(w.alice, id)
	if credential.Data["key"] == nil {
		t.Errorf("the claim answers %v", credential.Data)
	}
	w.does(w.alice, "revoke", map[string]any{"id": id})
	w.wantState(id, "ended")
}
