package engine

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// changePolicy stores the policy with the given fields, and tells which of its rules may not be met.
func (c *call) changePolicy(ctx context.Context, name string) (shortfalls []string, err error) {
	current, err := c.store.Policies.Get(ctx, c.req.Storage, name)
	if err != nil {
		return nil, err
	}
	policy, err := mergePolicy(name, current, c.fields)
	if err == nil {
		err = policy.Validate()
	}
	if err == nil {
		err = c.checkGroupsExist(ctx, policy)
	}
	if err != nil {
		return nil, fmt.Errorf("policy %q: %w", name, err)
	}
	// This may ask Vault for the members of identity groups, so no lock is held yet.
	shortfalls, certain, err := c.findShortfalls(ctx, policy)
	if err != nil {
		return nil, err
	}
	if len(shortfalls) > 0 && certain {
		return nil, refusal.Newf("", "policy %q could never be met: %s", name, shortfalls[0])
	}
	return shortfalls, c.storePolicy(ctx, policy, current)
}

func (c *call) checkGroupsExist(ctx context.Context, policy approval.Policy) error {
	for _, rule := range policy.Rules {
		for _, group := range rule.ApproverGroups {
			known, err := c.store.Groups.Get(ctx, c.req.Storage, group)
			if err != nil {
				return err
			}
			if known == nil {
				return refusal.Newf("", "rule %q: there is no approver group %q; create it first", rule.Name, group)
			}
		}
	}
	return nil
}

// mergePolicy applies the given fields to the current policy, or to the defaults.
func mergePolicy(name string, current *approval.Policy, d *framework.FieldData) (approval.Policy, error) {
	policy := approval.NewPolicy(name)
	if current != nil {
		policy = *current
	}
	if _, given := d.GetOk("rules"); given {
		policy.Rules = nil
		for i, item := range field[[]any](d, "rules") {
			var rule approval.Rule
			if err := decodeObject(item, &rule, "name", "approver_groups", "approvals"); err != nil {
				return policy, refusal.In(fmt.Sprintf("rules[%d]", i), err)
			}
			policy.Rules = append(policy.Rules, rule)
		}
	}
	fill(d, "deny_threshold", &policy.DenyThreshold)
	fill(d, "allow_self_approval", &policy.AllowSelfApproval)
	fill(d, "require_reason", &policy.RequireReason)
	fill(d, "reason_pattern", &policy.ReasonPattern)
	fill(d, "description", &policy.Description)
	fillDuration(d, "request_ttl", &policy.RequestTTL)
	fillDuration(d, "claim_ttl", &policy.ClaimTTL)
	fillDuration(d, "default_ttl", &policy.DefaultTTL)
	fillDuration(d, "max_ttl", &policy.MaxTTL)
	return policy, nil
}

// storePolicy writes the policy, unless it or its groups changed since they were looked at.
func (c *call) storePolicy(ctx context.Context, policy approval.Policy, seen *approval.Policy) error {
	c.definitions.Lock()
	defer c.definitions.Unlock()
	current, err := c.store.Policies.Get(ctx, c.req.Storage, policy.Name)
	if err != nil {
		return err
	}
	if current != seen {
		return refusal.Newf("", "policy %q was changed by somebody else at the same time; try again", policy.Name)
	}
	if err := c.checkGroupsExist(ctx, policy); err != nil {
		return fmt.Errorf("policy %q: %w", policy.Name, err)
	}
	policy.Revision = c.revise(policy.Revision)
	return c.store.Policies.Put(ctx, c.req.Storage, policy.Name, policy)
}
