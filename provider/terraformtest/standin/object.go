package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/vault/api"
)

// object is a resource of one kind.
type object struct {
	kind   kind
	client *api.Client
}

func (o *object) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = o.kind.name
}

func (o *object) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	o.client, _ = req.ProviderData.(*api.Client)
}

func (o *object) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	attributes := map[string]schema.Attribute{}
	kept := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	for _, name := range append(slices.Clone(o.kind.answered), "id") {
		attributes[name] = schema.StringAttribute{Computed: true, PlanModifiers: kept}
	}
	for _, name := range o.kind.texts {
		required := slices.Contains(o.kind.required, name)
		attributes[name] = schema.StringAttribute{Required: required, Optional: !required}
	}
	for _, name := range o.kind.truths {
		attributes[name] = schema.BoolAttribute{Optional: true}
	}
	for _, name := range o.kind.numbers {
		attributes[name] = schema.Int64Attribute{Optional: true}
	}
	for _, name := range o.kind.sets {
		attributes[name] = schema.SetAttribute{Optional: true, ElementType: types.StringType}
	}
	resp.Schema = schema.Schema{Attributes: attributes}
}

func (o *object) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	o.put(ctx, req.Plan, &resp.State, &resp.Diagnostics)
}

func (o *object) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	o.put(ctx, req.Plan, &resp.State, &resp.Diagnostics)
}

func (o *object) put(ctx context.Context, plan tfsdk.Plan, state *tfsdk.State, diags *diag.Diagnostics) {
	var planned types.Object
	if diags.Append(plan.Get(ctx, &planned)...); diags.HasError() {
		return
	}
	v := valuesOf(planned)
	path := o.kind.path(v)
	written, err := o.client.Logical().WriteWithContext(ctx, path, o.kind.body(v))
	if err == nil && o.kind.learn != nil {
		err = o.kind.learn(ctx, o.client, v, written)
	}
	if err != nil {
		diags.AddError("Cannot write "+path, err.Error())
		return
	}
	attributes := planned.Attributes()
	for name, value := range attributes {
		if !value.IsUnknown() {
			continue
		}
		text := v.text(name)
		if name == "id" && text == "" {
			text = path
		}
		attributes[name] = types.StringValue(text)
	}
	whole, more := types.ObjectValue(planned.AttributeTypes(ctx), attributes)
	diags.Append(more...)
	diags.Append(state.Set(ctx, whole)...)
}

func valuesOf(object types.Object) values {
	v := values{}
	for name, value := range object.Attributes() {
		if value.IsNull() || value.IsUnknown() {
			continue
		}
		switch value := value.(type) {
		case types.String:
			v[name] = value.ValueString()
		case types.Bool:
			v[name] = value.ValueBool()
		case types.Int64:
			v[name] = value.ValueInt64()
		case types.Set:
			v[name] = textsOf(value.Elements())
		}
	}
	return v
}

func textsOf(elements []attr.Value) []string {
	texts := []string{}
	for _, element := range elements {
		if text, ok := element.(types.String); ok {
			texts = append(texts, text.ValueString())
		}
	}
	return texts
}

// Read takes the state's word.
func (o *object) Read(context.Context, resource.ReadRequest, *resource.ReadResponse) {}

func (o *object) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state types.Object
	if resp.Diagnostics.Append(req.State.Get(ctx, &state)...); resp.Diagnostics.HasError() {
		return
	}
	where := o.kind.path
	if o.kind.deleted != nil {
		where = o.kind.deleted
	}
	if _, err := o.client.Logical().DeleteWithContext(ctx, where(valuesOf(state))); err != nil {
		resp.Diagnostics.AddError("Cannot delete", fmt.Sprint(err))
	}
}
