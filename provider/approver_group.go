package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

const (
	approverGroupKind       = "approver group"
	approverGroupCollection = "approver-groups"
)

type approverGroup struct {
	Name             types.String `tfsdk:"name"`
	EntityIDs        types.Set    `tfsdk:"entity_ids"`
	IdentityGroupIDs types.Set    `tfsdk:"identity_group_ids"`
	Description      types.String `tfsdk:"description"`
}

func newApproverGroupResource() resource.Resource {
	return &definition[approverGroup, *approverGroup]{kind: approverGroupKind, collection: approverGroupCollection, shape: approverGroupSchema()}
}

func newApproverGroupSource() datasource.DataSource {
	return &definitionSource[approverGroup, *approverGroup]{kind: approverGroupKind, collection: approverGroupCollection, shape: approverGroupSchema()}
}

func approverGroupSchema() schema.Schema {
	return schema.Schema{
		MarkdownDescription: "A named set of approvers: Vault entities, and members of Vault identity groups. Who is in it is looked up at " +
			"every decision and again at the claim.",
		Attributes: map[string]schema.Attribute{
			"name":       nameAttribute(approverGroupKind),
			"entity_ids": idsAttribute("Ids of Vault entities that belong to the group."),
			"identity_group_ids": idsAttribute("Ids of Vault identity groups whose members, also through inner groups, belong to the group. " +
				"At least one entity or identity group is needed."),
			"description": descriptionAttribute("What the group is for."),
		},
	}
}

func (g *approverGroup) key() string { return g.Name.ValueString() }

func (g *approverGroup) value() approval.ApproverGroup {
	return approval.ApproverGroup{
		Name: text(g.Name), EntityIDs: texts(g.EntityIDs), IdentityGroupIDs: texts(g.IdentityGroupIDs), Description: text(g.Description),
	}
}

func (g *approverGroup) validate() error { return g.value().Validate() }

func (g *approverGroup) payload() map[string]any {
	v := g.value()
	return map[string]any{"entity_ids": v.EntityIDs, "identity_group_ids": v.IdentityGroupIDs, "description": v.Description}
}

func (g *approverGroup) fill(name string, answer map[string]any) error {
	v, err := decode[approval.ApproverGroup](answer)
	if err != nil {
		return err
	}
	*g = approverGroup{
		Name: types.StringValue(name), EntityIDs: set(v.EntityIDs), IdentityGroupIDs: set(v.IdentityGroupIDs),
		Description: types.StringValue(v.Description),
	}
	return nil
}

func (g *approverGroup) references() []reference { return nil }

func (g *approverGroup) settle(*approverGroup) {}
