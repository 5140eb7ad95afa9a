package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	plugingrant "github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

var roleKind = object.Kind{
	Word: "role", Collection: "roles", Table: wire.RoleTable,
	About: "A role: something one can ask for. It names a Vault path that makes a credential, the policies that a grant may use " +
		"for it, and the approval policy that guards it.\n\n`path` and the strings in `data` are templates: they know `{{.Parameters.NAME}}`, " +
		"`{{.TTL}}` (seconds), `{{.Requester.EntityID}}`, `{{.Requester.Name}}`, `{{.Requester.Metadata.KEY}}` and " +
		"`{{.Requester.Alias.MOUNT_ACCESSOR}}`. If what a role gives, or which policy it names, changes, requests that are not claimed yet have to be made again.",
}

func newRoleResource() resource.Resource {
	return &object.Resource{Kind: roleKind, Check: checkRole, References: func(given map[string]any) []object.Reference {
		policy, _ := given["policy"].(string)
		return []object.Reference{{To: policyKind, Name: policy, Field: "policy"}}
	}}
}

func newRoleSource() datasource.DataSource { return object.NewSource(roleKind) }

func checkRole(given map[string]any, config object.Values) error {
	data, _ := given["data"].(map[string]any)
	if !config["operation"].IsKnown() && len(data) > 0 {
		given["operation"] = string(plugingrant.Write)
	}
	if !config["parameters"].IsFullyKnown() {
		// Which parameters a template may name is not known yet.
		given["path"], given["data"], given["parameters"] = "unknown", map[string]any{}, map[string]any{}
	}
	return validate(wire.DefineRole("", nil, given))
}
