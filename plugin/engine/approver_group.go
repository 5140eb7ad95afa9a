package engine

import (
	"context"
	"fmt"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
)

// warnOfGroup tells which policies cannot be met with the group as it is now. Nobody is kept from taking a person out of
// a group, so this is never a refusal.
func warnOfGroup(ctx context.Context, c *call, group approval.ApproverGroup) ([]string, error) {
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
	policies, err := c.listPoliciesOf(ctx, group.Name)
	if err != nil {
		return nil, err
	}
	for _, policy := range policies {
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
