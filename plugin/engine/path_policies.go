package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

func (b *backend) pathPolicies() []*framework.Path {
	policies := definition[approval.Policy]{
		kind:      "policy",
		catalogue: b.store.Policies,
		describe:  describePolicy,
		summarise: func(p approval.Policy) map[string]any {
			return map[string]any{"description": p.Description, "rules": len(p.Rules), "max_ttl": seconds(p.MaxTTL)}
		},
		usedBy: func(ctx context.Context, s logical.Storage, name string) ([]string, error) {
			return namesWhere(ctx, s, "role", b.store.Roles, func(r approval.Role) bool { return r.Policy == name })
		},
	}
	return paths(b, policies, definitionPaths{
		prefix: "policies", display: "policy", write: b.writePolicy,
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
	})
}

func describePolicy(p approval.Policy) map[string]any {
	rules := make([]map[string]any, len(p.Rules))
	for i, rule := range p.Rules {
		rules[i] = map[string]any{"name": rule.Name, "approver_groups": rule.ApproverGroups, "approvals": rule.Approvals}
	}
	return withRevision(p.Revision, map[string]any{
		"rules":               rules,
		"deny_threshold":      p.DenyThreshold,
		"allow_self_approval": p.AllowSelfApproval,
		"require_reason":      p.RequireReason,
		"reason_pattern":      p.ReasonPattern,
		"request_ttl":         seconds(p.RequestTTL),
		"claim_ttl":           seconds(p.ClaimTTL),
		"default_ttl":         seconds(p.WindowDefault()),
		"max_ttl":             seconds(p.MaxTTL),
		"description":         p.Description,
	})
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (b *backend) writePolicy(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := field[string](d, "name")
	current, err := b.store.Policies.Get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	policy, err := mergePolicy(name, current, d)
	if err == nil {
		err = policy.Validate()
	}
	if err != nil {
		return refused(fmt.Errorf("policy %q: %w", name, err)), nil
	}
	for _, rule := range policy.Rules {
		for _, group := range rule.ApproverGroups {
			known, err := b.store.Groups.Get(ctx, req.Storage, group)
			if err != nil {
				return nil, err
			}
			if known == nil {
				return refused(fmt.Errorf("policy %q: rule %q: there is no approver group %q; create it first", name, rule.Name, group)), nil
			}
		}
	}
	// This may ask Vault for the members of identity groups, so no lock is held yet.
	shortfalls, certain, err := b.outlook(ctx, req.Storage, policy)
	if err != nil {
		return nil, err
	}
	if len(shortfalls) > 0 && certain {
		return refused(fmt.Errorf("policy %q could never be met: %s", name, shortfalls[0])), nil
	}
	problem, err := b.storePolicy(ctx, req, policy, current)
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	return withWarnings(shortfalls), nil
}

// mergePolicy applies the given fields to the current policy, or to the defaults.
func mergePolicy(name string, current *approval.Policy, d *framework.FieldData) (approval.Policy, error) {
	policy := approval.NewPolicy(name)
	if current != nil {
		policy = *current
	}
	if _, ok := d.GetOk("rules"); ok {
		policy.Rules = nil
		for i, item := range field[[]any](d, "rules") {
			var rule approval.Rule
			if err := decodeObject(item, &rule, "name", "approver_groups", "approvals"); err != nil {
				return policy, fmt.Errorf("rules[%d]: %w", i, err)
			}
			policy.Rules = append(policy.Rules, rule)
		}
	}
	given(d, "deny_threshold", &policy.DenyThreshold)
	given(d, "allow_self_approval", &policy.AllowSelfApproval)
	given(d, "require_reason", &policy.RequireReason)
	given(d, "reason_pattern", &policy.ReasonPattern)
	given(d, "description", &policy.Description)
	givenSeconds(d, "request_ttl", &policy.RequestTTL)
	givenSeconds(d, "claim_ttl", &policy.ClaimTTL)
	givenSeconds(d, "default_ttl", &policy.DefaultTTL)
	givenSeconds(d, "max_ttl", &policy.MaxTTL)
	return policy, nil
}

// storePolicy writes the policy, unless it or its groups changed since they were looked at.
func (b *backend) storePolicy(ctx context.Context, req *logical.Request, policy approval.Policy, seen *approval.Policy) (problem, fault error) {
	b.definitions.Lock()
	defer b.definitions.Unlock()
	current, err := b.store.Policies.Get(ctx, req.Storage, policy.Name)
	if err != nil {
		return nil, err
	}
	if current != seen {
		return fmt.Errorf("policy %q was changed by somebody else at the same time; try again", policy.Name), nil
	}
	for _, group := range policy.Groups() {
		known, err := b.store.Groups.Get(ctx, req.Storage, group)
		if err != nil {
			return nil, err
		}
		if known == nil {
			return fmt.Errorf("policy %q: approver group %q was just deleted", policy.Name, group), nil
		}
	}
	policy.Revision = b.revise(policy.Revision, req)
	return nil, b.store.Policies.Put(ctx, req.Storage, policy.Name, policy)
}

// outlook says in sentences which rules of a policy too few people could meet. It is certain if all members are known.
func (b *backend) outlook(ctx context.Context, s logical.Storage, policy approval.Policy) (shortfalls []string, certain bool, err error) {
	census, err := b.newLookup(s).census(ctx, policy.Groups())
	if err != nil {
		return nil, false, err
	}
	prospect := approval.Check(policy, approval.Person{}, census)
	if prospect.Satisfiable {
		return nil, prospect.Known, nil
	}
	for _, rule := range prospect.Rules {
		switch {
		case rule.Satisfiable:
		case rule.Known:
			shortfalls = append(shortfalls, fmt.Sprintf("rule %q needs %d approvals, but its approver groups lack %d people for that (one person counts for one rule)",
				rule.Name, rule.Approvals, -rule.Spare))
		default:
			shortfalls = append(shortfalls, fmt.Sprintf("rule %q needs %d approvals; whether its approver groups have enough people is not known, because not all members can be read",
				rule.Name, rule.Approvals))
		}
	}
	return shortfalls, prospect.Known, nil
}
