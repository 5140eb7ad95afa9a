package provider

import (
	"context"
	"errors"
	"fmt"

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

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"

	plaintext "github.com/vault-jit/vault-jit/plugin/text"

	"github.com/vault-jit/vault-jit/provider/object"
)

var (
	_ resource.ResourceWithConfigure   = (*requestResource)(nil)
	_ resource.ResourceWithImportState = (*requestResource)(nil)
)

type requestResource struct{ engine *engine }

func newRequestResource() resource.Resource { return &requestResource{} }

type requestModel struct {
	ID         types.String    `tfsdk:"id"`
	Role       types.String    `tfsdk:"role"`
	Reason     types.String    `tfsdk:"reason"`
	TTL        object.Duration `tfsdk:"ttl"`
	Parameters types.Map       `tfsdk:"parameters"`
	Keepers    types.Map       `tfsdk:"keepers"`
	CreatedAt  types.String    `tfsdk:"created_at"`
	Requester  types.Object    `tfsdk:"requester"`
}

func (r *requestResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = typeName("request")
}

func (r *requestResource) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	r.engine = engineOf(req.ProviderData)
}

func (r *requestResource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "A request for a role, made when it is applied. A request cannot be changed, so every change makes a new one. Destroying it " +
			"cancels it, or ends its grant. It holds the request's id and never a secret: the credential comes from the ephemeral resource " +
			"`vaultjit_credentials`.\n\nThe provider's login is who asks, and needs an entity: a root token cannot ask.",
		Attributes: map[string]schema.Attribute{
			"id": schema.StringAttribute{Computed: true, MarkdownDescription: "The request's id.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()}},
			"role": schema.StringAttribute{Required: true, MarkdownDescription: "The role to ask for.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
				Validators:    []validator.String{stringvalidator.LengthAtLeast(1)}},
			"reason": schema.StringAttribute{Optional: true, MarkdownDescription: "Why, for the approvers and the record. Most policies require one.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
				Validators:    []validator.String{stringvalidator.LengthBetween(1, plaintext.MaxBytes)}},
			"ttl": schema.StringAttribute{Optional: true, Computed: true, CustomType: object.DurationType{},
				MarkdownDescription: "For how long, from the claim on: whole seconds, or such as `15m`. Default: the `default_ttl` of the role's policy.",
				PlanModifiers:       []planmodifier.String{object.SameDuration{}, keptWindow{}, stringplanmodifier.RequiresReplace()}},
			"parameters": schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "The role's parameters. One that is null is not given. " +
				"An imported request also has the role's defaults, which the configuration need not have.",
				PlanModifiers: []planmodifier.Map{importedParameters{}, mapplanmodifier.RequiresReplace()}},
			"keepers": schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: "Any values; when one changes, a new request is " +
				"made. A request is granted once, so whatever runs again needs new keepers.",
				PlanModifiers: []planmodifier.Map{mapplanmodifier.RequiresReplaceIf(replacedByKeepers,
					"An imported request takes over its first keepers.", "An imported request takes over its first keepers.")}},
			"created_at": schema.StringAttribute{Computed: true, MarkdownDescription: "When it was made, RFC 3339.",
				PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()}},
			"requester": schema.SingleNestedAttribute{Computed: true, MarkdownDescription: "Who asked.",
				PlanModifiers: []planmodifier.Object{objectplanmodifier.UseStateForUnknown()},
				Attributes: map[string]schema.Attribute{
					"entity_id": schema.StringAttribute{Computed: true, MarkdownDescription: "Vault entity of the requester."},
					"name":      schema.StringAttribute{Computed: true, MarkdownDescription: "Login name of the requester."},
				}},
		},
	}
}

