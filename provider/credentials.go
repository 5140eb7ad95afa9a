package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/ephemeral/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-log/tflog"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/provider/object"
)

var (
	_ ephemeral.EphemeralResourceWithConfigure      = (*credentials)(nil)
	_ ephemeral.EphemeralResourceWithValidateConfig = (*credentials)(nil)
	_ ephemeral.EphemeralResourceWithRenew          = (*credentials)(nil)
	_ ephemeral.EphemeralResourceWithClose          = (*credentials)(nil)
)

const (
	// defaultOpen is how long to wait for the quorum unless the configuration says otherwise.
	defaultOpen = 30 * time.Minute
	// aftermath bounds what is done after Terraform has lost interest: ending what must not be left.
	aftermath = 30 * time.Second
	// claimTimeout bounds the claim, which is seen through whatever happens, because it makes a credential.
	claimTimeout = 60 * time.Second
	// leaseKey is where the lease is kept between the steps of an ephemeral resource: in Terraform's memory only.
	leaseKey = "lease"
)

// credentials is the credential of a request while Terraform runs, and no longer.
type credentials struct{ engine *engine }

func newCredentials() ephemeral.EphemeralResource { return &credentials{} }

type credentialsModel struct {
	RequestID     types.String   `tfsdk:"request_id"`
	Timeouts      timeouts.Value `tfsdk:"timeouts"`
	Data          types.Map      `tfsdk:"data"`
	DataJSON      types.String   `tfsdk:"data_json"`
	LeaseID       types.String   `tfsdk:"lease_id"`
	LeaseDuration types.Int64    `tfsdk:"lease_duration"`
}

