package provider

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/resourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

const (
	// configPath is where the engine keeps its configuration, and what it is imported by.
	configPath = "config"
	rotatePath = configPath + "/rotate-root"
)

var (
	_ resource.ResourceWithConfigure        = (*configResource)(nil)
	_ resource.ResourceWithImportState      = (*configResource)(nil)
	_ resource.ResourceWithValidateConfig   = (*configResource)(nil)
	_ resource.ResourceWithModifyPlan       = (*configResource)(nil)
	_ resource.ResourceWithConfigValidators = (*configResource)(nil)
)

type configResource struct{ engine *engine }

func newConfigResource() resource.Resource { return &configResource{} }

// config is the engine's connection. The arguments that end in _wo are never in a plan or a state.
type config struct {
	Address             types.String `tfsdk:"address"`
	Namespace           types.String `tfsdk:"namespace"`
	CACert              types.String `tfsdk:"ca_cert"`
	TLSServerName       types.String `tfsdk:"tls_server_name"`
	ClientCert          types.String `tfsdk:"client_cert"`
	ClientKeyWO         types.String `tfsdk:"client_key_wo"`
	ClientKeyWOVersion  types.Int64  `tfsdk:"client_key_wo_version"`
	AuthMount           types.String `tfsdk:"auth_mount"`
	RoleID              types.String `tfsdk:"role_id"`
	SecretIDWO          types.String `tfsdk:"secret_id_wo"`
	SecretIDWOVersion   types.Int64  `tfsdk:"secret_id_wo_version"`
	TokenWO             types.String `tfsdk:"token_wo"`
	TokenWOVersion      types.Int64  `tfsdk:"token_wo_version"`
	RotateRoot          types.Bool   `tfsdk:"rotate_root"`
	TokenRole           types.String `tfsdk:"token_role"`
	AuditorGroupIDs     types.Set    `tfsdk:"auditor_group_ids"`
	Retention           duration     `tfsdk:"retention"`
	MaxPendingRequester types.Int64  `tfsdk:"max_pending_per_requester"`
}

func (r *configResource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = typeName(configPath)
}

func (r *configResource) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	r.engine, _ = req.ProviderData.(*engine)
}

func (r *configResource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "How the engine reaches Vault and who it is there, and its limits. There is one per mount. Writing it logs in and " +
			"warns of every capability that the engine's identity lacks.\n\nSecrets are write-only: they reach the engine and never the plan or the " +
			"state. A secret is sent when its `_wo_version` changes. When where or how the engine connects changes (`address`, `namespace`, `ca_cert`, " +
			"`tls_server_name`, `client_cert`, `auth_mount` or `role_id`), the engine asks for its secret again, and all are sent: then `secret_id_wo` has " +
			"to be one that works, so after `rotate_root` a new one.\n\n`terraform plan -generate-config-out` cannot know the secrets: what it writes for this resource needs " +
			"`secret_id_wo` or `token_wo`, and `client_key_wo` if there is a `client_cert`, before it can be planned.",
		Attributes: map[string]schema.Attribute{
			"address":               schema.StringAttribute{Required: true, MarkdownDescription: "URL of this Vault as the plugin reaches it, for example `https://127.0.0.1:8200`."},
			"namespace":             textAttribute("Vault namespace the engine works in."),
			"ca_cert":               textAttribute("CA certificate of the address, PEM. Default: the system's."),
			"tls_server_name":       textAttribute("Name to expect in the certificate, if it is not the address's host."),
			"client_cert":           textAttribute("Client certificate, PEM, for a listener that asks for one."),
			"client_key_wo":         secretAttribute("Private key of `client_cert`, PEM.", "client_key_wo_version"),
			"client_key_wo_version": versionAttribute("client_key_wo"),
			"auth_mount": schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString("approle"),
				MarkdownDescription: "Path of the AppRole auth mount. Default: `approle`."},
			"role_id":              textAttribute("`role_id` of the engine's own AppRole."),
			"secret_id_wo":         secretAttribute("`secret_id` of the engine's own AppRole.", "secret_id_wo_version"),
			"secret_id_wo_version": versionAttribute("secret_id_wo"),
			// An instruction and no state, so it is written only.
			"rotate_root": schema.BoolAttribute{Optional: true, WriteOnly: true, MarkdownDescription: "Whether the engine, as soon as it is given a " +
				"`secret_id_wo`, replaces it by one that only the engine knows. Then the one given may be short-lived, such as that of an ephemeral resource. " +
				"Default: `false`."},
			"token_wo":         secretAttribute("A Vault token to use instead of an AppRole.", "token_wo_version"),
			"token_wo_version": versionAttribute("token_wo"),
			"token_role": schema.StringAttribute{Required: true, MarkdownDescription: "Token role (`auth/token/roles/NAME`) through which grant " +
				"tokens are made; it bounds what any grant can get."},
			"auditor_group_ids": idsAttribute("Identity groups whose members see every request and may end every grant."),
			"retention":         durationAttribute("720h", "How long an ended request is kept. Default: `720h`, 30 days."),
			"max_pending_per_requester": schema.Int64Attribute{Optional: true, Computed: true, Default: int64default.StaticInt64(100),
				MarkdownDescription: "How many requests of one person may wait for a decision or a claim at a time. Default: `100`.",
				Validators:          []validator.Int64{int64validator.AtLeast(1)}},
		},
	}
}

func secretAttribute(description, version string) schema.StringAttribute {
	return schema.StringAttribute{
		Optional: true, WriteOnly: true, Sensitive: true, MarkdownDescription: description + " Write-only.",
		Validators: []validator.String{stringvalidator.LengthAtLeast(1), stringvalidator.AlsoRequires(path.MatchRoot(version))},
	}
}