const (
	// importedKey marks a request that was imported: "true" until it is given keepers.
	importedKey = "imported"
	// windowKey marks a request whose ttl was configured when it was made.
	windowKey = "ttl"
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

func replacedByKeepers(ctx context.Context, req planmodifier.MapRequest, resp *mapplanmodifier.RequiresReplaceIfFuncResponse) {
	imported, diags := req.Private.GetKey(ctx, importedKey)
	resp.Diagnostics.Append(diags...)
	resp.RequiresReplace = string(imported) != "true" || !req.StateValue.IsNull()
}

func (r *requestResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m requestModel
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	data := map[string]any{"role": m.Role.ValueString(), "reason": m.Reason.ValueString()}
	if window := m.TTL.Seconds(); window > 0 {
		data["ttl"] = int64(window)
	}
	if parameters := stringsIn(m.Parameters); len(parameters) > 0 {
		data["parameters"] = parameters
	}
	failed := fmt.Sprintf("Cannot ask for role %q", m.Role.ValueString())
	answer, err := r.engine.write(ctx, "request", data)
	if err == nil && answer == nil {
		err = errors.New("the engine answered nothing")
	}
	var a requestAnswer
	if err == nil {
		a, err = decode[requestAnswer](answer.Data)
	}
	if err != nil {
		r.blame(ctx, &resp.Diagnostics, failed, err)
		return
	}
	r.engine.nowMade(a.ID)
	if window := m.TTL.Seconds(); window > 0 {
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, windowKey, []byte("true"))...)
	}
	m.fill(a)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func stringsIn(m types.Map) map[string]string {
	values := map[string]string{}
	for name, element := range m.Elements() {
		if value, ok := element.(types.String); ok && !value.IsNull() { // null is what is not given
			values[name] = value.ValueString()
		}
	}
	return values
}

// fill takes over what the engine answered. Parameters are left as configured: the engine adds the role's defaults.
func (m *requestModel) fill(a requestAnswer) {
	m.ID, m.Role = types.StringValue(a.ID), types.StringValue(a.Role)
	m.CreatedAt = types.StringValue(a.CreatedAt)
	if m.Reason.IsNull() && a.Reason != "" {
		m.Reason = types.StringValue(a.Reason)
	}
	if window := a.window(); m.TTL.Seconds() != window.Seconds() {
		m.TTL = window
	}
	m.Requester = types.ObjectValueMust(personTypes, map[string]attr.Value{
		"entity_id": types.StringValue(a.Requester.EntityID), "name": types.StringValue(a.Requester.Name),
	})
}

func (r *requestResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m requestModel
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	a, err := r.engine.request(ctx, m.ID.ValueString())
	if errors.Is(err, errAbsent) {
		resp.Diagnostics.AddWarning("A request is taken to be gone", err.Error()+". It was kept no longer, or it is another login's, and then it may still be "+
			"open and its grant alive.")
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot read request "+m.ID.ValueString(), withoutMount(err))
		return
	}
	if m.Role.IsNull() && len(a.Parameters) > 0 { // imported
		m.Parameters = stringsMap(a.Parameters)
	}
	m.fill(a)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// Update only takes over the keepers of an imported request.
func (r *requestResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var m requestModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, importedKey, []byte("false"))...)
}

// Delete cancels the request or ends its grant. A request that is over, or gone, needs nothing.
func (r *requestResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var id types.String
	if resp.Diagnostics.Append(req.State.GetAttribute(ctx, path.Root("id"), &id)...); resp.Diagnostics.HasError() {
		return
	}
	warnings, err := r.engine.settle(ctx, id.ValueString(), true)
	for _, warning := range warnings {
		resp.Diagnostics.AddWarning("The end of the grant is not confirmed", warning)
	}
	switch {
	case errors.Is(err, errAbsent):
		resp.Diagnostics.AddWarning("There is no request to end", err.Error()+". If it is another login's, it may still be open and its grant alive.")
	case err != nil:
		resp.Diagnostics.AddError("Cannot end request "+id.ValueString(), withoutMount(err))
	}
}

// withoutMount says what to do if the mount is gone. A grant might be alive behind a mount that is misspelt.
func withoutMount(err error) string {
	if !errors.Is(err, errNoMount) {
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

func (r *requestResource) blame(ctx context.Context, diags *diag.Diagnostics, summary string, err error) {
	var shape resource.SchemaResponse
	r.Schema(ctx, resource.SchemaRequest{}, &shape)
	blame(diags, summary, err, shape.Schema.Attributes)
}
