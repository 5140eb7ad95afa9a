package provider

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

var _ function.Function = (*quorumFunction)(nil)

// quorumFunction evaluates rules as the engine does, without the engine.
type quorumFunction struct{}

func newQuorumFunction() function.Function { return &quorumFunction{} }

func (f *quorumFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "quorum"
}

var (
	quorumRuleTypes = map[string]attr.Type{
		"name": types.StringType, "approver_groups": types.ListType{ElemType: types.StringType}, "approvals": types.Int64Type,
	}
	approvalTypes = map[string]attr.Type{
		"approver": types.StringType, "approver_groups": types.ListType{ElemType: types.StringType},
	}
	quorumTypes = map[string]attr.Type{
		"met":     types.BoolType,
		"missing": types.ListType{ElemType: types.StringType},
		"rules": types.ListType{ElemType: types.ObjectType{AttrTypes: map[string]attr.Type{
			"name": types.StringType, "approvals_required": types.Int64Type, "approvals_counted": types.Int64Type,
			"satisfied": types.BoolType, "counted": types.ListType{ElemType: types.StringType},
		}}},
	}
)

func (f *quorumFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Whether approvals make a quorum",
		MarkdownDescription: "Evaluates the rules of a policy against a list of approvals, exactly as the engine does and without asking it: every rule " +
			"needs its number of distinct people, one person counts for at most one rule, and the assignment is the best possible. Returns an object " +
			"with `met`, `missing` (a sentence for each rule that is not met) and `rules` (for each rule `name`, `approvals_required`, " +
			"`approvals_counted`, `satisfied` and `counted`, the people who count).",
		Parameters: []function.Parameter{
			function.ListParameter{
				Name:                "rules",
				MarkdownDescription: "The rules, as in `vaultjit_policy`: objects with `name`, `approver_groups` and `approvals`.",
				ElementType:         types.ObjectType{AttrTypes: quorumRuleTypes},
			},
			function.ListParameter{
				Name: "approvals",
				MarkdownDescription: "Who approved: objects with `approver`, a name, and `approver_groups`, the names of the groups this person is in. " +
					"Somebody who is there twice counts once.",
				ElementType: types.ObjectType{AttrTypes: approvalTypes},
			},
		},
		Return: function.ObjectReturn{AttributeTypes: quorumTypes},
	}
}

type quorumRule struct {
	Name           *string  `tfsdk:"name"`
	ApproverGroups []string `tfsdk:"approver_groups"`
	Approvals      *int64   `tfsdk:"approvals"`
}

type quorumApproval struct {
	Approver       *string  `tfsdk:"approver"`
	ApproverGroups []string `tfsdk:"approver_groups"`
}

type quorumRuleVerdict struct {
	Name              string   `tfsdk:"name"`
	ApprovalsRequired int64    `tfsdk:"approvals_required"`
	ApprovalsCounted  int64    `tfsdk:"approvals_counted"`
	Satisfied         bool     `tfsdk:"satisfied"`
	Counted           []string `tfsdk:"counted"`
}

type quorumVerdict struct {
	Met     bool                `tfsdk:"met"`
	Missing []string            `tfsdk:"missing"`
	Rules   []quorumRuleVerdict `tfsdk:"rules"`
}

func (f *quorumFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var rules []*quorumRule
	var approvals []*quorumApproval
	if resp.Error = req.Arguments.Get(ctx, &rules, &approvals); resp.Error != nil {
		return
	}
	policy := approval.NewPolicy("quorum")
	for _, rule := range rules {
		if rule == nil || rule.Name == nil || rule.Approvals == nil {
			resp.Error = function.NewArgumentFuncError(0, "a rule, its name or its approvals is null")
			return
		}
		policy.Rules = append(policy.Rules, approval.Rule{Name: *rule.Name, ApproverGroups: rule.ApproverGroups, Approvals: int(*rule.Approvals)})
	}
	if err := policy.Validate(); err != nil {
		resp.Error = function.NewArgumentFuncError(0, err.Error())
		return
	}
	roster := approval.Roster{}
	var decisions []approval.Decision
	for _, given := range approvals {
		if given == nil || given.Approver == nil || *given.Approver == "" {
			resp.Error = function.NewArgumentFuncError(1, "an approver without a name is nobody")
			return
		}
		name := *given.Approver
		person := approval.Person{EntityID: name, Name: name}
		groups := append(slices.Clone(roster[name].Groups), given.ApproverGroups...)
		roster[name] = approval.Standing{Person: person, Exists: true, Groups: groups}
		decisions = append(decisions, approval.Decision{Approver: person, Verdict: approval.Approve})
	}
	resp.Error = resp.Result.Set(ctx, verdictOf(approval.Count(policy, approval.Person{}, decisions, roster)))
}

func verdictOf(v approval.Tally) quorumVerdict {
	verdict := quorumVerdict{Met: v.Quorum, Missing: []string{}}
	for _, rule := range v.Rules {
		counted := []string{}
		for _, person := range rule.CountedBy {
			counted = append(counted, person.Name)
		}
		verdict.Rules = append(verdict.Rules, quorumRuleVerdict{
			Name: rule.Name, ApprovalsRequired: int64(rule.Approvals), ApprovalsCounted: int64(rule.Counted), Satisfied: rule.Satisfied, Counted: counted,
		})
		if missing := rule.Missing(nil); missing != "" {
			verdict.Missing = append(verdict.Missing, missing)
		}
	}
	return verdict
}
