package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

var approverGroupKind = object.Kind{
	Word: "approver group", Collection: "approver-groups", Table: wire.ApproverGroupTable,
	About: "A named set of approvers: Vault entities, and members of Vault identity groups. Who is in it is looked up at every decision and again at the claim.",
}

// replacedFirst is said of what other definitions name.
const replacedFirst = "\n\nThe engine does not delete what something else still names, and by default Terraform deletes before it changes what named it. " +
	"So give it `lifecycle { create_before_destroy = true }` from the start, as in the example: then a change that takes the name away from what names it and " +
	"deletes it, or renames it, goes through in one apply."

func newApproverGroupResource() resource.Resource {
	return &object.Resource{Kind: approverGroupKind, AlsoAbout: replacedFirst, Check: checkApproverGroup}
}

func newApproverGroupSource() datasource.DataSource { return object.NewSource(approverGroupKind) }

func checkApproverGroup(given map[string]any, _ object.Values) error {
	return validate(wire.Define[approval.ApproverGroup](wire.ApproverGroupTable, "", nil, given))
}

// validate is the engine's own check of a definition, if there is one.
func validate[T interface{ Validate() error }](definition T, err error) error {
	if err != nil {
		return err
	}
	return definition.Validate()
}
