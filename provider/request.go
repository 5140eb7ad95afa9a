package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/mapplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/objectplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/client"
	plaintext "github.com/vault-jit/vault-jit/plugin/text"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
	"github.com/vault-jit/vault-jit/provider/run"
)

var (
	_ resource.ResourceWithConfigure   = (*requestResource)(nil)
	_ resource.ResourceWithImportState = (*requestResource)(nil)
	_ resource.ResourceWithModifyPlan  = (*requestResource)(nil)
)

type requestResource struct{ *object.Data }

func newRequestResource() resource.Resource { return &requestResource{} }

type requestModel struct {
	ID         types.String    `tfsdk:"id"`
	ClaimID    types.String    `tfsdk:"claim_id"`
	Role       types.String    `tfsdk:"role"`
	Reason     types.String    `tfsdk:"reason"`
	TTL        object.Duration `tfsdk:"ttl"`
	Parameters types.Map       `tfsdk:"parameters"`
	Keepers    types.Map       `tfsdk:"keepers"`
	CreatedAt  types.String    `tfsdk:"created_at"`
	Requester  types.Object    `tfsdk:"requester"`
}

func (r *requestResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = typePrefix + "_request"
}

func (r *requestResource) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	r.Data, _ = req.ProviderData.(*object.Data)
}

func (r *requestResource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	describe := func(name string) string {
		field, _ := wire.RequestTable.Find(name)
		return field.Markdown()
	}
	kept := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	resp.Schema = schema.Schema{
		MarkdownDescription: "A request for a role, made when it is applied. A request cannot be changed, so every change makes a new one. Destroying it " +
			"cancels it, or ends its grant. It holds the request's id and never a secret: the credential comes from the ephemeral resource " +
			"`vaultjit_credentials`.\n\nThe provider's login is who asks, and needs an entity: a root token cannot ask.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{Computed: true, MarkdownDescription: describe("id"), PlanModifiers: kept},
			"claim_id": schema.StringAttribute{Computed: true, MarkdownDescription: "The request's id, for the `claim_id` of `vaultjit_credentials`. As long as the " +
				"request waits for its quorum or its claim, every plan shows that this is known only after the apply: so a plan never claims, and the apply does. " +
				"So a plan is not empty while the request waits, even if nothing claims it."},
			"role": schema.StringAttribute{Required: true, MarkdownDescription: describe("role"),
				PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
				Validators:    []validator.String{stringvalidator.LengthAtLeast(1)}},
			"reason": schema.StringAttribute{Optional: true, MarkdownDescription: describe("reason"),
				PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
				Validators:    []validator.String{stringvalidator.LengthBetween(1, plaintext.MaxBytes)}},
			"ttl": schema.StringAttribute{Optional: true, Computed: true, CustomType: object.DurationType{}, MarkdownDescription: describe("ttl"),
				PlanModifiers: []planmodifier.String{object.SameDuration{}, keptWindow{}, stringplanmodifier.RequiresReplace()}},
			"parameters": schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: describe("parameters") +
				" One that is null is not given. An imported request also has the role's defaults, which the configuration need not have.",
				PlanModifiers: []planmodifier.Map{importedParameters{}, mapplanmodifier.RequiresReplace()}},
			"keepers": schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "Any values; when one changes, a new request is " +
				"made. A request is granted once, so whatever runs again needs new keepers.",
				PlanModifiers: []planmodifier.Map{mapplanmodifier.RequiresReplaceIf(replaceByKeepers,
					"An imported request takes over its first keepers.", "An imported request takes over its first keepers.")}},
			"created_at": schema.StringAttribute{Computed: true, MarkdownDescription: describe("created_at"), PlanModifiers: kept},
			"requester": schema.SingleNestedAttribute{Computed: true, MarkdownDescription: describe("requester"),
				PlanModifiers: []planmodifier.Object{objectplanmodifier.UseStateForUnknown()},
				Attributes:    object.MakeAttributes(wire.PersonTable.ReadOnly(), true)},
		},
	}
}

// ModifyPlan marks claim_id unknown as long as the request waits: what takes it is then opened in the apply and not in
// the plan.
func (r *requestResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() || req.State.Raw.IsNull() {
		return
	}
	var id types.String
	seen, problems := req.Private.GetKey(ctx, seenKey)
	resp.Diagnostics.Append(problems...)
	if resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("id"), &id)...); resp.Diagnostics.HasError() {
		return
	}
	claimID := id
	if r.Data != nil {
		r.Run.NotePlanned(id.ValueString())
	}
	// An apply plans again. A request that ended since the plan must not turn this into no change: the update says so.
	if string(seen) == seenWaiting || r.waits(ctx, id.ValueString()) {
		claimID = types.StringUnknown()
	}
	resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("claim_id"), claimID)...)
}

// waits reports whether the request waits, or may: where the engine cannot be asked, the apply asks again.
func (r *requestResource) waits(ctx context.Context, id string) bool {
	if r.Data == nil {
		return true
	}
	request, err := r.read(ctx, id)
	return err != nil || run.Waits(request)
}

