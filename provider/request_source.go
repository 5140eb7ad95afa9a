package provider

import (
	"context"
	"encoding/json"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

var _ datasource.DataSourceWithConfigure = (*requestSource)(nil)

// requestSource is one request with everything that the engine shows of it.
type requestSource struct{ engine *engine }

func newRequestSource() datasource.DataSource { return &requestSource{} }

type requestReading struct {
	ID             string            `tfsdk:"id"`
	Role           string            `tfsdk:"role"`
	State          string            `tfsdk:"state"`
	Reason         string            `tfsdk:"reason"`
	TTL            int64             `tfsdk:"ttl"`
	Parameters     map[string]string `tfsdk:"parameters"`
	Requester      person            `tfsdk:"requester"`
	CreatedAt      string            `tfsdk:"created_at"`
	ExpiresAt      string            `tfsdk:"expires_at"`
	Decisions      []decision        `tfsdk:"decisions"`
	Denials        int64             `tfsdk:"denials"`
	DenyThreshold  int64             `tfsdk:"deny_threshold"`
	Rules          []ruleVerdict     `tfsdk:"rules"`
	Grant          *grant            `tfsdk:"grant"`
	Path           string            `tfsdk:"path"`
	Operation      string            `tfsdk:"operation"`
	Data           string            `tfsdk:"data"`
	GrantPolicies  []string          `tfsdk:"grant_policies"`
	CannotTakeBack bool              `tfsdk:"cannot_be_taken_back"`
	Policy         string            `tfsdk:"policy"`
	PolicyVersion  int64             `tfsdk:"policy_version"`
	Claimable      bool              `tfsdk:"claimable"`
	Obstacles      []string          `tfsdk:"obstacles"`
	Digest         string            `tfsdk:"digest"`
}

func (s *requestSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = typeName("request")
}

func (s *requestSource) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	s.engine, _ = req.ProviderData.(*engine)
}

func (s *requestSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "One request: what was asked, exactly what a claim executes, who decided what and why it counts, and how the grant ended.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{Required: true, MarkdownDescription: "The request's id.",
				Validators: []validator.String{requestID{}}},
			"role":       readText("The role that was asked for."),
			"state":      readText("What the request amounts to now: `pending`, `approved`, `claiming`, `active`, `denied`, `cancelled`, `expired` or `ended`."),
			"reason":     readText("Why."),
			"ttl":        readNumber("For how long, in seconds from the claim on."),
			"parameters": readTextMap("The role's parameters, defaults included."),
			"requester":  readPerson("Who asked."),
			"created_at": readText("When it was made, RFC 3339."),
			"expires_at": readText("When it expires unless something happens, RFC 3339."),
			"decisions": schema.ListNestedAttribute{Computed: true, MarkdownDescription: "Each approver's current word.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"approver": readPerson("Who decided."),
					"verdict":  readText("`approve` or `deny`."),
					"comment":  readText("The approver's comment."),
					"at":       readText("When, RFC 3339."),
					"counts":   readTruth("Whether it counts."),
					"why":      readText("Why it counts, or does not."),
				}}},
			"denials":        readNumber("How many denials count."),
			"deny_threshold": readNumber("How many refuse the request for good."),
			"rules": schema.ListNestedAttribute{Computed: true, MarkdownDescription: "How far each rule of the policy is met.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"name":               readText("Name of the rule."),
					"approver_groups":    readTextList("Approver groups whose members can approve."),
					"approvals_required": readNumber("How many must approve."),
					"approvals_counted":  readNumber("How many approvals count."),
					"satisfied":          readTruth("Whether that is enough."),
					"counted":            readTextList("Names of those who count."),
					"can_approve":        readTextList("Names of those who can still approve, where the engine knows them."),
				}}},
			"grant": schema.SingleNestedAttribute{Computed: true, MarkdownDescription: "What the claim produced, and its end; null before the claim.",
				Attributes: map[string]schema.Attribute{
					"claimed_at": readText("When it was claimed, RFC 3339."),
					"expires_at": readText("The end of its window, RFC 3339."),
					"ended_at":   readText("When it ended, RFC 3339; empty while it lives."),
					"end_reason": readText("`window_end`, `revoked`, `lease_revoked` or `claim_failed`."),
					"ended_by":   readPerson("Who revoked it, for the end reason `revoked`."),
					"revocation": readText("`confirmed` once nothing of the grant is left, `pending` until then."),
					"last_error": readText("What stood in the way of the end at the last attempt."),
				}},
			"path":                 readText("The Vault path that a claim asks."),
			"operation":            readText("How: `read` or `write`."),
			"data":                 readText("With which data, JSON."),
			"grant_policies":       readTextList("Vault policies of the grant token."),
			"cannot_be_taken_back": readTruth("Whether the credential may outlive its window."),
			"policy":               readText("The policy that guards it."),
			"policy_version":       readNumber("Which version of the policy is frozen in the request."),
			"claimable":            readTruth("Whether it can be claimed now."),
			"obstacles":            readTextList("What stands in the way of a claim, in sentences."),
			"digest":               readText("SHA-256 of what was asked, which never changes."),
		},
	}
}

func (s *requestSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var id types.String
	if resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("id"), &id)...); resp.Diagnostics.HasError() {
		return
	}
	a, err := s.engine.request(ctx, id.ValueString())
	if err != nil {
		resp.Diagnostics.AddAttributeError(path.Root("id"), "Cannot read the request", err.Error())
		return
	}
	data, err := json.Marshal(a.Data)
	if err != nil {
		resp.Diagnostics.AddError("Cannot read the request", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &requestReading{
		ID: a.ID, Role: a.Role, State: string(a.State), Reason: a.Reason, TTL: a.TTL, Parameters: a.Parameters, Requester: a.Requester,
		CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt, Decisions: a.Decisions, Denials: a.Denials, DenyThreshold: a.DenyThreshold,
		Rules: a.Rules, Grant: a.Grant, Path: a.Path, Operation: a.Operation, Data: string(data), GrantPolicies: a.GrantPolicies,
		CannotTakeBack: a.CannotTakeBack, Policy: a.Policy, PolicyVersion: a.PolicyVersion, Claimable: a.Claimable, Obstacles: a.Obstacles,
		Digest: a.Digest,
	})...)
}
