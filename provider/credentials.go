package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/ephemeral/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
	"github.com/vault-jit/vault-jit/provider/run"
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
	// leaseKey is where the lease is kept between the steps of an ephemeral resource: in Terraform's memory only.
	leaseKey = "lease"
)

// credentialsData is what a configured provider gives to its ephemeral resources.
type credentialsData struct {
	*object.Data
	token   run.Token
	custody *run.Custody
}

// credentials is the credential of a request while Terraform runs, and no longer.
type credentials struct{ *credentialsData }

func newCredentials() ephemeral.EphemeralResource { return &credentials{} }

type credentialsModel struct {
	ClaimID       types.String   `tfsdk:"claim_id"`
	RequestID     types.String   `tfsdk:"request_id"`
	Claim         types.Bool     `tfsdk:"claim"`
	Timeouts      timeouts.Value `tfsdk:"timeouts"`
	Data          types.Map      `tfsdk:"data"`
	DataJSON      types.String   `tfsdk:"data_json"`
	LeaseID       types.String   `tfsdk:"lease_id"`
	LeaseDuration types.Int64    `tfsdk:"lease_duration"`
}

func (c *credentials) Metadata(_ context.Context, _ ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = typePrefix + "_credentials"
}

func (c *credentials) Configure(_ context.Context, req ephemeral.ConfigureRequest, _ *ephemeral.ConfigureResponse) {
	c.credentialsData, _ = req.ProviderData.(*credentialsData)
}

// ValidateConfig refuses what says not which request to claim or when, and a wait of no length.
func (c *credentials) ValidateConfig(ctx context.Context, req ephemeral.ValidateConfigRequest, resp *ephemeral.ValidateConfigResponse) {
	var m credentialsModel
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	m.readPatience(ctx, &resp.Diagnostics)
	given := func(value attr.Value) bool { return !value.IsNull() }
	// One that is not known yet may turn out to be null, but not beside one that is known.
	both := func(a, b attr.Value) bool { return given(a) && given(b) && (!a.IsUnknown() || !b.IsUnknown()) }
	switch {
	case m.ClaimID.IsNull() && m.RequestID.IsNull():
		resp.Diagnostics.AddError("There is no request to claim", "Give claim_id, such as vaultjit_request.example.claim_id, or the request_id of a request "+
			"that was made elsewhere.")
	case both(m.ClaimID, m.RequestID):
		resp.Diagnostics.AddAttributeError(path.Root("request_id"), "Two requests to claim", "Give claim_id or request_id, not both.")
	case both(m.ClaimID, m.Claim):
		resp.Diagnostics.AddAttributeError(path.Root("claim"), "claim is for request_id", "A request of this configuration is claimed in the apply: leave claim out.")
	case !given(m.Claim) && !given(m.ClaimID):
		resp.Diagnostics.AddAttributeError(path.Root("claim"), "It is not said when to claim", "Terraform opens this to plan, too, and a request is granted once. "+
			"If a vaultjit_request of this configuration makes the request, give its claim_id instead of request_id. If it is made elsewhere, add this line, so that "+
			"only an apply claims:\n\n  claim = terraform.applying")
	}
}

