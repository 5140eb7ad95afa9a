package engine

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/logging"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// described is what Vault is told of a backend's paths: path-help of one of them, and OpenAPI.
func described(t *testing.T, b *backend, path string) (help, openAPI string) {
	t.Helper()
	err := b.Setup(t.Context(), &logical.BackendConfig{
		Logger: logging.NewVaultLogger(0), System: &logical.StaticSystemView{MaxLeaseTTLVal: time.Hour}, StorageView: &logical.InmemStorage{},
	})
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.Backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.HelpOperation, Path: path, Storage: &logical.InmemStorage{}})
	if err != nil {
		t.Fatal(err)
	}
	help, _ = response.Data["help"].(string)
	text, err := json.Marshal(response.Data["openapi"])
	if err != nil {
		t.Fatal(err)
	}
	return help, string(text)
}

func TestNewRowOfATableIsInHelpAndOpenAPI(t *testing.T) {
	t.Parallel()
	row := wire.Field{Name: "colour", Type: wire.String, Default: "red", Description: "Made up, see `path`."}

	b := newBackend()
	role := definition[approval.Role, *approval.Role]{
		kind: "role", collection: "roles", table: wire.RoleTable.With(row),
		check: func(context.Context, *call, approval.Role) error { return nil },
	}
	b.Paths = role.paths(b)
	help, openAPI := described(t, b, "roles/x")
	if !strings.Contains(help, "colour (string)") || !strings.Contains(help, "Made up, see path. Default: red.") {
		t.Errorf("path-help does not have it:\n%s", help)
	}
	if !strings.Contains(openAPI, `"colour":{"type":"string","description":"Made up, see path. Default: red.","default":"red"`) {
		t.Errorf("OpenAPI does not have it: %s", openAPI)
	}

	b = newBackend()
	answered := row
	answered.Name, answered.Default, answered.Computed = "weight", nil, true
	b.Paths = []*framework.Path{
		b.action("request", "", wire.AskTable.With(row), identified(ask), wire.RequestTable.With(row, answered), "Ask.", "Ask."),
	}
	help, openAPI = described(t, b, "request")
	if !strings.Contains(help, "colour (string)") || strings.Contains(help, "weight") {
		t.Errorf("path-help has something else than what is given:\n%s", help)
	}
	if strings.Count(openAPI, `"colour":{`) != 2 || strings.Count(openAPI, `"weight":{`) != 1 {
		t.Errorf("OpenAPI does not have it in the request and in the answer: %s", openAPI)
	}
}

// TestEveryPathHasATable keeps a path from taking what no table accepts.
func TestEveryPathHasATable(t *testing.T) {
	t.Parallel()
	b := newBackend()
	for _, path := range b.Paths {
		table, known := b.accepts[path]
		if !known {
			t.Errorf("path %q has no table", path.Pattern)
		}
		for name := range path.Fields {
			if _, accepted := table.Find(name); !accepted {
				t.Errorf("path %q has the field %s, which its table does not accept", path.Pattern, name)
			}
		}
	}
	for kind := wire.String; kind <= wire.ObjectsByName; kind++ {
		if frameworkTypes[kind] == framework.TypeInvalid {
			t.Errorf("type %d of a field has no type of the framework's", kind)
		}
	}
}
