package main

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// A kind is one type of resource: its arguments, and how it is written to Vault.
type kind struct {
	name string
	// Arguments by type: strings, booleans, whole numbers, sets of strings.
	texts, truths, numbers, sets []string
	required                     []string
	// answered are strings that Vault answers.
	answered []string
	// path is where it is written, body what; deleted is where it is deleted if that is another path.
	path    func(values) string
	deleted func(values) string
	body    func(values) map[string]any
	// learn looks up what is answered.
	learn func(ctx context.Context, client *api.Client, v values, written *api.Secret) error
}

// values are a resource's arguments as Vault takes them.
type values map[string]any

func (v values) text(name string) string {
	text, _ := v[name].(string)
	return text
}

// leaveOut is what is written when some arguments are in the path.
func leaveOut(names ...string) func(values) map[string]any {
	return func(v values) map[string]any {
		body := map[string]any{}
		for name, value := range v {
			body[name] = value
		}
		for _, name := range append(names, "id") {
			delete(body, name)
		}
		return body
	}
}

func placeAt(format, argument string) func(values) string {
	return func(v values) string { return fmt.Sprintf(format, v.text(argument)) }
}

var kinds = []kind{{
	name: "vault_mount", texts: []string{"path", "type", "description"}, required: []string{"path", "type"},
	path: placeAt("sys/mounts/%s", "path"), body: leaveOut("path"),
}, {
	name: "vault_policy", texts: []string{"name", "policy"}, required: []string{"name", "policy"},
	path: placeAt("sys/policies/acl/%s", "name"), body: leaveOut("name"),
}, {
	name: "vault_auth_backend", texts: []string{"type"}, required: []string{"type"}, answered: []string{"path"},
	path: placeAt("sys/auth/%s", "type"), body: leaveOut("path"),
	learn: func(_ context.Context, _ *api.Client, v values, _ *api.Secret) error {
		v["path"] = v.text("type")
		return nil
	},
}, {
	name: "vault_approle_auth_backend_role", texts: []string{"backend", "role_name"}, required: []string{"role_name"},
	sets: []string{"token_policies"}, truths: []string{"token_no_default_policy"}, numbers: []string{"token_ttl"}, answered: []string{"role_id"},
	path: func(v values) string { return fmt.Sprintf("auth/%s/role/%s", v.text("backend"), v.text("role_name")) },
	body: leaveOut("backend", "role_name", "role_id"),
	learn: func(ctx context.Context, client *api.Client, v values, _ *api.Secret) error {
		answer, err := client.Logical().ReadWithContext(ctx, fmt.Sprintf("auth/%s/role/%s/role-id", v.text("backend"), v.text("role_name")))
		if err != nil {
			return fmt.Errorf("reading the role id: %w", err)
		}
		v["role_id"] = answer.Data["role_id"]
		return nil
	},
}, {
	name: "vault_token_auth_backend_role", texts: []string{"role_name", "token_type"}, required: []string{"role_name"},
	sets: []string{"allowed_policies"}, truths: []string{"orphan", "renewable", "token_no_default_policy"},
	path: placeAt("auth/token/roles/%s", "role_name"), body: leaveOut("role_name"),
}, {
	name: "vault_identity_group", texts: []string{"name", "type"}, required: []string{"name"},
	sets: []string{"member_entity_ids", "policies"}, truths: []string{"external_member_entity_ids"},
	path: func(values) string { return "identity/group" }, body: leaveOut("external_member_entity_ids"),
	deleted: func(v values) string { return "identity/group/id/" + v.text("id") },
	learn: func(_ context.Context, _ *api.Client, v values, written *api.Secret) error {
		if written != nil {
			v["id"] = written.Data["id"]
		}
		return nil
	},
}}
