package provider

import (
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

const (
	policyKind       = "policy"
	policyCollection = "policies"
)

type policy struct {
	Name              types.String `tfsdk:"name"`
	Rules             types.List   `tfsdk:"rules"`
	DenyThreshold     types.Int64  `tfsdk:"deny_threshold"`
	AllowSelfApproval types.Bool   `tfsdk:"allow_self_approval"`
	RequireReason     types.Bool   `tfsdk:"require_reason"`
	ReasonPattern     types.String `tfsdk:"reason_pattern"`
	RequestTTL        duration     `tfsdk:"request_ttl"`
	ClaimTTL          duration     `tfsdk:"claim_ttl"`
	DefaultTTL        duration     `tfsdk:"default_ttl"`
	MaxTTL            duration     `tfsdk:"max_ttl"`
	Description       types.String `tfsdk:"description"`
}

func newPolicyResource() resource.Resource {
	return &definition[policy, *policy]{kind: policyKind, collection: policyCollection, shape: policySchema()}
}

func newPolicySource() datasource.DataSource {
	return &definitionSource[policy, *policy]{kind: policyKind, collection: policyCollection, shape: policySchema()}
}

func policySchema() schema.Schema {
	return schema.Schema{
		MarkdownDescription: "An approval policy: who must agree to a request, and within which limits. Tightening a policy reaches requests " +
			"that are already approved; loosening it does not.\n\nDurations are whole seconds or such as `1h30m`; another spelling of the same " +
			"duration is no change.",
		Attributes: map[string]schema.Attribute{
			"name": nameAttribute(policyKind),
			"rules": schema.ListNestedAttribute{
				Required:            true,
				MarkdownDescription: "Who must approve. Every rule must be met, and one person counts for at most one of them.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"name": schema.StringAttribute{Required: true, MarkdownDescription: "Name of the rule, for people to read; unique in the policy."},
					"approver_groups": schema.SetAttribute{Required: true, ElementType: types.StringType,
						MarkdownDescription: "Names of the approver groups whose members can approve."},
					"approvals": schema.Int64Attribute{Required: true, MarkdownDescription: "How many distinct people of these groups must approve; at least 1."},
				}},
			},
			"deny_threshold":      numberAttribute(1, "How many eligible people must deny to refuse a request for good. Default: `1`."),
			"allow_self_approval": truthAttribute(false, "Whether the requester may count as an approver. Default: `false`."),
			"require_reason":      truthAttribute(true, "Whether a request must give a reason. Default: `true`."),
			"reason_pattern":      textAttribute("Regular expression (RE2) that the whole reason must match. Default: any reason."),
			"request_ttl":         durationAttribute("8h", "How long a request waits for its quorum. Default: `8h`."),
			"claim_ttl":           durationAttribute("1h", "How long an approval waits to be claimed. Default: `1h`."),
			"default_ttl":         durationAttribute("", "The window of a request that names none. Default: the smaller of `1h` and `max_ttl`."),
			"max_ttl":             durationAttribute("8h", "The longest window that can be asked for. Default: `8h`."),
			"description":         descriptionAttribute("What the policy is for."),
		},
	}
}

func (p *policy) key() string { return p.Name.ValueString() }

// value is the policy as the engine knows it, with stand-ins for what is absent or unknown.
func (p *policy) value() approval.Policy {
	standard := approval.NewPolicy("")
	v := approval.Policy{
		Name:              text(p.Name),
		Rules:             rulesOf(p.Rules),
		DenyThreshold:     number(p.DenyThreshold, standard.DenyThreshold),
		AllowSelfApproval: truth(p.AllowSelfApproval, standard.AllowSelfApproval),
		RequireReason:     truth(p.RequireReason, standard.RequireReason),
		ReasonPattern:     text(p.ReasonPattern),
		RequestTTL:        p.RequestTTL.or(standard.RequestTTL),
		ClaimTTL:          p.ClaimTTL.or(standard.ClaimTTL),
		DefaultTTL:        p.DefaultTTL.or(0),
		MaxTTL:            p.MaxTTL.or(standard.MaxTTL),
		Description:       text(p.Description),
	}
	if p.MaxTTL.IsUnknown() {
		v.MaxTTL = longestDuration
	}
	v.DefaultTTL = v.WindowDefault()
	return v
}

