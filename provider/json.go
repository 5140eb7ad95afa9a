package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-jsontypes/jsontypes"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
)

var _ planmodifier.String = sameJSON{}

// sameJSON keeps the spelling that is in the state when the configuration has another one of the same JSON value, so
// that there is nothing to plan.
type sameJSON struct{}

func (sameJSON) Description(context.Context) string               { return "Another spelling is no change." }
func (s sameJSON) MarkdownDescription(ctx context.Context) string { return s.Description(ctx) }

func (sameJSON) PlanModifyString(ctx context.Context, req planmodifier.StringRequest, resp *planmodifier.StringResponse) {
	if req.StateValue.IsNull() || req.PlanValue.IsUnknown() {
		return
	}
	before, after := jsontypes.Normalized{StringValue: req.StateValue}, jsontypes.Normalized{StringValue: req.PlanValue}
	if same, diags := before.StringSemanticEquals(ctx, after); same && !diags.HasError() {
		resp.PlanValue = req.StateValue
	}
}
