package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
)

func (b *backend) pathApproverGroups() []*framework.Path {
	groups := definition[approval.ApproverGroup]{
		kind:      "approver group",
		catalogue: b.store.Groups,
		describe: func(g approval.ApproverGroup) map[string]any {
			return withRevision(g.Revision, map[string]any{
				"entity_ids":         g.EntityIDs,
				"identity_group_ids": g.IdentityGroupIDs,
				"description":        g.Description,
			})
		},
		summarise: func(g approval.ApproverGroup) map[string]any {
			return map[string]any{"description": g.Description, "entity_ids": len(g.EntityIDs), "identity_group_ids": len(g.IdentityGroupIDs)}
		},
		usedBy: func(ctx context.Context, s logical.Storage, name string) ([]string, error) {
			return namesWhere(ctx, s, "policy", b.store.Policies, func(p approval.Policy) bool { return slices.Contains(p.Groups(), name) })
		},
	}
	return paths(b, groups, definitionPaths{
		prefix: "approver-groups", display: "approver-group", write: b.writeApproverGroup,
		fields: map[string]*framework.FieldSchema{
			"entity_ids":         {Type: framework.TypeCommaStringSlice, Description: "Ids of Vault entities that belong to the group."},
			"identity_group_ids": {Type: framework.TypeCommaStringSlice, Description: "Ids of Vault identity groups whose members, also through inner groups, belong to the group."},
			"description":        {Type: framework.TypeString, Description: "What the group is for."},
		},
		synopsis: "Named sets of approvers.",
		help: `An approver group holds Vault entities and members of Vault identity groups; it needs at least one of either. Who is in it is
looked up at every decision and again at the claim. Fields that are not given stay as they are. A group that a policy names
cannot be deleted.`,
	})
}

func (b *backend) writeApproverGroup(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	b.definitions.Lock()
	name := field[string](d, "name")
	group, problem, err := b.storeApproverGroup(ctx, req, d, name)
	b.definitions.Unlock()
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	warnings, err := b.groupWarnings(ctx, req.Storage, group)
	if err != nil {
		return nil, err
	}
	return withWarnings(warnings), nil
}

func (b *backend) storeApproverGroup(ctx context.Context, req *logical.Request, d *framework.FieldData, name string) (group approval.ApproverGroup, problem, fault error) {
	current, err := b.store.Groups.Get(ctx, req.Storage, name)
	if err != nil {
		return group, nil, err
	}
	group = approval.ApproverGroup{EntityIDs: []string{}, IdentityGroupIDs: []string{}}
	if current != nil {
		group = *current
	}
	group.Name = name
	given(d, "entity_ids", &group.EntityIDs)
	given(d, "identity_group_ids", &group.IdentityGroupIDs)
	given(d, "description", &group.Description)
	if err := group.Validate(); err != nil {
		return group, fmt.Errorf("approver group %q: %w", name, err), nil
	}
	group.Revision = b.revise(group.Revision, req)
	return group, nil, b.store.Groups.Put(ctx, req.Storage, name, group)
}

// groupWarnings tells which policies cannot be met with the group as it is now. Nobody is kept from taking a person
// out of a group, so this is never a refusal.
func (b *backend) groupWarnings(ctx context.Context, s logical.Storage, group approval.ApproverGroup) ([]string, error) {
	var warnings []string
	for _, id := range group.EntityIDs {
		entity, err := b.System().EntityInfo(id)
		if err != nil {
			return nil, fmt.Errorf("looking up entity %s: %w", id, err)
		}
		if entity == nil {
			warnings = append(warnings, fmt.Sprintf("entity_ids: Vault knows no entity %q", id))
		}
	}
	warnings = append(warnings, b.asked(ctx, s, func(ctx context.Context, vault *issuer.Issuer) []string {
		return about("identity_group_ids", vault.GroupWarnings(ctx, group.IdentityGroupIDs))
	})...)
	names, err := b.store.Policies.List(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		policy, err := b.store.Policies.Get(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if policy == nil || !slices.Contains(policy.Groups(), group.Name) {
			continue
		}
		shortfalls, _, err := b.outlook(ctx, s, *policy)
		if err != nil {
			return nil, err
		}
		for _, shortfall := range shortfalls {
			warnings = append(warnings, fmt.Sprintf("policy %q: %s", name, shortfall))
		}
	}
	return warnings, nil
}