func versionAttribute(secret string) schema.Int64Attribute {
	return schema.Int64Attribute{
		Optional: true, MarkdownDescription: "Change it to have `" + secret + "` sent again.",
		Validators: []validator.Int64{int64validator.AlsoRequires(path.MatchRoot(secret))},
	}
}

// ConfigValidators refuse two identities at once.
func (r *configResource) ConfigValidators(context.Context) []resource.ConfigValidator {
	return []resource.ConfigValidator{
		resourcevalidator.Conflicting(path.MatchRoot("secret_id_wo"), path.MatchRoot("token_wo")),
		resourcevalidator.Conflicting(path.MatchRoot("role_id"), path.MatchRoot("token_wo")),
	}
}

// ValidateConfig refuses at plan time what the engine would refuse.
func (r *configResource) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var c config
	if resp.Diagnostics.Append(req.Config.Get(ctx, &c)...); resp.Diagnostics.HasError() {
		return
	}
	if err := c.connection().Validate(); err != nil {
		r.blame(ctx, &resp.Diagnostics, "The configuration would be refused", err)
	}
}

// ModifyPlan refuses a new configuration without a secret.
func (r *configResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() || !req.State.Raw.IsNull() {
		return
	}
	var c config
	if resp.Diagnostics.Append(req.Config.Get(ctx, &c)...); resp.Diagnostics.HasError() {
		return
	}
	if c.SecretIDWO.IsNull() && c.TokenWO.IsNull() {
		resp.Diagnostics.AddAttributeError(path.Root("secret_id_wo"), "The engine needs an identity",
			"Give role_id, secret_id_wo and secret_id_wo_version of the engine's own AppRole, or token_wo and token_wo_version.")
	}
	if c.ClientCert.ValueString() != "" && c.ClientKeyWO.IsNull() {
		resp.Diagnostics.AddAttributeError(path.Root("client_cert"), "The certificate is of no use without its key", "Give client_key_wo and client_key_wo_version.")
	}
}

func (r *configResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var plan, given config
	resp.Diagnostics.Append(req.Config.Get(ctx, &given)...)
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...); resp.Diagnostics.HasError() {
		return
	}
	secrets := given.secrets()
	if r.put(ctx, &resp.Diagnostics, plan, secrets) {
		r.rotate(ctx, &resp.Diagnostics, given, secrets)
		resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	}
}

func (r *configResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan, given, state config
	resp.Diagnostics.Append(req.Config.Get(ctx, &given)...)
	resp.Diagnostics.Append(req.State.Get(ctx, &state)...)
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &plan)...); resp.Diagnostics.HasError() {
		return
	}
	secrets := given.secrets()
	if !plan.connectsElsewhere(state) {
		plan.keepUnchanged(secrets, state)
	}
	if r.put(ctx, &resp.Diagnostics, plan, secrets) {
		r.rotate(ctx, &resp.Diagnostics, given, secrets)
		resp.Diagnostics.Append(resp.State.Set(ctx, &plan)...)
	}
}

func (r *configResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state config
	if resp.Diagnostics.Append(req.State.Get(ctx, &state)...); resp.Diagnostics.HasError() {
		return
	}
	answer, err := r.engine.read(ctx, configPath)
	if errors.Is(err, errNoMount) {
		warnOfNoMount(&resp.Diagnostics, "engine's configuration", err)
		err = nil
	}
	if answer == nil && err == nil {
		resp.State.RemoveResource(ctx)
		return
	}
	var a configAnswer
	if err == nil {
		a, err = decode[configAnswer](answer)
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot read the engine's configuration", err.Error())
		return
	}
	state.fill(a)
	resp.Diagnostics.Append(resp.State.Set(ctx, &state)...)
}

func (r *configResource) Delete(ctx context.Context, _ resource.DeleteRequest, resp *resource.DeleteResponse) {
	err := r.engine.remove(ctx, configPath)
	switch {
	case errors.Is(err, errNoMount):
		warnOfNoMount(&resp.Diagnostics, "engine's configuration", err)
	case err != nil:
		resp.Diagnostics.AddError("Cannot delete the engine's configuration", err.Error())
	}
}

// ImportState imports "config", or "config/3" where the configuration gives version 3 of the secret: the engine shows
// no secret, so that is taken to be the one it has.
func (r *configResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	version, given := strings.CutPrefix(req.ID, configPath+"/")
	number, err := strconv.ParseInt(version, 10, 64)
	if req.ID == configPath {
		number, err = 1, nil
	}
	if err != nil || (req.ID != configPath && !given) {
		resp.Diagnostics.AddError("Not an import id", fmt.Sprintf("%q is not accepted; it must be %q, or such as %q where the configuration gives "+
			"other versions of its secrets than 1.", req.ID, configPath, configPath+"/3"))
		return
	}
	answer, err := r.engine.read(ctx, configPath)
	if err == nil && answer == nil {
		err = fmt.Errorf("the engine at %q is not configured: apply instead of importing", r.engine.mount)
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot import the engine's configuration", err.Error())
		return
	}
	held := path.Root("token_wo_version")
	if id, _ := answer["role_id"].(string); id != "" {
		held = path.Root("secret_id_wo_version")
	}
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, held, number)...)
	if certificate, _ := answer["client_cert"].(string); certificate != "" {
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("client_key_wo_version"), number)...)
	}
}

func (r *configResource) blame(ctx context.Context, diags *diag.Diagnostics, summary string, err error) {
	var shape resource.SchemaResponse
	r.Schema(ctx, resource.SchemaRequest{}, &shape)
	blame(diags, summary, err, shape.Schema.Attributes)
}
