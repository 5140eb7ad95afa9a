package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
	"github.com/vault-jit/vault-jit/provider/run"
)

var _ resource.ResourceWithModifyPlan = (*requestResource)(nil)

// requestResource is a request. It cannot be changed: every change makes a new one.
type requestResource struct {
	object.Resource
	data *object.Data
}

func newRequestResource() resource.Resource {
	return &requestResource{Resource: object.Resource{
		Kind: object.Kind{Word: "request", Table: wire.RequestTable,
			About: "A request for a role, made when it is applied. A request cannot be changed, so every change makes a new one. Destroying it " +
				"cancels it, or ends its grant. It holds the request's id and what it came to, as of the last refresh: an apply that claims does not read it again. It never holds a secret: the " +
				"credential comes from the ephemeral resource `vaultjit_credentials`.\n\nThe provider's login is who asks, and needs an entity: a root token cannot ask. Of the parameters, " +
				"one that is null is not given; an imported request also has the role's defaults, which the configuration need not have."},
		More: map[string]schema.Attribute{
			"claim_id": schema.StringAttribute{Computed: true, MarkdownDescription: "The request's id, for the `claim_id` of `vaultjit_credentials`. As long as the " +
				"request waits for its quorum or its claim, every plan shows that this is known only after the apply: so a plan never claims, and the apply does. " +
				"So a plan is not empty while the request waits, even if nothing claims it."},
			"keepers": schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "Any values; when one changes, a new request is " +
				"made. A request is granted once, so whatever runs again needs new keepers. An imported request takes over its first keepers."},
		},
		Check: checkAsk,
	}}
}

func (r *requestResource) Configure(ctx context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.Resource.Configure(ctx, req, resp)
	r.data, _ = req.ProviderData.(*object.Data)
}

// checkAsk checks what would be asked, as far as that does not depend on the role.
func checkAsk(given map[string]any, _ object.Values) error {
	if role, _ := given["role"].(string); role == "" {
		return refusal.New("role", "it is empty", "name the role to ask for")
	}
	reason, _ := given["reason"].(string)
	return refusal.In("reason", text.CheckProse(reason))
}

// readRequest reads a request with the provider's login.
func (r *requestResource) readRequest(ctx context.Context, id string) (wire.Request, error) {
	jit, err := r.Client(ctx)
	if err != nil {
		return wire.Request{}, err
	}
	return jit.Request(ctx, id)
}

func (r *requestResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	plan := object.ReadValues(req.Plan.Raw)
	fields, err := r.Table.Decode(plan.Give(r.Table))
	var jit *client.Client
	if err == nil {
		jit, err = r.Client(ctx)
	}
	var request wire.Request
	if err == nil {
		request, err = jit.AskWith(ctx, fields)
	}
	if err != nil {
		object.Refuse(&resp.Diagnostics, r.Table, fmt.Sprintf("Cannot ask for role %q", plan.Text("role")), err)
		return
	}
	r.data.Run.NoteMade(request.ID)
	if plan["ttl"].IsKnown() {
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, windowKey, []byte("true"))...)
	}
	r.reach(ctx, request, plan, resp.Private, &resp.State, &resp.Diagnostics)
}

// private is what the framework keeps beside the state.
type private interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

// reach has this apply claim the request, if anything does.
func (r *requestResource) reach(ctx context.Context, request wire.Request, plan object.Values, kept private, state *tfsdk.State, diags *diag.Diagnostics) {
	r.data.Run.NoteReached(request.ID)
	diags.Append(kept.SetKey(ctx, seenKey, []byte(seenReached))...)
	r.fill(ctx, request, plan, state, diags)
}