func (p *policy) validate() error { return p.value().Validate() }

func (p *policy) payload() map[string]any {
	v := p.value()
	return map[string]any{
		"rules": v.Rules, "deny_threshold": v.DenyThreshold, "allow_self_approval": v.AllowSelfApproval, "require_reason": v.RequireReason,
		"reason_pattern": v.ReasonPattern, "request_ttl": seconds(v.RequestTTL), "claim_ttl": seconds(v.ClaimTTL),
		"default_ttl": seconds(v.DefaultTTL), "max_ttl": seconds(v.MaxTTL), "description": v.Description,
	}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (p *policy) fill(name string, answer map[string]any) error {
	v, err := decode[approval.Policy](answer)
	if err != nil {
		return err
	}
	*p = policy{
		Name: types.StringValue(name), Rules: rulesList(v.Rules), DenyThreshold: types.Int64Value(int64(v.DenyThreshold)),
		AllowSelfApproval: types.BoolValue(v.AllowSelfApproval), RequireReason: types.BoolValue(v.RequireReason),
		ReasonPattern: types.StringValue(v.ReasonPattern), Description: types.StringValue(v.Description),
		// The API gives seconds.
		RequestTTL: durationOf(v.RequestTTL * time.Second), ClaimTTL: durationOf(v.ClaimTTL * time.Second),
		DefaultTTL: durationOf(v.DefaultTTL * time.Second), MaxTTL: durationOf(v.MaxTTL * time.Second),
	}
	return nil
}

func (p *policy) references() []reference {
	var all []reference
	for _, element := range p.Rules.Elements() {
		rule, ok := element.(types.Object)
		if !ok {
			continue
		}
		groups, _ := rule.Attributes()["approver_groups"].(types.Set)
		for _, group := range groups.Elements() {
			if name, ok := group.(types.String); ok && !name.IsUnknown() {
				all = append(all, reference{kind: approverGroupKind, collection: approverGroupCollection, name: name.ValueString(), at: path.Root("rules")})
			}
		}
	}
	return all
}

// settle gives the default window: where nothing is configured it follows from the longest one.
func (p *policy) settle(config *policy) {
	if !config.DefaultTTL.IsNull() || p.MaxTTL.IsUnknown() {
		return
	}
	window := durationOf(approval.Policy{MaxTTL: p.value().MaxTTL}.WindowDefault())
	if !p.DefaultTTL.same(window) {
		p.DefaultTTL = window
	}
}

var ruleTypes = map[string]attr.Type{
	"name": types.StringType, "approver_groups": types.SetType{ElemType: types.StringType}, "approvals": types.Int64Type,
}

// rulesOf takes rules out of a configuration; what is unknown becomes a rule that would be accepted.
func rulesOf(list types.List) []approval.Rule {
	if list.IsUnknown() {
		return []approval.Rule{{Name: "unknown", ApproverGroups: []string{"unknown"}, Approvals: 1}}
	}
	var rules []approval.Rule
	for i, element := range list.Elements() {
		rule := approval.Rule{Name: fmt.Sprintf("unknown-%d", i), ApproverGroups: []string{"unknown"}, Approvals: 1}
		if object, ok := element.(types.Object); ok && !object.IsUnknown() {
			if name, ok := object.Attributes()["name"].(types.String); ok && !name.IsUnknown() {
				rule.Name = name.ValueString()
			}
			if groups, ok := object.Attributes()["approver_groups"].(types.Set); ok {
				rule.ApproverGroups = texts(groups)
			}
			if approvals, ok := object.Attributes()["approvals"].(types.Int64); ok {
				rule.Approvals = number(approvals, 1)
			}
		}
		rules = append(rules, rule)
	}
	return rules
}

func rulesList(rules []approval.Rule) types.List {
	elements := make([]attr.Value, len(rules))
	for i, rule := range rules {
		elements[i] = types.ObjectValueMust(ruleTypes, map[string]attr.Value{
			"name": types.StringValue(rule.Name), "approver_groups": set(rule.ApproverGroups), "approvals": types.Int64Value(int64(rule.Approvals)),
		})
	}
	return types.ListValueMust(types.ObjectType{AttrTypes: ruleTypes}, elements)
}
