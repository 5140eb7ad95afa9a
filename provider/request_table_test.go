package provider

import (
	"slices"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

// extendRequest is the resource with a field more that is asked for, and one that is answered.
func extendRequest(t *testing.T) (*requestResource, schema.Schema) {
	t.Helper()
	request, ok := newRequestResource().(*requestResource)
	if !ok {
		t.Fatal("the resource is of another type")
	}
	request.Table = request.Table.With(
		wire.Field{Name: "colour", Type: wire.String, Default: "red", Replaces: true, Description: "Made up."},
		wire.Field{Name: "weight", Type: wire.Int, Computed: true, Description: "Made up, too."},
	)
	var made resource.SchemaResponse
	request.Schema(t.Context(), resource.SchemaRequest{}, &made)
	return request, made.Schema
}

func TestNewRowOfTheRequestsTableIsAnAttribute(t *testing.T) {
	_, made := extendRequest(t)
	if colour := made.Attributes["colour"]; colour == nil || !colour.IsOptional() || colour.GetMarkdownDescription() != "Made up. Default: `red`." {
		t.Errorf("colour is %+v", colour)
	}
	if weight := made.Attributes["weight"]; weight == nil || !weight.IsComputed() || weight.IsOptional() {
		t.Errorf("weight is %+v", weight)
	}
}

func TestNewRowOfTheRequestsTableMakesANewRequestWhenItChanges(t *testing.T) {
	request, made := extendRequest(t)
	raw := func(colour string, computed any) tftypes.Value {
		values := object.Values{}
		for name, attribute := range made.Attributes {
			values[name] = tftypes.NewValue(attribute.GetType().TerraformType(t.Context()), nil)
		}
		values["colour"] = tftypes.NewValue(tftypes.String, colour)
		values["weight"], values["claim_id"] = tftypes.NewValue(tftypes.Number, computed), tftypes.NewValue(tftypes.String, computed)
		return values.Raw(t.Context(), made.Type())
	}
	for colour, replaces := range map[string]path.Paths{"red": nil, "blue": {path.Root("colour")}} {
		plan := tfsdk.Plan{Schema: made, Raw: raw(colour, tftypes.UnknownValue)}
		changed := resource.ModifyPlanResponse{Plan: plan}
		request.ModifyPlan(t.Context(), resource.ModifyPlanRequest{
			Config: tfsdk.Config{Schema: made, Raw: raw(colour, nil)}, State: tfsdk.State{Schema: made, Raw: raw("red", nil)}, Plan: plan,
		}, &changed)
		if changed.Diagnostics.HasError() || !slices.EqualFunc(changed.RequiresReplace, replaces, path.Path.Equal) {
			t.Errorf("%s: what makes a new request is %v, %v", colour, changed.RequiresReplace, changed.Diagnostics)
		}
		if weight := object.ReadValues(changed.Plan.Raw)["weight"]; weight.IsKnown() != (replaces == nil) {
			t.Errorf("%s: the weight is planned as %v", colour, weight)
		}
	}
}
