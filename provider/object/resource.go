package object

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

var (
	_ resource.ResourceWithConfigure      = (*Resource)(nil)
	_ resource.ResourceWithImportState    = (*Resource)(nil)
	_ resource.ResourceWithValidateConfig = (*Resource)(nil)
	_ resource.ResourceWithModifyPlan     = (*Resource)(nil)
)

// A Resource is the Terraform resource for a kind of object. Its functions say what is special for that kind; those that
// are nil say that nothing is.
type Resource struct {
	Kind
	// AlsoAbout is what the page of the resource says, too.
	AlsoAbout string
	// More are attributes that are no fields of the object.
	More map[string]schema.Attribute
	// Calls are those of the API; nil for those of a definition.
	Calls func(c *client.Client) Calls
	// Check is the engine's own check of what would be written.
	Check func(given map[string]any, config Values) error
	// References are the objects that must be there first.
	References func(given map[string]any) []Reference
	// Plan changes the plan, or refuses it.
	Plan func(change Change, diags *diag.Diagnostics)
	// Send changes what is written.
	Send func(change Change, fields map[string]any)
	// Sent is called after a write.
	Sent func(ctx context.Context, c *client.Client, change Change, fields map[string]any, diags *diag.Diagnostics)

	data *Data
}

// Calls read and change one object of the API.
type Calls struct {
	Read   func(ctx context.Context, name string) (map[string]any, error)
	Change func(ctx context.Context, name string, fields map[string]any) (warnings []string, err error)
	Delete func(ctx context.Context, name string) error
}

// A Change is what Terraform plans or applies. State is nil for a new object.
type Change struct{ Config, Plan, State Values }

// Client is the engine.
func (r *Resource) Client(ctx context.Context) (*client.Client, error) { return r.data.Client(ctx) }

func (r *Resource) calls(ctx context.Context) (*client.Client, Calls, error) {
	c, err := r.Client(ctx)
	if err != nil {
		return nil, Calls{}, err
	}
	if r.Calls != nil {
		return c, r.Calls(c), nil
	}
	d := r.definitions(c)
	return c, Calls{d.Read, d.Change, d.Delete}, nil
}

// Metadata says what the resource is called.
func (r *Resource) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = r.TypeName()
}

// Schema describes the attributes.
func (r *Resource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	attributes := MakeAttributes(r.Table, true)
	maps.Copy(attributes, r.More)
	if r.Collection != "" {
		attributes["name"] = schema.StringAttribute{Required: true, Validators: []validator.String{AcceptName},
			MarkdownDescription: fmt.Sprintf("Name of the %s. Another name makes another %[1]s.", r.Word)}
	}
	resp.Schema = schema.Schema{MarkdownDescription: r.About + r.AlsoAbout, Attributes: attributes}
}

// Configure takes over what the provider gives.
func (r *Resource) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	r.data, _ = req.ProviderData.(*Data)
}

// ImportState imports by name.
func (r *Resource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	if err := AcceptName.Check(req.ID); err != nil {
		resp.Diagnostics.AddError("Not an import id", fmt.Sprintf("No %s can be called that: %v.", r.Word, err))
		return
	}
	resource.ImportStatePassthroughID(ctx, path.Root("name"), req, resp)
}

// ValidateConfig refuses at plan time what the engine would refuse.
func (r *Resource) ValidateConfig(_ context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	config := ReadValues(req.Config.Raw)
	given, err := r.Table.Decode(config.give(r.Table, true, ""))
	if err == nil && r.Check != nil {
		err = r.Check(given, config)
	}
	if err != nil {
		Refuse(&resp.Diagnostics, r.Table, r.describeNew()+" would be refused", err)
	}
}

func (r *Resource) describeNew() string {
	if r.Collection == "" {
		return capitalise(r.describe(""))
	}
	return "The " + r.Word
}

// Create makes what is not there yet: what somebody else defined is not overwritten unseen.
func (r *Resource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	change := Change{Config: ReadValues(req.Config.Raw), Plan: ReadValues(req.Plan.Raw)}
	name := change.Plan.Text("name")
	if name != "" {
		_, calls, err := r.calls(ctx)
		if err == nil {
			_, err = calls.Read(ctx, name)
		}
		if err == nil {
			resp.Diagnostics.AddAttributeError(path.Root("name"), capitalise(r.describe(name))+" is there already", fmt.Sprintf("It is not in this state. "+
				"To take it over, import it: `terraform import %s.NAME %s`.", r.TypeName(), name))
			return
		}
		if !errors.Is(err, client.ErrAbsent) {
			resp.Diagnostics.AddError("Cannot tell whether "+r.describe(name)+" is there already", err.Error())
			return
		}
	}
	r.put(ctx, change, &resp.State, &resp.Diagnostics)
	r.noteConfigured(ctx, change, resp.Private, &resp.Diagnostics)
}

// Update writes the object whole.
func (r *Resource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	change := ReadChange(req.Config, req.Plan, req.State)
	r.put(ctx, change, &resp.State, &resp.Diagnostics)
	r.noteConfigured(ctx, change, resp.Private, &resp.Diagnostics)
}

