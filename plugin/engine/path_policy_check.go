package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathPolicyCheck() []*framework.Path {
	return []*framework.Path{b.accept(wire.Table{Fields: []wire.Field{wire.NameField("policy")}}, &framework.Path{
		Pattern:      "policies/" + framework.GenericNameRegex("name") + "/check",
		DisplayAttrs: display("policy-check"),
		Operations: operations{
			logical.ReadOperation: answering(wire.PolicyCheckTable, b.reading(checkPolicy, "Tell whether the policy can be met by the people there are now.")),
		},
		HelpSynopsis: "Whether a policy can be met by the people there are now.",
		HelpDescription: `For each rule: who could count for it, and how many more there are than it needs while every other rule is met (spare; negative
when some are lacking). depends_on lists the people without whom the policy could not be met. known is false where the engine may
not read the members of an identity group; then there may be more people than shown. A requester never counts for their own
request, unless the policy allows it, so somebody in an approver group who asks needs one more.`,
	})}
}

func checkPolicy(ctx context.Context, c *call) (*logical.Response, error) {
	policy, err := c.store.Policies.Get(ctx, c.req.Storage, c.text("name"))
	if err != nil || policy == nil {
		return nil, err
	}
	census, err := c.people.Census(ctx, policy.Groups())
	if err != nil {
		return nil, err
	}
	prospect := approval.Check(*policy, approval.Person{}, census)
	rules := make([]wire.RuleOutlook, len(prospect.Rules))
	for i, rule := range prospect.Rules {
		rules[i] = wire.RuleOutlook{
			Name: rule.Name, ApproverGroups: rule.ApproverGroups, ApprovalsRequired: rule.Approvals, Satisfiable: rule.Satisfiable,
			Known: rule.Known, Candidates: viewPeople(rule.Candidates), Spare: rule.Spare,
		}
	}
	return answer(wire.PolicyCheck{
		Satisfiable: prospect.Satisfiable, Known: prospect.Known, DependsOn: viewPeople(prospect.DependsOn), Rules: rules,
	})
}
