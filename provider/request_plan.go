package provider

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/provider/object"
	"github.com/vault-jit/vault-jit/provider/run"
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

// ModifyPlan has every change of what was asked make a new request. As long as a request waits, it marks claim_id
// unknown: what takes it is then opened in the apply and not in the plan.
func (r *requestResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() || req.State.Raw.IsNull() {
		return
	}
	kept := map[string]string{}
	for _, key := range []string{importedKey, windowKey, seenKey} {
		value, problems := req.Private.GetKey(ctx, key)
		resp.Diagnostics.Append(problems...)
		kept[key] = string(value)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	change := object.ReadChange(req.Config, req.Plan, req.State)
	keepAsked(change, kept)
	object.Settle(r.Table, change, &resp.RequiresReplace)
	if !change.Plan["keepers"].Equal(change.State["keepers"]) && (kept[importedKey] != "true" || !change.State["keepers"].IsNull()) {
		resp.RequiresReplace = append(resp.RequiresReplace, path.Root("keepers"))
	}
	if len(resp.RequiresReplace) == 0 {
		for _, f := range r.Table.All() {
			if f.Computed {
				change.Plan[f.Name] = change.State[f.Name]
			}
		}
		change.Plan["claim_id"] = r.planClaimID(ctx, change.State, kept[seenKey])
	}
	resp.Plan.Raw = change.Plan.Raw(ctx, req.Plan.Schema.Type())
}

// keepAsked keeps the window that the policy gave, and asks for another one when the ttl is configured no more. It keeps
// the parameters of an imported request, which are what was asked and the role's defaults, when the configuration has part
// of them.
func keepAsked(change object.Change, kept map[string]string) {
	if change.Config["ttl"].IsNull() {
		change.Plan["ttl"] = change.State["ttl"]
		if kept[windowKey] != "" {
			change.Plan["ttl"] = unknownText
		}
	}
	if kept[importedKey] == "" || !change.Plan["parameters"].IsKnown() {
		return
	}
	has := object.ReadValues(change.State["parameters"])
	for name, value := range object.ReadValues(change.Plan["parameters"]) {
		if !value.IsKnown() || (!value.IsNull() && !value.Equal(has[name])) {
			return
		}
	}
	change.Plan["parameters"] = change.State["parameters"]
}

// planClaimID is the request's id, or unknown while the request waits, or may: where the engine cannot be asked, the apply
// asks again.
func (r *requestResource) planClaimID(ctx context.Context, state object.Values, seen string) tftypes.Value {
	if r.data == nil {
		return unknownText
	}
	id := state.Text("id")
	r.data.Run.NotePlanned(id)
	// An apply plans again. A request that ended since the plan must not turn this into no change: the update says so.
	if seen == seenWaiting {
		return unknownText
	}
	request, err := r.readRequest(ctx, id)
	switch {
	case errors.Is(err, client.ErrAbsent): // there is nothing to claim
	case err != nil || run.Waits(request):
		return unknownText
	}
	return state["id"]
}

var unknownText = tftypes.NewValue(tftypes.String, tftypes.UnknownValue)
