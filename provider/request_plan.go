package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/resource/schema/mapplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
)

const (
	// importedKey marks a request that was imported: "true" until it is given keepers.
	importedKey = "imported"
	// windowKey marks a request whose ttl was configured when it was made.
	windowKey = "ttl"
	// seenKey is what was last seen of a request, in JSON.
	seenKey = "seen"

	seenWaiting = `"waiting"`
	seenOver    = `"over"`
	// seenReached is what an apply writes: since then, nobody looked.
	seenReached = `"reached"`
)

// keptWindow keeps the window that the policy gave, and asks for another one when the ttl is configured no more.
type keptWindow struct{}

func (keptWindow) Description(context.Context) string               { return "A ttl that is removed is a change." }
func (k keptWindow) MarkdownDescription(ctx context.Context) string { return k.Description(ctx) }

func (keptWindow) PlanModifyString(ctx context.Context, req planmodifier.StringRequest, resp *planmodifier.StringResponse) {
	configured, diags := req.Private.GetKey(ctx, windowKey)
	resp.Diagnostics.Append(diags...)
	if req.ConfigValue.IsNull() && !req.StateValue.IsNull() && configured == nil {
		resp.PlanValue = req.StateValue
	}
}

// importedParameters keeps what an imported request has, which is what was asked and the role's defaults, when the
// configuration has part of it.
type importedParameters struct{}

func (importedParameters) Description(context.Context) string {
	return "An imported request also has the role's defaults."
}
func (i importedParameters) MarkdownDescription(ctx context.Context) string {
	return i.Description(ctx)
}

func (importedParameters) PlanModifyMap(ctx context.Context, req planmodifier.MapRequest, resp *planmodifier.MapResponse) {
	imported, diags := req.Private.GetKey(ctx, importedKey)
	resp.Diagnostics.Append(diags...)
	if imported == nil || req.PlanValue.IsUnknown() {
		return
	}
	has := req.StateValue.Elements()
	for name, value := range req.PlanValue.Elements() {
		if value.IsUnknown() || (!value.IsNull() && !value.Equal(has[name])) {
			return
		}
	}
	resp.PlanValue = req.StateValue
}

func replaceByKeepers(ctx context.Context, req planmodifier.MapRequest, resp *mapplanmodifier.RequiresReplaceIfFuncResponse) {
	imported, diags := req.Private.GetKey(ctx, importedKey)
	resp.Diagnostics.Append(diags...)
	resp.RequiresReplace = string(imported) != "true" || !req.StateValue.IsNull()
}
