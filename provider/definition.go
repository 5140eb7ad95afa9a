package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/vault/api"
)

// replacedFirst is said of what other definitions name.
const replacedFirst = "\n\nThe engine does not delete what something else still names, and by default Terraform deletes before it changes what named it. " +
	"So give it `lifecycle { create_before_destroy = true }` from the start, as in the example: then a change that takes the name away from what names it and " +
	"deletes it, or renames it, goes through in one apply."

// definition is the resource for what approver groups, policies and roles have in common: they have a name, by which
// they are imported, and are written whole, read, checked and deleted alike.
type definition[M any, P model[M]] struct {
	// kind is the engine's word for it, collection its path.
	kind, collection string
	shape            schema.Schema
	engine           *engine
}

// A model is a Terraform object of one kind of definition.
type model[M any] interface {
	*M
	// key is the name; "" if it is not known yet.
	key() string
	// payload is what a write sends: every field, because the engine leaves alone what is not given.
	payload() map[string]any
	// fill takes over what a read answered.
	fill(name string, answer map[string]any) error
	// validate is the engine's own check of what is known by now.
	validate() error
	// references are the definitions that must be there first.
	references() []reference
	// settle fills in, in a plan, what the configuration leaves open and what follows from its other arguments.
	settle(config *M)
}

func (d *definition[M, P]) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = typeName(d.kind)
}

func (d *definition[M, P]) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = d.shape
	if d.kind != roleKind {
		resp.Schema.MarkdownDescription += replacedFirst
	}
}

func (d *definition[M, P]) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	d.engine, _ = req.ProviderData.(*engine)
}

// ImportState imports by name.
func (d *definition[M, P]) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	if !acceptedName.MatchString(req.ID) {
		resp.Diagnostics.AddError("Not an import id", fmt.Sprintf("No %s can be called %q; %s.", d.kind, req.ID, namesAre))
		return
	}
	resource.ImportStatePassthroughID(ctx, path.Root("name"), req, resp)
}

// ValidateConfig refuses at plan time what the engine would refuse.
func (d *definition[M, P]) ValidateConfig(ctx context.Context, req resource.ValidateConfigRequest, resp *resource.ValidateConfigResponse) {
	var m M
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	if err := P(&m).validate(); err != nil {
		blame(&resp.Diagnostics, fmt.Sprintf("The %s would be refused", d.kind), err, d.shape.Attributes)
	}
}

// ModifyPlan refuses references that lead nowhere. Only what changes is looked at: an empty plan asks nothing.
func (d *definition[M, P]) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() {
		return
	}
	var m, config M
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	P(&m).settle(&config)
	if resp.Diagnostics.Append(resp.Plan.Set(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	if d.engine != nil && P(&m).key() != "" {
		d.engine.nowPlanned(d.kind, P(&m).key())
	}
	if resp.Plan.Raw.Equal(req.State.Raw) {
		return
	}
	for _, r := range P(&m).references() {
		d.engine.expect(ctx, &resp.Diagnostics, r)
	}
}

// Create makes what is not there yet: what somebody else defined is not overwritten unseen.
func (d *definition[M, P]) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m M
	if resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	name := P(&m).key()
	found, err := d.engine.read(ctx, joinPath(d.collection, name))
	if err != nil {
		resp.Diagnostics.AddError(fmt.Sprintf("Cannot tell whether %s %q is there already", d.kind, name), err.Error())
		return
	}
	if found != nil {
		resp.Diagnostics.AddAttributeError(path.Root("name"), fmt.Sprintf("The %s %q is there already", d.kind, name), fmt.Sprintf("It is not in this state. "+
			"To take it over, import it: `terraform import %s.NAME %s`.", typeName(d.kind), name))
		return
	}
	d.put(ctx, req.Config, req.Plan, &resp.State, &resp.Diagnostics)
}

func (d *definition[M, P]) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	d.put(ctx, req.Config, req.Plan, &resp.State, &resp.Diagnostics)
}

func (d *definition[M, P]) put(ctx context.Context, configuration tfsdk.Config, plan tfsdk.Plan, state *tfsdk.State, diags *diag.Diagnostics) {
	var m, config M
	diags.Append(configuration.Get(ctx, &config)...)
	if diags.Append(plan.Get(ctx, &m)...); diags.HasError() {
		return
	}
	P(&m).settle(&config)
	name := P(&m).key()
	failed := fmt.Sprintf("Cannot write %s %q", d.kind, name)
	answer, err := d.engine.write(ctx, joinPath(d.collection, name), P(&m).payload())
	if err != nil {
		blame(diags, failed, err, d.shape.Attributes)
		return
	}
	warn(diags, fmt.Sprintf("The engine on %s %q", d.kind, name), answer)
	diags.Append(state.Set(ctx, &m)...)
}

func (d *definition[M, P]) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m M
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	name := P(&m).key()
	answer, err := d.engine.read(ctx, joinPath(d.collection, name))
	if errors.Is(err, errNoMount) {
		warnOfNoMount(&resp.Diagnostics, fmt.Sprintf("%s %q", d.kind, name), err)
		err = nil
	}
	if answer == nil && err == nil {
		resp.State.RemoveResource(ctx)
		return
	}
	if err == nil {
		err = P(&m).fill(name, answer)
	}
	if err != nil {
		resp.Diagnostics.AddError(fmt.Sprintf("Cannot read %s %q", d.kind, name), err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (d *definition[M, P]) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var m M
	if resp.Diagnostics.Append(req.State.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	name := P(&m).key()
	failed := fmt.Sprintf("Cannot delete %s %q", d.kind, name)
	err := d.engine.remove(ctx, joinPath(d.collection, name))
	var refused *refusalError
	switch {
	case errors.Is(err, errNoMount):
		warnOfNoMount(&resp.Diagnostics, fmt.Sprintf("%s %q", d.kind, name), err)
	case errors.As(err, &refused) && strings.Contains(refused.message, " is used by "):
		resp.Diagnostics.AddError(failed, fmt.Sprintf("%v. Terraform deletes what is configured no more before it changes what refers to it. Give every "+
			"vaultjit_approver_group and vaultjit_policy `lifecycle { create_before_destroy = true }` and apply that; from then on it goes the other way "+
			"round. Or, once, apply in two steps: take the reference away first, and then the %s.", err, d.kind))
	case err != nil:
		resp.Diagnostics.AddError(failed, err.Error())
	}
}

// warnOfNoMount tells that something is taken to be gone with its mount. A mount that was disabled can so be made again,
// and one that is misspelt is noticed.
func warnOfNoMount(diags *diag.Diagnostics, what string, err error) {
	diags.AddWarning(fmt.Sprintf("The %s is taken to be gone", what), fmt.Sprintf("%v. If the provider's mount is wrong, it is still there: set it right "+
		"and do not apply this.", err))
}

// warn passes on what the engine warns of.
func warn(diags *diag.Diagnostics, summary string, answer *api.Secret) {
	if answer == nil {
		return
	}
	for _, warning := range answer.Warnings {
		diags.AddWarning(summary, warning)
	}
}
