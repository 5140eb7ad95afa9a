package provider

import (
	"context"
	"fmt"
	"maps"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	resourceschema "github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// definitionSource is the data source for an approver group, a policy or a role: what the resource has, and which
// write of it this is.
type definitionSource[M any, P model[M]] struct {
	kind, collection string
	shape            resourceschema.Schema
	engine           *engine
}

func (d *definitionSource[M, P]) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = typeName(d.kind)
}

func (d *definitionSource[M, P]) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	d.engine, _ = req.ProviderData.(*engine)
}

func (d *definitionSource[M, P]) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	attributes := computed(d.shape.Attributes)
	attributes["name"] = schema.StringAttribute{Required: true, MarkdownDescription: "Name of the " + d.kind + ".",
		Validators: []validator.String{namesDefinition()}}
	attributes["version"] = schema.Int64Attribute{Computed: true, MarkdownDescription: "Counts the writes, from 1."}
	attributes["updated_at"] = schema.StringAttribute{Computed: true, MarkdownDescription: "When it was written last, RFC 3339."}
	attributes["updated_by"] = schema.StringAttribute{Computed: true, MarkdownDescription: "Display name of the token that wrote it last."}
	resp.Schema = schema.Schema{MarkdownDescription: d.shape.MarkdownDescription, Attributes: attributes}
}

func (d *definitionSource[M, P]) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var name types.String
	if resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("name"), &name)...); resp.Diagnostics.HasError() {
		return
	}
	failed := fmt.Sprintf("Cannot read %s %q", d.kind, name.ValueString())
	answer, err := d.engine.read(ctx, joinPath(d.collection, name.ValueString()))
	if err != nil {
		resp.Diagnostics.AddError(failed, err.Error())
		return
	}
	if answer == nil {
		resp.Diagnostics.AddAttributeError(path.Root("name"), failed, fmt.Sprintf("There is no %s of this name at %q.", d.kind, d.engine.mount))
		return
	}
	var m M
	revision, err := decode[approval.Revision](answer)
	if err == nil {
		err = P(&m).fill(name.ValueString(), answer)
	}
	if err != nil {
		resp.Diagnostics.AddError(failed, err.Error())
		return
	}
	object, diags := types.ObjectValueFrom(ctx, attributeTypes(d.shape.Type()), &m)
	resp.Diagnostics.Append(diags...)
	attributes := maps.Clone(object.Attributes())
	updatedAt, _ := answer["updated_at"].(string)
	attributes["version"] = types.Int64Value(int64(revision.Version))
	attributes["updated_at"] = types.StringValue(updatedAt)
	attributes["updated_by"] = types.StringValue(revision.UpdatedBy)
	if resp.Diagnostics.HasError() {
		return
	}
	whole, diags := types.ObjectValue(attributeTypes(resp.State.Schema.Type()), attributes)
	resp.Diagnostics.Append(diags...)
	resp.Diagnostics.Append(resp.State.Set(ctx, whole)...)
}

func attributeTypes(t attr.Type) map[string]attr.Type {
	object, ok := t.(attr.TypeWithAttributeTypes)
	if !ok {
		return nil
	}
	return object.AttributeTypes()
}
