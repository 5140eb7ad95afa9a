package engine_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// audited is what matters here of a line of Vault's audit log.
type audited struct {
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

// The tokens that the engine works with are shown to nobody, so a test can learn them only where Vault writes down
// everything that passes through it. Then they must not be found anywhere else.
func TestTokensOfTheEngineAreFoundNowhere(t *testing.T) {
	t.Parallel()
	cluster := vaulttest.New(t, vaulttest.Options{RawAudit: true, LogLevel: "trace"})
	w := worldOn(t, cluster, vaulttest.MountOptions{ExtraPolicy: `path "identity/group/id/*" { capabilities = ["read"] }`})
	pg := vaulttest.NewPostgres(t)
	w.databaseOn(pg)
	role, err := w.mount.Read(t.Context(), "roles/db")
	must(t, err)
	policy := fmt.Sprint(role.Data["grant_policies"].([]any)[0])
	var shown []string
	show := func(secret *api.Secret, err error) {
		if err != nil {
			shown = append(shown, err.Error())
		}
		if secret != nil {
			shown = append(shown, fmt.Sprint(secret.Warnings), asText(t, secret.Data))
		}
	}
	everything := func(id string) {
		for _, person := range []*vaulttest.Person{w.alice, w.bob, w.carol} {
			show(person.Read(t.Context(), w.mount.Path+"/requests/"+id))
			show(person.Client.Logical().ReadWithDataWithContext(t.Context(), w.mount.Path+"/requests", map[string][]string{"list": {"true"}, "state": {"all"}}))
			show(person.List(t.Context(), w.mount.Path+"/inbox"))
		}
		for _, path := range []string{"config", "status", "roles/db", "policies/two", "policies/two/check", "approver-groups/dba"} {
			show(w.mount.Read(t.Context(), path))
		}
	}
	passwords := map[string]bool{}
	life := func(end func(id string, credential *api.Secret)) {
		id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
		show(w.as(w.alice, "claim", map[string]any{"id": id}))
		w.approve(id, w.bob, w.carol)
		// A token role that gives too little, and one that does not give at all.
		must(t, w.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": policy, "token_explicit_max_ttl": "60s"}))
		show(w.as(w.alice, "claim", map[string]any{"id": id}))
		must(t, w.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": "other", "token_explicit_max_ttl": "0"}))
		show(w.as(w.alice, "claim", map[string]any{"id": id}))
		must(t, w.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": policy}))
		pg.Stop()
		show(w.as(w.alice, "claim", map[string]any{"id": id}))
		must(t, pg.Start(t.Context()))
		credential := w.claim(w.alice, id)
		passwords[credential.Data["password"].(string)] = true
		everything(id)
		end(id, credential)
		everything(id)
	}
	life(func(id string, _ *api.Secret) { show(w.as(w.bob, "revoke", map[string]any{"id": id})) })
	show(w.mount.Write(t.Context(), "config/rotate-root", nil))
	life(func(id string, credential *api.Secret) {
		pg.Stop()
		must(t, cluster.Nodes[0].KillPlugin())
		show(w.as(w.bob, "revoke", map[string]any{"id": id}))
		show(nil, w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
		everything(id)
		must(t, pg.Start(t.Context()))
	})
	show(w.mount.Write(t.Context(), "config", map[string]any{"secret_id": "wrong-" + w.mount.SecretID}))

	// What the engine got from Vault.
	secrets := map[string]string{"the first secret_id": w.mount.SecretID}
	for password := range passwords {
		secrets["a password"] = password
	}
	audit, err := cluster.AuditLog()
	must(t, err)
	for line := range strings.Lines(audit) {
		var entry audited
		must(t, json.Unmarshal([]byte(line), &entry))
		path := entry.Request.Path
		if entry.Type != "response" {
			continue
		}
		if path == "auth/approle/login" || path == "auth/token/create/"+w.mount.TokenRole {
			if token := entry.Response.Auth.ClientToken; token != "" {
				secrets["a token from "+path+" "+token[:12]] = token
				secrets["an accessor from "+path+" "+token[:12]] = entry.Response.Auth.Accessor
			}
		}
		if secretID, _ := entry.Response.Data["secret_id"].(string); path == "auth/approle/role/"+w.mount.AppRole+"/secret-id" && secretID != "" {
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
