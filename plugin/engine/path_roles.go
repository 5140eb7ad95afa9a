package engine

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

func (b *backend) pathRoles() []*framework.Path {
	return definition[approval.Role]{
		kind: "role", collection: "roles", suffix: "role",
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
Templates in path and data know {{.Request.ID}}, {{.Parameters.NAME}}, {{.TTL}} (seconds), {{.Requester.EntityID}},
{{.Requester.Name}}, {{.Requester.Metadata.KEY}} and {{.Requester.Alias.MOUNT_ACCESSOR}}: substitution only.

A request freezes what it would execute. If what the role gives, or its policy, changes before the claim, the request has to be
made again. Fields that are not given stay as they are.`,
		catalogue: b.store.Roles,
		write:     writeRole,
		describe:  viewRole,
		summarise: func(r approval.Role) map[string]any {
			return map[string]any{"description": r.Description, "policy": r.Policy, "grant_type": string(r.Gives.Kind())}
		},
		usedBy: func(context.Context, logical.Storage, string) ([]string, error) { return nil, nil },
	}.paths(b)
}

func viewRole(r approval.Role) map[string]any {
	gives := readSecret(r)
	parameters := map[string]any{}
	for name, p := range gives.Parameters {
		parameters[name] = map[string]any{"pattern": p.Pattern, "required": p.Required, "default": p.Default, "description": p.Description}
	}
	return viewRevision(r.Revision, map[string]any{
		"policy":                       r.Policy,
		"grant_type":                   string(gives.Kind()),
		"path":                         gives.Path,
		"operation":                    string(gives.Operation),
		"data":                         emptyIfNil(gives.Data),
		"parameters":                   parameters,
		"grant_policies":               gives.GrantPolicies,
		"allow_unleased":               gives.AllowUnleased,
		"requester_entity_ids":         r.RequesterEntityIDs,
		"requester_identity_group_ids": r.RequesterIdentityGroupIDs,
		"description":                  r.Description,
	})
}

// readSecret is what a role gives, in the one form that this path reads and writes.
func readSecret(r approval.Role) grant.Secret {
	gives, _ := r.Gives.Spec.(grant.Secret) // the zero Secret is refused when it is written
	return gives
}

func writeRole(ctx context.Context, c *call) (*logical.Response, error) {
	role, err := c.storeRole(ctx, field[string](c.fields, "name"))
	if err != nil {
		return nil, err
	}
	return answerWarnings(c.warnOfRole(ctx, role)), nil
}

func (c *call) storeRole(ctx context.Context, name string) (approval.Role, error) {
	c.definitions.Lock()
	defer c.definitions.Unlock()
	current, err := c.store.Roles.Get(ctx, c.req.Storage, name)
	if err != nil {
		return approval.Role{}, err
	}
	role, err := mergeRole(name, current, c.fields)
	if err == nil {
		err = role.Validate()
	}
	if err != nil {
		return role, fmt.Errorf("role %q: %w", name, err)
	}
	policy, err := c.store.Policies.Get(ctx, c.req.Storage, role.Policy)
	if err != nil {
		return role, err
	}
	if policy == nil {
		return role, refusal.Newf("", "role %q: there is no policy %q; create it first", name, role.Policy)
	}
	role.Revision = c.revise(role.Revision)
	return role, c.store.Roles.Put(ctx, c.req.Storage, name, role)
}

// warnOfRole tells what is allowed and hardly meant.
func (c *call) warnOfRole(ctx context.Context, role approval.Role) []string {
	gives := readSecret(role)
	var warnings []string
	if role.OpenToAll() {
		warnings = append(warnings, "the role names no requesters: anyone whose Vault policies reach request may ask for it")
	}
	if gives.AllowUnleased {
		warnings = append(warnings, "allow_unleased: what the path gives without a lease cannot be taken back; where upstream takes a duration, pass {{.TTL}}")
	}
	return append(warnings, c.askVault(ctx, c.req.Storage, func(ctx context.Context, vault *issuer.Issuer) []string {
		return append(prefixEach("grant_policies", vault.PolicyWarnings(ctx, gives.GrantPolicies)),
			prefixEach("requester_identity_group_ids", people.GroupWarnings(ctx, vault.Session(), role.RequesterIdentityGroupIDs))...)
	})...)
}

// mergeRole applies the given fields to the current role, or to the defaults.
func mergeRole(name string, current *approval.Role, d *framework.FieldData) (approval.Role, error) {
	role := approval.Role{RequesterEntityIDs: []string{}, RequesterIdentityGroupIDs: []string{}}
	gives := grant.Secret{Operation: grant.Read, GrantPolicies: []string{}}
	if current != nil {
		role, gives = *current, readSecret(*current)
	}
	role.Name = name
	fill(d, "policy", &role.Policy)
	fill(d, "requester_entity_ids", &role.RequesterEntityIDs)
	fill(d, "requester_identity_group_ids", &role.RequesterIdentityGroupIDs)
	fill(d, "description", &role.Description)
	if kind, given := d.GetOk("grant_type"); given && kind != string(grant.KindSecret) {
		return role, refusal.Newf("", "grant_type is %q; accepted is %q", kind, string(grant.KindSecret))
	}
	fill(d, "path", &gives.Path)
	fill(d, "operation", (*string)(&gives.Operation))
	fill(d, "data", &gives.Data)
	fill(d, "grant_policies", &gives.GrantPolicies)
	fill(d, "allow_unleased", &gives.AllowUnleased)
	if _, given := d.GetOk("parameters"); given {
		gives.Parameters = grant.Parameters{}
		for parameter, item := range field[map[string]any](d, "parameters") {
			var p grant.Parameter
			if err := decodeObject(item, &p, "pattern", "required", "default", "description"); err != nil {
				return role, refusal.Newf("parameters", "%q: %v", parameter, err)
			}
			gives.Parameters[parameter] = p
		}
	}
	role.Gives = grant.Stored{Spec: gives}
	return role, nil
}