// fill takes over what the engine answered where the values leave it open. What was asked stays as it is spelled, and
// parameters as they are configured: the engine adds the role's defaults.
func (r *requestResource) fill(ctx context.Context, request wire.Request, values object.Values, state *tfsdk.State, diags *diag.Diagnostics) {
	answer, err := wire.Encode(request)
	if err != nil {
		diags.AddError("Cannot show request "+request.ID, err.Error())
		return
	}
	shown := object.Show(ctx, r.Table, state.Schema.Type(), answer)
	for name, value := range values {
		if value.IsFullyKnown() {
			shown[name] = value
		}
	}
	shown["claim_id"] = shown["id"]
	state.Raw = shown.Raw(ctx, state.Schema.Type())
}

func (r *requestResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	state := object.ReadValues(req.State.Raw)
	id := state.Text("id")
	request, err := r.readRequest(ctx, id)
	if errors.Is(err, client.ErrAbsent) {
		resp.Diagnostics.AddWarning("A request is taken to be gone", err.Error()+". It was kept no longer, or it is another login's, and then it may still be "+
			"open and its grant alive.")
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot read request "+id, adviseOnMount(err))
		return
	}
	r.data.Run.NotePlanned(id)
	seen := seenOver
	if run.Waits(request) {
		seen = seenWaiting
	}
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, seenKey, []byte(seen))...)
	kept := object.Values{"keepers": state["keepers"]}
	if !state["role"].IsNull() { // else it is being imported
		for _, f := range r.Table.Accepted() {
			if !state[f.Name].IsNull() {
				kept[f.Name] = state[f.Name] // it never changes
			}
		}
	}
	r.fill(ctx, request, kept, &resp.State, &resp.Diagnostics)
}

// Update gives a request that waits to this apply, and takes over the keepers of an imported one.
func (r *requestResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	plan := object.ReadValues(req.Plan.Raw)
	imported, problems := req.Private.GetKey(ctx, importedKey)
	resp.Diagnostics.Append(problems...)
	if imported != nil && !plan["keepers"].IsNull() {
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, importedKey, []byte("false"))...)
	}
	if plan["claim_id"].IsKnown() {
		resp.State.Raw = req.Plan.Raw
		return
	}
	request, err := r.readRequest(ctx, plan.Text("id"))
	if err != nil {
		resp.Diagnostics.AddError("Cannot read request "+plan.Text("id"), adviseOnMount(err))
		return
	}
	if !run.Waits(request) {
		resp.Diagnostics.AddAttributeError(path.Root("claim_id"), "There is nothing to claim", run.Describe(request)+". "+askAgain)
		return
	}
	r.reach(ctx, request, plan, resp.Private, &resp.State, &resp.Diagnostics)
}

// Delete cancels the request or ends its grant. A request that is over, or gone, needs nothing.
func (r *requestResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	id := object.ReadValues(req.State.Raw).Text("id")
	var warnings []string
	jit, err := r.Client(ctx)
	if err == nil {
		warnings, err = run.End(ctx, jit, id, true)
	}
	for _, warning := range warnings {
		resp.Diagnostics.AddWarning("The end of the grant is not confirmed", warning)
	}
	switch {
	case errors.Is(err, client.ErrAbsent):
		resp.Diagnostics.AddWarning("There is no request to end", err.Error()+". If it is another login's, it may still be open and its grant alive.")
	case err != nil:
		resp.Diagnostics.AddError("Cannot end request "+id, adviseOnMount(err))
	}
}

// adviseOnMount says what to do if the mount is gone. A grant might be alive behind a mount that is misspelt.
func adviseOnMount(err error) string {
	if !errors.Is(err, client.ErrNoMount) {
		return err.Error()
	}
	return fmt.Sprintf("%v. If the mount was disabled, the request and its grant went with it: forget it with `terraform state rm`.", err)
}

// ImportState imports by the request's id.
func (r *requestResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	if err := text.CheckRequestID(req.ID); err != nil {
		resp.Diagnostics.AddError("Not an import id", err.Error())
		return
	}
	resource.ImportStatePassthroughID(ctx, path.Root("id"), req, resp)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, importedKey, []byte("true"))...)
}
