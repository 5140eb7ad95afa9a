package engine_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// auditEntry is a line of Vault's audit log, as far as the tests need it.
type auditEntry struct {
	Type    string `json:"type"`
	Request struct {
		Path string `json:"path"`
	} `json:"request"`
	Response struct {
		Auth struct {
			ClientToken string `json:"client_token"`
			Accessor    string `json:"accessor"`
		} `json:"auth"`
		Data   map[string]any `json:"data"`
		Secret struct {
			LeaseID string `json:"lease_id"`
		} `json:"secret"`
	} `json:"response"`
}

// The engine shows its tokens to nobody. The test learns them from a raw audit log, and then looks for them in all
// answers and in the server's log.
func TestTokensOfTheEngineAreInNoAnswerAndNoLog(t *testing.T) {
	t.Parallel()
	cluster := vaulttest.New(t, vaulttest.Options{RawAudit: true, LogLevel: "trace"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{ExtraPolicy: `path "identity/group/id/*" { capabilities = ["read"] }`})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	role, err := f.operated().Roles().Read(t.Context(), "db")
	must(t, err)
	policy := role.GrantPolicies[0]
	var shown []string
	keep := func(secret *api.Secret, err error) {
		if err != nil {
			shown = append(shown, err.Error())
		}
		if secret != nil {
			shown = append(shown, fmt.Sprint(secret.Warnings), asText(t, secret.Data))
		}
	}
	readEverything := func(id string) {
		for _, person := range []*vaulttest.Person{f.alice, f.bob, f.carol} {
			keep(f.readRaw(person.Client, "requests/"+id, nil))
			keep(f.readRaw(person.Client, "requests", map[string][]string{"list": {"true"}, "state": {"all"}}))
			keep(f.readRaw(person.Client, "inbox", map[string][]string{"list": {"true"}}))
		}
		for _, path := range []string{"config", "status", "roles/db", "policies/two", "policies/two/check", "approver-groups/dba"} {
			keep(f.readRaw(f.Root(), path, nil))
		}
	}
	passwords := map[string]bool{}
	runOnce := func(end func(id string, credential client.Credential)) {
		id := f.ask(f.alice, wire.Ask{Role: "db", TTL: 10 * minute})
		keep(f.writeRaw(f.alice.Client, "claim/"+id, nil))
		f.approve(id, f.bob, f.carol)
		// First the token role gives too short a token, then none.
		must(t, f.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": policy, "token_explicit_max_ttl": "60s"}))
		keep(f.writeRaw(f.alice.Client, "claim/"+id, nil))
		must(t, f.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": "other", "token_explicit_max_ttl": "0"}))
		keep(f.writeRaw(f.alice.Client, "claim/"+id, nil))
		must(t, f.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": policy}))
		pg.Stop()
		keep(f.writeRaw(f.alice.Client, "claim/"+id, nil))
		must(t, pg.Start(t.Context()))
		credential := f.claim(f.alice, id)
		passwords[credential.Data["password"].(string)] = true
		readEverything(id)
		end(id, credential)
		readEverything(id)
	}
	runOnce(func(id string, _ client.Credential) {
		keep(f.writeRaw(f.bob.Client, "revoke", map[string]any{"id": id}))
	})
	keep(f.writeRaw(f.Root(), "config/rotate-root", nil))
	runOnce(func(id string, credential client.Credential) {
		pg.Stop()
		must(t, cluster.Nodes[0].KillPlugin())
		keep(f.writeRaw(f.bob.Client, "revoke", map[string]any{"id": id}))
		keep(nil, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
		readEverything(id)
		must(t, pg.Start(t.Context()))
	})
	keep(f.writeRaw(f.Root(), "config", map[string]any{"secret_id": "wrong-" + f.mount.SecretID}))

	// These are the secrets that Vault gave the engine.
	secrets := map[string]string{"the first secret_id": f.mount.SecretID}
	for password := range passwords {
		secrets["a password"] = password
	}
	audit, err := cluster.AuditLog()
	must(t, err)
	for line := range strings.Lines(audit) {
		var entry auditEntry
		must(t, json.Unmarshal([]byte(line), &entry))
		path := entry.Request.Path
		if entry.Type != "response" {
			continue
		}
		if path == "auth/approle/login" || path == "auth/token/create/"+f.mount.TokenRole {
			if token := entry.Response.Auth.ClientToken; token != "" {
				secrets["a token from "+path+" "+token[:12]] = token
				secrets["an accessor from "+path+" "+token[:12]] = entry.Response.Auth.Accessor
			}
		}
		if secretID, _ := entry.Response.Data["secret_id"].(string); path == "auth/approle/role/"+f.mount.AppRole+"/secret-id" && secretID != "" {
			secrets["a secret_id "+secretID[:6]] = secretID
		}
	}
	if len(secrets) < 15 {
		t.Fatalf("the audit log shows only %v", slices.Collect(maps.Keys(secrets)))
	}
	log, err := cluster.Log()
	must(t, err)
	for what, secret := range secrets {
		if secret == "" {
			t.Fatalf("%s is empty", what)
		}
		if strings.Contains(log, secret) {
			t.Errorf("%s is in the log", what)
		}
		for _, text := range shown {
			if strings.Contains(text, secret) {
				t.Errorf("%s is shown: %.500s", what, text)
			}
		}
	}
}
