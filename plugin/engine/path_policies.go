package engine

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

func (b *backend) pathPolicies() []*framework.Path {
	return definition[approval.Policy]{
		kind: "policy", collection: "policies", suffix: "policy",
		fields: map[string]*framework.FieldSchema{
			"rules": {Type: framework.TypeSlice, Description: `Who must approve: a JSON list of {"name", "approver_groups": [...], "approvals": N}. ` +
				"Every rule must be met; one person counts for at most one of them. Required."},
			"deny_threshold":      {Type: framework.TypeInt, Description: "How many eligible people must deny to refuse a request for good. Default: 1."},
			"allow_self_approval": {Type: framework.TypeBool, Description: "Whether the requester may count as an approver. Default: false."},
			"require_reason":      {Type: framework.TypeBool, Description: "Whether a request must give a reason. Default: true."},
			"reason_pattern":      {Type: framework.TypeString, Description: "Regular expression (RE2) that the whole reason must match. Default: any reason."},
			"request_ttl":         {Type: framework.TypeDurationSecond, Description: "How long a request waits for its quorum. Default: 8h."},
			"claim_ttl":           {Type: framework.TypeDurationSecond, Description: "How long an approval waits to be claimed. Default: 1h."},
			"default_ttl":         {Type: framework.TypeDurationSecond, Description: "The window of a request that names none. Default: the smaller of 1h and max_ttl."},
			"max_ttl":             {Type: framework.TypeDurationSecond, Description: "The longest window that can be asked for. Default: 8h."},
			"description":         {Type: framework.TypeString, Description: "What the policy is for."},
		},
		synopsis: "Approval policies: who must agree, and within which limits.",
		help: `A policy guards roles. A request freezes the policy as it is when it is made; at the claim the quorum must hold under that
one and under the policy as it is then, so tightening a policy reaches requests that are already approved, and loosening does not.
Fields that are not given stay as they are. A policy that a role names cannot be deleted.`,
		catalogue: b.store.Policies,
		write:     writePolicy,
		describe:  viewPolicy,
		summarise: func(p approval.Policy) map[string]any {
			return map[string]any{"description": p.Description, "rules": len(p.Rules), "max_ttl": toSeconds(p.MaxTTL)}
		},
		usedBy: func(ctx context.Context, s logical.Storage, name string) ([]string, error) {
			return listUsers(ctx, s, "role", b.store.Roles, func(r approval.Role) bool { return r.Policy == name })
		},
	}.paths(b)
}

func viewPolicy(p approval.Policy) map[string]any {
	rules := make([]map[string]any, len(p.Rules))
	for i, rule := range p.Rules {
		rules[i] = map[string]any{"name": rule.Name, "approver_groups": rule.ApproverGroups, "approvals": rule.Approvals}
	}
	return viewRevision(p.Revision, map[string]any{
		"rules":               rules,
		"deny_threshold":      p.DenyThreshold,
		"allow_self_approval": p.AllowSelfApproval,
		"require_reason":      p.RequireReason,
		"reason_pattern":      p.ReasonPattern,
		"request_ttl":         toSeconds(p.RequestTTL),
		"claim_ttl":           toSeconds(p.ClaimTTL),
		"default_ttl":         toSeconds(p.WindowDefault()),
		"max_ttl":             toSeconds(p.MaxTTL),
		"description":         p.Description,
	})
}

func writePolicy(ctx context.Context, c *call) (*logical.Response, error) {
	name := field[string](c.fields, "name")
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
	if err := c.storePolicy(ctx, policy, current); err != nil {
		return nil, err
	}
	return answerWarnings(shortfalls), nil
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
