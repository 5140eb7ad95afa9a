package engine

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
)

func (b *backend) pathRoles() []*framework.Path {
	roles := definition[approval.Role]{
		kind:      "role",
		catalogue: b.store.Roles,
		describe:  describeRole,
		summarise: func(r approval.Role) map[string]any {
			return map[string]any{"description": r.Description, "policy": r.Policy, "grant_type": string(r.GrantType)}
		},
		usedBy: func(context.Context, logical.Storage, string) ([]string, error) { return nil, nil },
	}
	return paths(b, roles, definitionPaths{
		prefix: "roles", display: "role", write: b.writeRole,
		fields: map[string]*framework.FieldSchema{
			"policy":         {Type: framework.TypeString, Description: "The approval policy that guards the role. Required."},
			"grant_type":     {Type: framework.TypeString, Description: "What the role gives: secret, the data that a Vault path returns. Default: secret."},
			"path":           {Type: framework.TypeString, Description: "The Vault path that makes the credential, for example database/creds/readonly. A template. Required."},
			"operation":      {Type: framework.TypeString, Description: "How path is asked: read or write. Default: read."},
			"data":           {Type: framework.TypeMap, Description: "What is written to path: a JSON object whose strings are templates."},
			"parameters":     {Type: framework.TypeMap, Description: `What a requester fills in: a JSON object of name to {"pattern", "required", "default", "description"}. The pattern is mandatory and must match the whole value.`},
			"grant_policies": {Type: framework.TypeCommaStringSlice, Description: "Vault policies of the grant token, exactly these. At least one, not root and not default. Required."},
			"allow_unleased": {Type: framework.TypeBool, Description: "Whether an answer without a lease is given out although it cannot be taken back. Default: false."},
			"requester_entity_ids": {Type: framework.TypeCommaStringSlice,
				Description: "Entities that may ask for the role. Without requesters, anyone whose policies reach jit/request may."},
			"requester_identity_group_ids": {Type: framework.TypeCommaStringSlice, Description: "Identity groups whose members may ask for the role."},
			"description":                  {Type: framework.TypeString, Description: "What the role is for."},
		},
		synopsis: "Roles: what one can ask for.",
		help: `A role names a Vault path that makes a credential, the policies that a grant may use for it, and the approval policy that guards it.
Templates in path and data know {{.Parameters.NAME}}, {{.TTL}} (seconds), {{.Requester.EntityID}}, {{.Requester.Name}},
{{.Requester.Metadata.KEY}} and {{.Requester.Alias.MOUNT_ACCESSOR}}: substitution only.

A request freezes what it would execute. If what the role gives, or its policy, changes before the claim, the request has to be
made again. Fields that are not given stay as they are.`,
	})
}

func describeRole(r approval.Role) map[string]any {
	parameters := map[string]any{}
	for name, p := range r.Parameters {
		parameters[name] = map[string]any{"pattern": p.Pattern, "required": p.Required, "default": p.Default, "description": p.Description}
	}
	return withRevision(r.Revision, map[string]any{
		"policy":                       r.Policy,
		"grant_type":                   string(r.GrantType),
		"path":                         r.Path,
		"operation":                    string(r.Operation),
		"data":                         orEmpty(r.Data),
		"parameters":                   parameters,
		"grant_policies":               r.GrantPolicies,
		"allow_unleased":               r.AllowUnleased,
		"requester_entity_ids":         r.RequesterEntityIDs,
		"requester_identity_group_ids": r.RequesterIdentityGroupIDs,
		"description":                  r.Description,
	})
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func (b *backend) writeRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	b.definitions.Lock()
	role, problem, err := b.storeRole(ctx, req, d, field[string](d, "name"))
	b.definitions.Unlock()
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	return withWarnings(b.roleWarnings(ctx, req.Storage, role)), nil
}

func (b *backend) storeRole(ctx context.Context, req *logical.Request, d *framework.FieldData, name string) (role approval.Role, problem, fault error) {
	current, err := b.store.Roles.Get(ctx, req.Storage, name)
	if err != nil {
		return role, nil, err
	}
	role, err = mergeRole(name, current, d)
	if err == nil {
		err = role.Validate()
	}
	if err != nil {
		return role, fmt.Errorf("role %q: %w", name, err), nil
	}
	policy, err := b.store.Policies.Get(ctx, req.Storage, role.Policy)
	if err != nil {
		return role, nil, err
	}
	if policy == nil {
		return role, fmt.Errorf("role %q: there is no policy %q; create it first", name, role.Policy), nil
	}
	role.Revision = b.revise(role.Revision, req)
	return role, nil, b.store.Roles.Put(ctx, req.Storage, name, role)
}

// roleWarnings tells what is allowed and hardly meant.
func (b *backend) roleWarnings(ctx context.Context, s logical.Storage, role approval.Role) []string {
	var warnings []string
	if role.OpenToAll() {
		warnings = append(warnings, "the role names no requesters: anyone whose Vault policies reach request may ask for it")
	}
	if role.AllowUnleased {
		warnings = append(warnings, "allow_unleased: what the path gives without a lease cannot be taken back; where upstream takes a duration, pass {{.TTL}}")
	}
	return append(warnings, b.asked(ctx, s, func(ctx context.Context, vault *issuer.Issuer) []string {
		return append(about("grant_policies", vault.PolicyWarnings(ctx, role.GrantPolicies)),
			about("requester_identity_group_ids", vault.GroupWarnings(ctx, role.RequesterIdentityGroupIDs))...)
	})...)
}

// asked is what Vault can tell, if it is asked now and answers soon. Nothing depends on it.
func (b *backend) asked(ctx context.Context, s logical.Storage, ask func(context.Context, *issuer.Issuer) []string) []string {
	vault, err := b.issuerFor(ctx, s)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, censusTime)
	defer cancel()
	return ask(ctx, vault)
}

// about puts the name of a field before each text.
func about(field string, texts []string) []string {
	for i := range texts {
		texts[i] = field + ": " + texts[i]
	}
	return texts
}

// mergeRole applies the given fields to the current role, or to the defaults.
func mergeRole(name string, current *approval.Role, d *framework.FieldData) (approval.Role, error) {
	role := approval.Role{
		GrantSpec:          approval.GrantSpec{GrantType: approval.Secret, Operation: approval.Read, GrantPolicies: []string{}},
		RequesterEntityIDs: []string{}, RequesterIdentityGroupIDs: []string{},
	}
	if current != nil {
		role = *current
	}
	role.Name = name
	given(d, "policy", &role.Policy)
	given(d, "path", &role.Path)
	given(d, "data", &role.Data)
	given(d, "grant_policies", &role.GrantPolicies)
	given(d, "allow_unleased", &role.AllowUnleased)
	given(d, "requester_entity_ids", &role.RequesterEntityIDs)
	given(d, "requester_identity_group_ids", &role.RequesterIdentityGroupIDs)
	given(d, "description", &role.Description)
	if _, ok := d.GetOk("grant_type"); ok {
		role.GrantType = approval.GrantType(field[string](d, "grant_type"))
	}
	if _, ok := d.GetOk("operation"); ok {
		role.Operation = approval.Operation(field[string](d, "operation"))
	}
	if _, ok := d.GetOk("parameters"); ok {
		role.Parameters = map[string]approval.Parameter{}
		for parameter, item := range field[map[string]any](d, "parameters") {
			var p approval.Parameter
			if err := decodeObject(item, &p, "pattern", "required", "default", "description"); err != nil {
				return role, fmt.Errorf("parameters: %q: %w", parameter, err)
			}
			role.Parameters[parameter] = p
		}
	}
	return role, nil
}
