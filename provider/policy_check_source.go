package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

var _ datasource.DataSourceWithConfigure = (*policyCheckSource)(nil)

// policyCheckSource tells whether a policy can be met by the people there are.
type policyCheckSource struct{ engine *engine }

func newPolicyCheckSource() datasource.DataSource { return &policyCheckSource{} }

type policyCheck struct {
	Name        string        `json:"-" tfsdk:"name"`
	Satisfiable bool          `json:"satisfiable" tfsdk:"satisfiable"`
	Known       bool          `json:"known" tfsdk:"known"`
	DependsOn   []person      `json:"depends_on" tfsdk:"depends_on_people"`
	Rules       []ruleOutlook `json:"rules" tfsdk:"rules"`
}

type ruleOutlook struct {
	Name              string   `json:"name" tfsdk:"name"`
	ApproverGroups    []string `json:"approver_groups" tfsdk:"approver_groups"`
	ApprovalsRequired int64    `json:"approvals_required" tfsdk:"approvals_required"`
	Satisfiable       bool     `json:"satisfiable" tfsdk:"satisfiable"`
	Known             bool     `json:"known" tfsdk:"known"`
	Candidates        []person `json:"candidates" tfsdk:"candidates"`
	Spare             int64    `json:"spare" tfsdk:"spare"`
}

func (s *policyCheckSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = typeName("policy check")
}

func (s *policyCheckSource) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	s.engine, _ = req.ProviderData.(*engine)
}

func (s *policyCheckSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Whether a policy can be met by the people there are now: by whom, with how many to spare, and whether it depends on " +
			"single people. With it a `check` block warns, and a precondition fails, before a policy is needed that nobody could satisfy.\n\n" +
			"The engine finds members through `identity/group/id/*`; where it may not read that, `known` is false and there may be more people than " +
			"shown. A requester never counts for their own request, unless the policy allows it, so somebody in an approver group who asks needs one more.",
		Attributes: map[string]schema.Attribute{
			"name":        schema.StringAttribute{Required: true, MarkdownDescription: "Name of the policy.", Validators: []validator.String{namesDefinition()}},
			"satisfiable": readTruth("Whether all rules can be met at once by distinct people who are known."),
			"known":       readTruth("Whether all members of all approver groups are known. If not, `satisfiable = false` means that it cannot be told."),
			// depends_on is Terraform's own word.
			"depends_on_people": readPeople("The people without whom the policy could not be met."),
			"rules": schema.ListNestedAttribute{Computed: true, MarkdownDescription: "The outlook of each rule.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"name":               readText("Name of the rule."),
					"approver_groups":    readTextList("Approver groups whose members can approve."),
					"approvals_required": readNumber("How many must approve."),
					"satisfiable":        readTruth("Whether there are enough people for it."),
					"known":              readTruth("Whether all who could count for it are known."),
					"candidates":         readPeople("Who could count for it."),
					"spare": readNumber("How many more people than needed it could have while every other rule is met; " +
						"negative when some are lacking."),
				}}},
		},
	}
}

func (s *policyCheckSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var name types.String
	if resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("name"), &name)...); resp.Diagnostics.HasError() {
		return
	}
	failed := fmt.Sprintf("Cannot check policy %q", name.ValueString())
	answer, err := s.engine.read(ctx, joinPath(policyCollection, name.ValueString())+"/check")
	if err != nil {
		resp.Diagnostics.AddError(failed, err.Error())
		return
	}
	if answer == nil {
		resp.Diagnostics.AddAttributeError(path.Root("name"), failed, fmt.Sprintf("There is no policy of this name at %q.", s.engine.mount))
		return
	}
	check, err := decode[policyCheck](answer)
	if err != nil {
		resp.Diagnostics.AddError(failed, err.Error())
		return
	}
	check.Name = name.ValueString()
	resp.Diagnostics.Append(resp.State.Set(ctx, &check)...)
}