// lease is what Renew and Close need to know. No part of the credential is in it.
type lease struct {
	RequestID string    `json:"request_id"`
	LeaseID   string    `json:"lease_id"`
	Renewable bool      `json:"renewable"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (c *credentials) Metadata(_ context.Context, _ ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = typeName("credentials")
}

func (c *credentials) Configure(_ context.Context, req ephemeral.ConfigureRequest, _ *ephemeral.ConfigureResponse) {
	c.engine = engineOf(req.ProviderData)
}

func (c *credentials) Schema(ctx context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The credential of a `vaultjit_request`, for as long as Terraform runs: waits for the quorum, claims, and revokes the grant when " +
			"Terraform is done with it. Nothing of it is in a plan or a state.\n\n" +
			"While it waits, the log (`TF_LOG_PROVIDER=INFO`) tells what is still missing. A denial, a cancellation, the end of `timeouts.open` or an interruption " +
			"of Terraform ends the wait with the verdict, and the request is cancelled.\n\n" +
			"Terraform opens ephemeral resources while it plans and again while it applies, unless an argument is not known yet. A `vaultjit_request` that is " +
			"still to be made has no id, so the wait comes in the apply, once. A request is granted once: whatever runs again needs new `keepers`. " +
			"Several of these resources with one request share its credential, as long as one provider block is theirs.\n\n" +
			"What this run did not make, it leaves as it is. A request of an earlier run, or of somebody who asked beside Terraform, is claimed if it is approved, " +
			"and a grant that this run claimed is revoked; but such a request is neither waited for nor cancelled, and a grant that somebody else claimed " +
			"is not touched. If it is over, `data` is null and a warning tells its verdict, so that a plan or a destroy can go on. Take what is needed as " +
			"`data.NAME`, or all of it as `trimspace(ephemeral.vaultjit_credentials.NAME.data_json)`: both fail where there is no credential, while a null " +
			"`data_json` would be, for instance, an environment variable that is not set. A `postcondition` fails too, but every plan and destroy with it.\n\n" +
			"**A plan claims an approved request whose id is known**, revokes the grant when the plan is done, and the apply then finds the request over. The guide on " +
			"pipelines shows how a request that was approved before is kept for the apply.\n\n" +
			"A provider block that takes its credential from here is configured for every plan, refresh and destroy too, when there may be none. " +
			"With `try(ephemeral.vaultjit_credentials.NAME.data.password, null)` these get as far as the other provider lets them; what needs to log in for them " +
			"needs a new grant, so give that provider's resources a configuration of their own.",
		Attributes: map[string]schema.Attribute{
			"request_id": schema.StringAttribute{Required: true, MarkdownDescription: "The id of a `vaultjit_request`, made by the same login.",
				Validators: []validator.String{object.AcceptRequestID}},
			"data": schema.MapAttribute{Computed: true, Sensitive: true, ElementType: types.StringType,
				MarkdownDescription: "What the role's path gave, under the names it gave it, such as `username` and `password`. What is no string is JSON."},
			"data_json":      schema.StringAttribute{Computed: true, Sensitive: true, MarkdownDescription: "The same as a JSON object."},
			"lease_id":       schema.StringAttribute{Computed: true, Sensitive: true, MarkdownDescription: "Vault's lease of the grant."},
			"lease_duration": schema.Int64Attribute{Computed: true, MarkdownDescription: "How long the grant lives at most, in seconds."},
			"timeouts": timeouts.AttributesWithOpts(ctx, timeouts.Opts{
				OpenDescription: "How long to wait for the quorum of a request that this run made, such as `1h`. Default: `30m`.",
			}),
		},
	}
}

// ValidateConfig refuses a wait of no length.
func (c *credentials) ValidateConfig(ctx context.Context, req ephemeral.ValidateConfigRequest, resp *ephemeral.ValidateConfigResponse) {
	var m credentialsModel
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); !resp.Diagnostics.HasError() {
		m.patience(ctx, &resp.Diagnostics)
	}
}

// patience is how long to wait for the quorum.
func (m *credentialsModel) patience(ctx context.Context, diags *diag.Diagnostics) time.Duration {
	if open, ok := m.Timeouts.Attributes()["open"]; ok && open.IsUnknown() {
		return defaultOpen
	}
	patience, problems := m.Timeouts.Open(ctx, defaultOpen)
	diags.Append(problems...)
	if patience <= 0 && !problems.HasError() {
		diags.AddAttributeError(path.Root("timeouts").AtName("open"), "Not a time to wait", fmt.Sprintf("%s is not accepted; it must be more than nothing, such as 30m", patience))
	}
	return patience
}

func (c *credentials) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var m credentialsModel
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	patience := m.patience(ctx, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	id := m.RequestID.ValueString()
	if over := c.engine.overBefore(ctx, id); over != "" {
		// Terraform opens this also to refresh or to destroy what an earlier run made, and then nobody wants a credential.
		resp.Diagnostics.AddAttributeWarning(path.Root("request_id"), "There is no credential", over)
		m.Data = types.MapNull(types.StringType)
		resp.Diagnostics.Append(resp.Result.Set(ctx, &m)...)
		return
	}
	h := c.engine.custody.join(id, c.engine)
	credential, held, err := c.obtain(ctx, h, patience)
	if err != nil {
		resp.Diagnostics.AddAttributeError(path.Root("request_id"), "There is no credential", err.Error())
		c.giveBack(ctx, id, &resp.Diagnostics)
		return
	}
	err = m.take(credential)
	var private []byte
	if err == nil {
		private, err = json.Marshal(held)
	}
	if err == nil {
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, leaseKey, private)...)
		resp.Diagnostics.Append(resp.Result.Set(ctx, &m)...)
		resp.RenewAt = held.renewAt(time.Now())
	} else {
		resp.Diagnostics.AddError("The credential is not understood", err.Error())
	}
	if resp.Diagnostics.HasError() { // Terraform will not close what did not open
		c.giveBack(ctx, id, &resp.Diagnostics)
		return
	}
	warn(&resp.Diagnostics, "The engine on this grant", &api.Secret{Warnings: credential.Warnings})
}

// obtain gives the credential that another ephemeral resource of this process has already, or else waits and claims.
func (c *credentials) obtain(ctx context.Context, h *hold, patience time.Duration) (*api.Secret, lease, error) {
	h.turn.Lock()
	defer h.turn.Unlock()
	if h.credential != nil {
		return h.credential, h.lease, nil
	}
	credential, err := c.engine.await(ctx, h, patience)
	if err != nil {
		return nil, lease{}, err
	}
	h.credential, h.lease = credential, lease{
		RequestID: h.id, LeaseID: credential.LeaseID, Renewable: credential.Renewable,
		ExpiresAt: time.Now().Add(time.Duration(credential.LeaseDuration) * time.Second),
	}
	return h.credential, h.lease, nil
}

// take puts what was claimed where configurations find it.
func (m *credentialsModel) take(credential *api.Secret) error {
	values := map[string]string{}
	for name, value := range credential.Data {
		if word, ok := value.(string); ok {
			values[name] = word
			continue
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encoding %s: %w", name, err)
		}
		values[name] = string(encoded)
	}
	whole, err := json.Marshal(credential.Data)
	if err != nil {
		return fmt.Errorf("encoding the data: %w", err)
	}
	m.Data, m.DataJSON = stringsMap(values), types.StringValue(string(whole))
	m.LeaseID, m.LeaseDuration = types.StringValue(credential.LeaseID), types.Int64Value(int64(credential.LeaseDuration))
	return nil
}

// renewAt is after two thirds of what is left; zero, that is never, when that is too little to bother.
func (l lease) renewAt(now time.Time) time.Time {
	left := l.ExpiresAt.Sub(now)
	if !l.Renewable || left < 10*time.Second {
		return time.Time{}
	}
	return now.Add(left * 2 / 3)
}

// Renew keeps the lease alive within its window, and notices when somebody has ended the grant.
func (c *credentials) Renew(ctx context.Context, req ephemeral.RenewRequest, resp *ephemeral.RenewResponse) {
	private, diags := req.Private.GetKey(ctx, leaseKey)
	resp.Diagnostics.Append(diags...)
	var held lease
	if err := json.Unmarshal(private, &held); err != nil {
		resp.Diagnostics.AddError("Cannot renew the credential", "What was kept of it is not understood: "+err.Error())
		return
	}
	err := c.engine.renew(ctx, held)
	var passing *passingError
	var denied *deniedError
	switch {
	case errors.As(err, &passing), errors.As(err, &denied):
		// The window is no shorter for it.
		tflog.Warn(ctx, "cannot renew the lease; it ends with the window at the latest", map[string]any{"request_id": held.RequestID, "error": err.Error()})
	case err != nil:
		resp.Diagnostics.AddError("The credential has ended", err.Error())
		return
	}
	resp.RenewAt = held.renewAt(time.Now())
}

// Close ends the grant. Terraform may be in a hurry by now, so this does not depend on its patience.
func (c *credentials) Close(ctx context.Context, req ephemeral.CloseRequest, resp *ephemeral.CloseResponse) {
	private, diags := req.Private.GetKey(ctx, leaseKey)
	if resp.Diagnostics.Append(diags...); private == nil {
		return // there was no credential
	}
	var held lease
	if err := json.Unmarshal(private, &held); err != nil {
		resp.Diagnostics.AddError("Cannot end the grant", "What was kept of it is not understood: "+err.Error())
		return
	}
	if early := c.engine.endedBefore(ctx, held.RequestID); early != "" {
		// Terraform does not show what a renewal found.
		resp.Diagnostics.AddWarning("The credential ended before Terraform was done with it", early)
	}
	c.giveBack(ctx, held.RequestID, &resp.Diagnostics)
}

// giveBack ends the request or its grant, whatever became of Terraform, unless another ephemeral resource needs it still.
func (c *credentials) giveBack(ctx context.Context, id string, diags *diag.Diagnostics) {
	for _, left := range c.engine.custody.leave(ctx, id) {
		diags.AddWarning("Something may be left", left)
	}
}
