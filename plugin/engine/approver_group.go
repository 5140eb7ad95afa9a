package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
)

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