// readPatience tells how long to wait for the quorum.
func (m *credentialsModel) readPatience(ctx context.Context, diags *diag.Diagnostics) time.Duration {
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

// askAgain is what to do about a vaultjit_request from which nothing can come any more.
const askAgain = "To ask again, give the vaultjit_request new keepers."

// order is what to do about the request, and the argument that names it.
func (c *credentials) order(m *credentialsModel, patience time.Duration) (order run.Order, argument path.Path, claims bool) {
	if m.ClaimID.IsNull() {
		id := m.RequestID.ValueString()
		return run.Order{
			ID: id, Patience: patience, Token: c.token, Cancels: c.Run.Made(id), Again: "To claim, give the request_id of a new request.",
			Later: "It is left as it is; run this again once it is approved.",
		}, path.Root("request_id"), m.Claim.ValueBool()
	}
	id := m.ClaimID.ValueString()
	return run.Order{
		ID: id, Patience: patience, Token: c.token, Cancels: c.Run.Made(id), Again: askAgain,
		Later: "It was not made by this run, so it is left as it is; apply again once it is approved, or give the vaultjit_request new keepers.",
	}, path.Root("claim_id"), c.Run.Reached(id)
}

// withhold says why there is no credential and none is waited for; "" if there may be one. It is an error if an apply might
// go on without the credential that it needs.
func (c *credentials) withhold(ctx context.Context, m *credentialsModel, order run.Order, claims bool) (why string, isError bool) {
	literal := m.ClaimID.IsNull()
	if claims != literal { // a literal id that is not to be claimed is not looked at, and an apply has just looked at its own
		return "", false
	}
	if verdict := c.describeEnd(ctx, order.ID, claims); verdict != "" {
		return verdict + ". " + order.Again, false
	}
	switch {
	case literal:
		return "", false
	case !c.Run.Tells(order.ID):
		return "Whether this run applies the vaultjit_request cannot be told: its provider blocks share no folder. Set XDG_CACHE_HOME (or HOME) to a folder that can be " +
			"written to.", true
	}
	return "This run has not come to the vaultjit_request in an apply, so the request is left as it is.", false
}

func (c *credentials) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var m credentialsModel
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	patience := m.readPatience(ctx, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	order, argument, claims := c.order(&m, patience)
	why, isError := c.withhold(ctx, &m, order, claims)
	if isError {
		resp.Diagnostics.AddAttributeError(argument, "There is no credential", why)
		return
	}
	if !claims || why != "" {
		if why != "" {
			resp.Diagnostics.AddAttributeWarning(argument, "There is no credential", why)
		}
		m.Data = types.MapNull(types.StringType)
		resp.Diagnostics.Append(resp.Result.Set(ctx, &m)...)
		return
	}
	jit, err := c.Client(ctx)
	if err != nil {
		resp.Diagnostics.AddAttributeError(argument, "There is no credential", err.Error())
		return
	}
	held, err := c.custody.Obtain(ctx, jit, order)
	if err != nil {
		resp.Diagnostics.AddAttributeError(argument, "There is no credential", err.Error())
	} else {
		m.hand(ctx, held, resp)
	}
	if resp.Diagnostics.HasError() { // Terraform does not close what did not open
		c.giveBack(ctx, order.ID, &resp.Diagnostics)
		return
	}
	object.Warn(&resp.Diagnostics, "this grant", held.Warnings)
}

// describeEnd is the verdict on a request that is over, or granted where nothing is to be claimed; "" for any other, or if
// that cannot be told now.
func (c *credentials) describeEnd(ctx context.Context, id string, claims bool) string {
	jit, err := c.Client(ctx)
	if err != nil {
		return "" // whoever needs it says so
	}
	request, err := jit.Request(ctx, id)
	if err != nil || run.Waits(request) || (claims && request.IsActive()) {
		return ""
	}
	return run.Describe(request)
}

// hand puts what was claimed where configurations find it.
func (m *credentialsModel) hand(ctx context.Context, held *run.Held, resp *ephemeral.OpenResponse) {
	private, err := json.Marshal(held.Lease)
	whole, dataErr := json.Marshal(held.Data)
	var encoded map[string]json.RawMessage
	if err = errors.Join(err, dataErr, json.Unmarshal(whole, &encoded)); err != nil {
		resp.Diagnostics.AddError("The credential is not understood", err.Error())
		return
	}
	values := map[string]string{}
	for name, value := range held.Data {
		word, ok := value.(string)
		if !ok {
			word = string(encoded[name])
		}
		values[name] = word
	}
	data, problems := types.MapValueFrom(ctx, types.StringType, values)
	resp.Diagnostics.Append(problems...)
	m.Data, m.DataJSON = data, types.StringValue(string(whole))
	m.LeaseID, m.LeaseDuration = types.StringValue(held.Lease.ID), types.Int64Value(int64(wire.ToSeconds(held.LeaseDuration)))
	resp.Diagnostics.Append(resp.Private.SetKey(ctx, leaseKey, private)...)
	resp.Diagnostics.Append(resp.Result.Set(ctx, m)...)
	resp.RenewAt = held.Lease.RenewAt(time.Now())
}

// Renew keeps the lease alive within its window, and notices when somebody has ended the grant.
func (c *credentials) Renew(ctx context.Context, req ephemeral.RenewRequest, resp *ephemeral.RenewResponse) {
	kept, ok := readLease(ctx, req.Private, &resp.Diagnostics)
	if !ok {
		return
	}
	jit, err := c.Client(ctx)
	if err == nil {
		err = kept.Renew(ctx, jit)
	}
	if err != nil {
		resp.Diagnostics.AddError("The credential has ended", err.Error())
		return
	}
	resp.RenewAt = kept.RenewAt(time.Now())
}

func readLease(ctx context.Context, private interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}, diags *diag.Diagnostics) (kept run.Lease, ok bool) {
	text, problems := private.GetKey(ctx, leaseKey)
	if diags.Append(problems...); text == nil {
		return kept, false // there was no credential
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		diags.AddError("The lease is not understood", err.Error())
		return kept, false
	}
	return kept, true
}

// Close ends the grant. Terraform may be in a hurry by now, so this does not depend on its patience.
func (c *credentials) Close(ctx context.Context, req ephemeral.CloseRequest, resp *ephemeral.CloseResponse) {
	kept, ok := readLease(ctx, req.Private, &resp.Diagnostics)
	if !ok {
		return
	}
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), run.Aftermath)
	defer cancel()
	if early := c.describeEnd(firm, kept.RequestID, true); early != "" {
		// Terraform does not show what a renewal found.
		resp.Diagnostics.AddWarning("The credential ended before Terraform was done with it", early)
	}
	c.giveBack(ctx, kept.RequestID, &resp.Diagnostics)
}

// giveBack ends the request or its grant, whatever became of Terraform, unless another ephemeral resource needs it still.
func (c *credentials) giveBack(ctx context.Context, id string, diags *diag.Diagnostics) {
	for _, left := range c.custody.GiveBack(ctx, id) {
		diags.AddWarning("Something may be left", left)
	}
}
