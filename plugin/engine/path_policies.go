package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
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
	shortfalls, err := c.changePolicy(ctx, field[string](c.fields, "name"))
	return answerWarnings(shortfalls), err
}
