package provider

import (
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

var policyKind = object.Kind{
	Word: "policy", Collection: "policies", Table: wire.PolicyTable,
	About: "An approval policy: who must agree to a request, and within which limits. Tightening a policy reaches requests that are already approved; " +
		"loosening it does not.\n\nDurations are whole seconds or such as `1h30m`; another spelling of the same duration is no change.",
}

func newPolicyResource() resource.Resource {
	return &object.Resource{Kind: policyKind, AlsoAbout: replacedFirst, Check: checkPolicy, References: listGroupsOf, Plan: planWindow}
}

func newPolicySource() datasource.DataSource { return object.NewSource(policyKind) }

func checkPolicy(given map[string]any, _ object.Values) error {
	return validate(wire.Define[approval.Policy](wire.PolicyTable, "", nil, given))
}

func listGroupsOf(given map[string]any) []object.Reference {
	var all []object.Reference
	rules, _ := given["rules"].([]any)
	for i, item := range rules {
		rule, _ := item.(map[string]any)
		groups, _ := rule["approver_groups"].([]any)
		for _, group := range groups {
			name, _ := group.(string)
			all = append(all, object.Reference{To: approverGroupKind, Name: name, Field: fmt.Sprintf("rules[%d].approver_groups", i)})
		}
	}
	return all
}

// planWindow shows the default window that the engine will show: where none is configured it follows from the longest one.
func planWindow(change object.Change, _ *diag.Diagnostics) {
	const field = "default_ttl"
	longest, err := wire.ParseSeconds(change.Plan.Text("max_ttl"))
	if !change.Config[field].IsNull() || err != nil {
		return
	}
	window := approval.Policy{MaxTTL: longest.Duration()}.WindowDefault()
	change.Plan[field] = tftypes.NewValue(tftypes.String, wire.ToSeconds(window).String())
}
