package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
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

func writeRole(ctx context.Context, c *call) (*logical.Response, error) {
	role, err := c.storeRole(ctx, field[string](c.fields, "name"))
	if err != nil {
		return nil, err
	}
	return answerWarnings(c.warnOfRole(ctx, role)), nil
}