// noteConfigured remembers which of the fields were configured that otherwise follow from others: what is configured no
// more has to be written.
func (r *Resource) noteConfigured(ctx context.Context, change Change, kept interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}, diags *diag.Diagnostics) {
	for _, f := range r.Table.Accepted() {
		if f.Zero && !diags.HasError() {
			diags.Append(kept.SetKey(ctx, f.Name, []byte(tellConfigured(change, f)))...)
		}
	}
}

// put writes every field, because the engine leaves alone what is not given.
func (r *Resource) put(ctx context.Context, change Change, state *tfsdk.State, diags *diag.Diagnostics) {
	name := change.Plan.Text("name")
	fields, err := r.Table.Decode(change.Plan.Give(r.Table))
	var c *client.Client
	var calls Calls
	if err == nil {
		c, calls, err = r.calls(ctx)
	}
	var warnings []string
	if err == nil {
		for _, f := range r.Table.Accepted() {
			if f.Zero && change.Config[f.Name].IsNull() {
				fields[f.Name] = int64(0) // it follows from others, and is not to stay when they change
			}
		}
		if r.Send != nil {
			r.Send(change, fields)
		}
		warnings, err = calls.Change(ctx, name, fields)
	}
	if err != nil {
		Refuse(diags, r.named(), "Cannot write "+r.describe(name), err)
		return
	}
	Warn(diags, r.describe(name), warnings)
	if r.Sent != nil {
		r.Sent(ctx, c, change, fields, diags)
	}
	r.fill(ctx, calls, change.Plan, state, diags)
}

// Warn passes on what the engine warns of.
func Warn(diags *diag.Diagnostics, of string, warnings []string) {
	for _, warning := range warnings {
		diags.AddWarning("The engine on "+of, warning)
	}
}

// fill puts into the state what was planned, and what the engine made of what the plan left open.
func (r *Resource) fill(ctx context.Context, calls Calls, plan Values, state *tfsdk.State, diags *diag.Diagnostics) {
	of := findType(ctx, state.Schema.Type())
	var answer Values
	for name, value := range plan {
		if value.IsFullyKnown() {
			continue
		}
		if answer == nil {
			read, err := calls.Read(ctx, plan.Text("name"))
			if err != nil {
				diags.AddWarning(capitalise(r.describe(plan.Text("name")))+" is written and cannot be read", err.Error())
			}
			answer = showFields(r.Table, of, read)
		}
		plan[name] = answer[name]
	}
	state.Raw = tftypes.NewValue(of, map[string]tftypes.Value(plan))
}

// Read takes over what the engine has.
func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	values := ReadValues(req.State.Raw)
	name := values.Text("name")
	_, calls, err := r.calls(ctx)
	var answer map[string]any
	if err == nil {
		answer, err = calls.Read(ctx, name)
	}
	switch {
	case errors.Is(err, client.ErrNoMount):
		r.warnOfNoMount(&resp.Diagnostics, name, err)
		resp.State.RemoveResource(ctx)
	case errors.Is(err, client.ErrAbsent):
		resp.State.RemoveResource(ctx)
	case err != nil:
		resp.Diagnostics.AddError("Cannot read "+r.describe(name), err.Error())
	default:
		of := findType(ctx, req.State.Schema.Type())
		maps.Copy(values, showFields(r.Table, of, answer))
		resp.State.Raw = tftypes.NewValue(of, map[string]tftypes.Value(values))
	}
}

// Delete deletes the object, unless another one names it.
func (r *Resource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	name := ReadValues(req.State.Raw).Text("name")
	_, calls, err := r.calls(ctx)
	if err == nil {
		err = calls.Delete(ctx, name)
	}
	failed := "Cannot delete " + r.describe(name)
	switch {
	case errors.Is(err, client.ErrNoMount):
		r.warnOfNoMount(&resp.Diagnostics, name, err)
	case errors.Is(err, client.ErrAbsent):
	case refusal.Of(err) != nil && name != "":
		resp.Diagnostics.AddError(failed, fmt.Sprintf("%v. Terraform deletes what is configured no more before it changes what refers to it. Give every "+
			"vaultjit_approver_group and vaultjit_policy `lifecycle { create_before_destroy = true }` and apply that; from then on it goes the other way "+
			"round. Or, once, apply in two steps: take the reference away first, and then the %s.", err, r.Word))
	case err != nil:
		resp.Diagnostics.AddError(failed, err.Error())
	}
}

// warnOfNoMount tells that something is taken to be gone with its mount. A mount that was disabled can so be made again,
// and one that is misspelt is noticed.
func (r *Resource) warnOfNoMount(diags *diag.Diagnostics, name string, err error) {
	diags.AddWarning(capitalise(r.describe(name))+" is taken to be gone", fmt.Sprintf("%v. If the provider's mount is wrong, it is still there: set it "+
		"right and do not apply this.", err))
}

func capitalise(sentence string) string { return strings.ToUpper(sentence[:1]) + sentence[1:] }
