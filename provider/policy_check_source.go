package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

// newPolicyCheckSource tells whether a policy can be met by the people there are.
func newPolicyCheckSource() datasource.DataSource {
	return &object.Source{
		Kind: object.Kind{Word: "policy check", Table: wire.PolicyCheckTable,
			About: "Whether a policy can be met by the people there are now: by whom, with how many to spare, and whether it depends on " +
				"single people. With it a `check` block warns, and a precondition fails, before a policy is needed that nobody could satisfy.\n\n" +
				"Write it beside the `check` block and not inside: Terraform reads a data source that is inside again in every apply, and counts that as a " +
				"change, so that an unchanged `terraform plan -detailed-exitcode` exits with 2.\n\n" +
				"The engine finds members through `identity/group/id/*`; where it may not read that, `known` is false and there may be more people than " +
				"shown. A requester never counts for their own request, unless the policy allows it, so somebody in an approver group who asks needs one more."},
		Arguments: []wire.Field{wire.NameField("policy")}, Accept: object.AcceptName,
		Ask: func(ctx context.Context, c *client.Client, given map[string]any) (map[string]any, error) {
			name, _ := given["name"].(string)
			return object.ReadFields(c.CheckPolicy(ctx, name))
		},
	}
}