func (r *requestResource) read(ctx context.Context, id string) (wire.Request, error) {
	jit, err := r.Client(ctx)
	if err != nil {
		return wire.Request{}, err
	}
	return jit.Request(ctx, id)
}

func (r *requestResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m requestModel
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	ask := wire.Ask{Role: m.Role.ValueString(), Reason: m.Reason.ValueString(), TTL: m.TTL.Seconds(), Parameters: map[string]string{}}
	for name, element := range m.Parameters.Elements() {
		if value, ok := element.(types.String); ok && !value.IsNull() { // null is what is not given
			ask.Parameters[name] = value.ValueString()
		}
	}
	var request wire.Request
	jit, err := r.Client(ctx)
	if err == nil {
		request, err = jit.Ask(ctx, ask)
	}
	if err != nil {
		object.Refuse(&resp.Diagnostics, wire.RequestTable, fmt.Sprintf("Cannot ask for role %q", ask.Role), err)
		return
	}
	r.Run.NoteMade(request.ID)
	r.reach(ctx, request, &m, resp.Private, &resp.Diagnostics)
	if ask.TTL > 0 {
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, windowKey, []byte("true"))...)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// private is what the framework keeps beside the state.
type private interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

// reach has this apply claim the request, if anything does.
func (r *requestResource) reach(ctx context.Context, request wire.Request, m *requestModel, kept private, diags *diag.Diagnostics) {
	r.Run.NoteReached(request.ID)
	diags.Append(kept.SetKey(ctx, seenKey, []byte(seenReached))...)
	m.fill(request)
}

// fill takes over what the engine answered. Parameters are left as configured: the engine adds the role's defaults.
func (m *requestModel) fill(request wire.Request) {
	m.ID, m.ClaimID, m.Role = types.StringValue(request.ID), types.StringValue(request.ID), types.StringValue(request.Role)
	m.CreatedAt = types.StringValue(request.CreatedAt.String())
	if m.Reason.IsNull() && request.Reason != "" {
		m.Reason = types.StringValue(request.Reason)
	}
	if m.TTL.Seconds() != request.TTL {
		m.TTL = object.Spell(request.TTL)
	}
	m.Requester = types.ObjectValueMust(map[string]attr.Type{"entity_id": types.StringType, "name": types.StringType}, map[string]attr.Value{
		"entity_id": types.StringValue(request.Requester.EntityID), "name": types.StringValue(request.Requester.Name),
	})
}

func (r *requestResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m requestModel
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	id := m.ID.ValueString()
	request, err := r.read(ctx, id)
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
	r.Run.NotePlanned(id)
	seen := seenOver
	if run.Waits(request) {
		seen = seenWaiting
	}
	if m.Role.IsNull() && len(request.Parameters) > 0 { // imported
		var problems diag.Diagnostics
		m.Parameters, problems = types.MapValueFrom(ctx, types.StringType, request.Parameters)
		resp.Diagnostics.Append(problems...)
	}
	m.fill(request)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, seenKey, []byte(seen))...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// Update gives a request that waits to this apply, and takes over the keepers of an imported one.
func (r *requestResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var m requestModel
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	if m.ClaimID.IsUnknown() {
		request, err := r.read(ctx, m.ID.ValueString())
		if err == nil && !run.Waits(request) {
			err = fmt.Errorf("%s. %s", run.Describe(request), askAgain)
		}
		if err != nil {
			resp.Diagnostics.AddAttributeError(path.Root("claim_id"), "There is nothing to claim", err.Error())
			return
		}
		r.reach(ctx, request, &m, resp.Private, &resp.Diagnostics)
	}
	if !m.Keepers.IsNull() {
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, importedKey, []byte("false"))...)
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// Delete cancels the request or ends its grant. A request that is over, or gone, needs nothing.
func (r *requestResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var id types.String
	if resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("id"), &id)...); resp.Diagnostics.HasError() {
		return
	}
	var warnings []string
	jit, err := r.Client(ctx)
	if err == nil {
		warnings, err = run.End(ctx, jit, id.ValueString(), true)
	}
	for _, warning := range warnings {
		resp.Diagnostics.AddWarning("The end of the grant is not confirmed", warning)
	}
	switch {
	case errors.Is(err, client.ErrAbsent):
		resp.Diagnostics.AddWarning("There is no request to end", err.Error()+". If it is another login's, it may still be open and its grant alive.")
	case err != nil:
		resp.Diagnostics.AddError("Cannot end request "+id.ValueString(), adviseOnMount(err))
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
	if err := plaintext.CheckRequestID(req.ID); err != nil {
		resp.Diagnostics.AddError("Not an import id", err.Error())
		return
	}
	resource.ImportStatePassthroughID(ctx, path.Root("id"), req, resp)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, importedKey, []byte("true"))...)
}
