package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
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

func (c *call) storeApproverGroup(ctx context.Context, name string) (approval.ApproverGroup, error) {
	c.definitions.Lock()
	defer c.definitions.Unlock()
	group := approval.ApproverGroup{EntityIDs: []string{}, IdentityGroupIDs: []string{}}
	current, err := c.store.Groups.Get(ctx, c.req.Storage, name)
	if err != nil {
		return group, err
	}
	if current != nil {
		group = *current
	}
	group.Name = name
	fill(c.fields, "entity_ids", &group.EntityIDs)
	fill(c.fields, "identity_group_ids", &group.IdentityGroupIDs)
	fill(c.fields, "description", &group.Description)
	if err := group.Validate(); err != nil {
		return group, fmt.Errorf("approver group %q: %w", name, err)
	}
	group.Revision = c.revise(group.Revision)
	return group, c.store.Groups.Put(ctx, c.req.Storage, name, group)
}

// warnOfGroup tells which policies cannot be met with the group as it is now. Nobody is kept from taking a person out of
// a group, so this is never a refusal.
func (c *call) warnOfGroup(ctx context.Context, group approval.ApproverGroup) ([]string, error) {
	var warnings []string
	for _, id := range group.EntityIDs {
		entity, err := c.people.Entity(id)
		if err != nil {
			return nil, err
		}
		if !entity.Exists {
			warnings = append(warnings, fmt.Sprintf("entity_ids: Vault knows no entity %q", id))
		}
	}
	warnings = append(warnings, c.askVault(ctx, c.req.Storage, func(ctx context.Context, vault *issuer.Issuer) []string {
		return prefixEach("identity_group_ids", people.GroupWarnings(ctx, vault.Session(), group.IdentityGroupIDs))
	})...)
	var users []approval.Policy
	_, err := visit(ctx, c.req.Storage, c.store.Policies, func(_ string, policy approval.Policy) {
		if slices.Contains(policy.Groups(), group.Name) {
			users = append(users, policy)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, policy := range users {
		shortfalls, _, err := c.findShortfalls(ctx, policy)
		if err != nil {
			return nil, err
		}
		for _, shortfall := range shortfalls {
			warnings = append(warnings, fmt.Sprintf("policy %q: %s", policy.Name, shortfall))
		}
	}
	return warnings, nil
}
