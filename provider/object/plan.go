package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// ModifyPlan settles what follows from the configuration, and refuses references that lead nowhere. Only what changes is
// looked at: an empty plan asks nothing.
func (r *Resource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if req.Plan.Raw.IsNull() || r.data == nil {
		return
	}
	change := ReadChange(req.Config, req.Plan, req.State)
	if r.Plan != nil {
		r.Plan(change, &resp.Diagnostics)
	}
	changed := Settle(r.named(), change, &resp.RequiresReplace)
	for _, f := range r.Table.Accepted() {
		configured, problems := req.Private.GetKey(ctx, f.Name)
		resp.Diagnostics.Append(problems...)
		if f.Zero && !changed && configured != nil && string(configured) != tellConfigured(change, f) {
			changed = true // to the same value for now, which is to follow from now on, or to stay
			forgetComputed(r.named(), change)
		}
	}
	resp.Plan.Raw = tftypes.NewValue(req.Plan.Raw.Type(), map[string]tftypes.Value(change.Plan))
	if name := change.Plan.Text("name"); name != "" {
		r.data.notePlanned(r.Word, name)
	}
	if !changed || r.References == nil {
		return
	}
	for _, reference := range r.References(change.Plan.Give(r.Table)) {
		r.data.expect(ctx, &resp.Diagnostics, r.named(), reference)
	}
}

// ReadChange takes the attributes out of what Terraform gives.
func ReadChange(config tfsdk.Config, plan tfsdk.Plan, state tfsdk.State) Change {
	change := Change{Config: ReadValues(config.Raw), Plan: ReadValues(plan.Raw)}
	if !state.Raw.IsNull() {
		change.State = ReadValues(state.Raw)
	}
	return change
}

// Settle keeps the state's spelling of what is the same, and what the engine computes if nothing else changes. It reports
// whether anything does.
func Settle(table wire.Table, change Change, replaces *path.Paths) (changed bool) {
	if change.State == nil {
		return true
	}
	var computed []string
	for _, f := range table.All() {
		name := nameAttribute(f)
		switch {
		case f.Computed:
			computed = append(computed, name)
		case isSame(f, change.Plan[name], change.State[name]):
			change.Plan[name] = change.State[name]
		case change.State[name].IsNull() && change.Plan[name].Equal(show(f, change.Plan[name].Type(), nil)):
			// An earlier provider, or an import, left out what has its default.
			change.Plan[name] = change.State[name]
		default:
			changed = true
			if f.Replaces {
				*replaces = append(*replaces, path.Root(name))
			}
		}
	}
	for name, value := range change.Plan {
		if _, isField := table.Find(name); !isField && !value.Equal(change.State[name]) {
			changed = true
		}
	}
	if changed {
		forgetComputed(table, change)
		return true
	}
	for _, name := range computed {
		change.Plan[name] = change.State[name]
	}
	return false
}

// forgetComputed leaves open what the engine computes when it is written.
func forgetComputed(table wire.Table, change Change) {
	for _, f := range table.All() {
		if name := nameAttribute(f); f.Computed {
			change.Plan[name] = tftypes.NewValue(change.State[name].Type(), tftypes.UnknownValue)
		}
	}
}

// tellConfigured says in JSON whether the field is configured.
func tellConfigured(change Change, f wire.Field) string {
	return strconv.FormatBool(!change.Config[nameAttribute(f)].IsNull())
}

// isSame reports whether two values of a field are spellings of one.
func isSame(f wire.Field, one, other tftypes.Value) bool {
	switch {
	case one.Equal(other):
		return true
	case !one.IsKnown() || one.IsNull() || other.IsNull():
		return false
	case f.IsDuration():
		a, err := wire.ParseSeconds(readText(one))
		b, _ := wire.ParseSeconds(readText(other)) // 0 is no duration
		return err == nil && a == b
	case f.Type == wire.Pairs: // null is what is not given
		return reflect.DeepEqual(giveField(f, one, false), giveField(f, other, false)) && one.IsFullyKnown()
	case f.Type == wire.JSON:
		var a, b any
		return json.Unmarshal([]byte(readText(one)), &a) == nil && json.Unmarshal([]byte(readText(other)), &b) == nil && reflect.DeepEqual(a, b)
	}
	return false
}

// A Reference is to an object of the engine, by its name, in a field.
type Reference struct {
	To          Kind
	Name, Field string
}

// notePlanned remembers what this run is going to create, so that a name that is neither planned nor there yet can be
// refused at plan time. Terraform plans what a resource refers to before the resource itself.
func (d *Data) notePlanned(kind, name string) { d.Run.Note(tellPlanned(kind, name, d.Place)) }

// isPlanned also takes the word of a provider block whose mount is not known yet: it may be this one.
func (d *Data) isPlanned(kind, name string) bool {
	return d.Run.Knows(tellPlanned(kind, name, d.Place)) || d.Run.Knows(tellPlanned(kind, name, ""))
}

func tellPlanned(kind, name, place string) string {
	return strings.Join([]string{"planned", kind, name, place}, "\n")
}

// expect reports a reference that leads nowhere. Where that cannot be found out now, the engine will say so.
func (d *Data) expect(ctx context.Context, diags *diag.Diagnostics, table wire.Table, r Reference) {
	if r.Name == "" || d.isPlanned(r.To.Word, r.Name) {
		return
	}
	c, err := d.Client(ctx)
	if err == nil {
		_, err = r.To.definitions(c).Read(ctx, r.Name)
	}
	if !errors.Is(err, client.ErrAbsent) && !errors.Is(err, client.ErrNoMount) {
		return
	}
	problem := fmt.Sprintf("there is no %s %q", r.To.Word, r.Name)
	Refuse(diags, table, capitalise(problem), refusal.New(r.Field, problem, fmt.Sprintf("neither does it exist, nor is it planned before this. If this "+
		"configuration makes it, refer to the resource (such as %s.example.name) rather than writing the name, so that Terraform makes it first", r.To.TypeName())))
}
