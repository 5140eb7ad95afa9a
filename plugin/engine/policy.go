package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// showPolicy shows the default window as it is, whether or not somebody chose it.
func showPolicy(policy approval.Policy) (map[string]any, error) {
	policy.DefaultTTL = policy.WindowDefault()
	return wire.Show(wire.PolicyTable, policy)
}

func checkGroupsExist(ctx context.Context, c *call, policy approval.Policy) error {
	for i, rule := range policy.Rules {
		for j, group := range rule.ApproverGroups {
			known, err := c.store.Groups.Get(ctx, c.req.Storage, group)
			if err != nil {
				return err
			}
			if known == nil {
				return refusal.New(fmt.Sprintf("rules[%d].approver_groups[%d]", i, j), fmt.Sprintf("there is no approver group %q, which rule %q names", group, rule.Name), "create it first")
			}
		}
	}
	return nil
}

// foreseePolicy refuses a policy that could never be met, and tells which of its rules may not be.
func foreseePolicy(ctx context.Context, c *call, policy approval.Policy) ([]string, error) {
	shortfalls, certain, err := c.findShortfalls(ctx, policy)
	if err != nil {
		return nil, err
	}
	if len(shortfalls) > 0 && certain {
		return nil, refusal.New("rules", "it could never be met: "+shortfalls[0], "")
	}
	return shortfalls, nil
}

// listPoliciesOf lists the policies that name an approver group.
func (c *call) listPoliciesOf(ctx context.Context, group string) ([]approval.Policy, error) {
	var found []approval.Policy
	_, err := visit(ctx, c.req.Storage, c.store.Policies, func(_ string, policy approval.Policy) error {
		if slices.Contains(policy.Groups(), group) {
			found = append(found, policy)
		}
		return nil
	})
	return found, err
}
