package engine

import (
	"context"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

func (b *backend) pathApproverGroups() []*framework.Path {
	return definition[approval.ApproverGroup]{
		kind: "approver group", collection: "approver-groups", suffix: "approver-group",
		fields: map[string]*framework.FieldSchema{
			"entity_ids":         {Type: framework.TypeCommaStringSlice, Description: "Ids of Vault entities that belong to the group."},
			"identity_group_ids": {Type: framework.TypeCommaStringSlice, Description: "Ids of Vault identity groups whose members, also through inner groups, belong to the group."},
			"description":        {Type: framework.TypeString, Description: "What the group is for."},
		},
		synopsis: "Named sets of approvers.",
		help: `An approver group holds Vault entities and members of Vault identity groups; it needs at least one of either. Who is in it is
looked up at every decision and again at the claim. Fields that are not given stay as they are. A group that a policy names
cannot be deleted.`,
		catalogue: b.store.Groups,
		write:     writeApproverGroup,
		describe: func(g approval.ApproverGroup) map[string]any {
			return viewRevision(g.Revision, map[string]any{
				"entity_ids":         g.EntityIDs,
				"identity_group_ids": g.IdentityGroupIDs,
				"description":        g.Description,
			})
		},
		summarise: func(g approval.ApproverGroup) map[string]any {
			return map[string]any{"description": g.Description, "entity_ids": len(g.EntityIDs), "identity_group_ids": len(g.IdentityGroupIDs)}
		},
		usedBy: func(ctx context.Context, s logical.Storage, name string) ([]string, error) {
			return listUsers(ctx, s, "policy", b.store.Policies, func(p approval.Policy) bool { return slices.Contains(p.Groups(), name) })
		},
	}.paths(b)
}

func writeApproverGroup(ctx context.Context, c *call) (*logical.Response, error) {
	group, err := c.storeApproverGroup(ctx, field[string](c.fields, "name"))
	if err != nil {
		return nil, err
	}
	warnings, err := c.warnOfGroup(ctx, group)
	return answerWarnings(warnings), err
}
