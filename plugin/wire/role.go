package wire

import (
	"maps"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
)

// SpecificationTable describes what is given: in a role with templates, in a request as it is executed.
var SpecificationTable = Table{
	Name: "Specification", Description: "is what is given: in a role with templates, in a request as a claim executes it.",
	Fields: []Field{
		{Name: "grant_type", Type: String, Default: string(grant.KindSecret), OneOf: []string{string(grant.KindSecret)}, Listed: true,
			Description: "What is given: `secret`, the data that a Vault path returns."},
		{Name: "path", Type: String, Required: true, Description: "The Vault path that makes the credential, for example `database/creds/readonly`. " +
			"In a role it is a template."},
		{Name: "operation", Type: String, Default: string(grant.Read), OneOf: []string{string(grant.Read), string(grant.Write)},
			Description: "How `path` is asked: `read` or `write`."},
		{Name: "data", Type: JSON, Description: "What is written to `path`: a JSON object. In a role its strings are templates."},
		{Name: "grant_policies", Type: Strings, Required: true, Description: "Vault policies of the grant token: exactly these, at least one, not `root` and not `default`."},
	},
}

// ParameterTable describes something that a requester fills in.
var ParameterTable = Table{
	Name: "Parameter", Description: "is something that a requester fills in.",
	Fields: []Field{
		{Name: "pattern", Type: String, Required: true, Description: "Regular expression (RE2) that the whole value must match."},
		{Name: "required", Type: Bool, Default: false, Description: "Whether a request must give it."},
		{Name: "default", Type: String, DefaultSaid: "none", Description: "Its value where a request gives none. A parameter that a template names is required or " +
			"has a default."},
		{Name: "description", Type: String, Description: "What it is, for requesters."},
	},
}

// RoleTable describes a role.
var RoleTable = Table{
	Name: "Role", Description: "is something one can ask for: what it gives, the policy that guards it, and who may ask.",
	Embeds: []Table{SpecificationTable, RevisionTable},
	Fields: []Field{
		{Name: "policy", Type: String, Required: true, Listed: true, Description: "Name of the approval policy that guards the role."},
		{Name: "parameters", Type: ObjectsByName, Of: &ParameterTable, Description: "What a requester fills in, by name: up to 64 letters, digits, `_` and `-`."},
		{Name: "allow_unleased", Type: Bool, Default: false, Description: "Whether an answer without a lease is given out although it cannot be taken back."},
		{Name: "requester_entity_ids", Type: Strings, Description: "Ids of entities that may ask for the role. A role without requesters may be asked for by anyone whose " +
			"Vault policies reach `request`."},
		{Name: "requester_identity_group_ids", Type: Strings, Description: "Ids of identity groups whose members may ask for the role."},
		{Name: "description", Type: String, Listed: true, Description: "What the role is for."},
	},
}

// DefineRole is [Define] for a role, which stores what it gives under its kind.
func DefineRole(name string, current *approval.Role, given map[string]any) (approval.Role, error) {
	if current == nil {
		current, given = new(approval.Role), RoleTable.complete(given)
	}
	object, err := flattenRole(*current)
	if err != nil {
		return approval.Role{}, err
	}
	RoleTable.mergeInto(object, given)
	object["name"] = name
	gives := map[string]any{}
	for _, f := range RoleTable.Accepted() {
		if value, there := object[f.Name]; there && !isOfRole(f.Name) {
			gives[f.Name] = value
			delete(object, f.Name)
		}
	}
	kind, _ := gives[grantType].(string)
	delete(gives, grantType)
	object["gives"] = map[string]any{kind: gives}
	return fromObject[approval.Role](object)
}

// ShowRole is a role as it is shown.
func ShowRole(role approval.Role) (map[string]any, error) {
	object, err := flattenRole(role)
	if err != nil {
		return nil, err
	}
	return RoleTable.show(object), nil
}

const grantType = "grant_type"

// SpecificationOf is what a request gives, as it is shown. The fields of a rendered grant have the names of the table.
func SpecificationOf(g grant.Rendered) (Specification, error) {
	shown := Specification{GrantType: string(g.Kind), Data: map[string]any{}}
	return shown, recode(g, &shown)
}

// isOfRole reports whether a field is the role's own, not part of what it gives.
func isOfRole(name string) bool {
	_, own := roleNames[name]
	return own
}

var roleNames, _ = Encode(approval.Role{})

// flattenRole puts what a role gives, which is stored under its kind, beside the role's own fields.
func flattenRole(role approval.Role) (map[string]any, error) {
	object, err := Encode(role)
	if err != nil {
		return nil, err
	}
	gives, _ := object["gives"].(map[string]any)
	delete(object, "gives")
	for kind, fields := range gives {
		object[grantType] = kind
		specification, _ := fields.(map[string]any)
		maps.Copy(object, specification)
	}
	return object, nil
}
