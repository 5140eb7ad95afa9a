package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/ephemeral/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/provider/object"
)

func (c *credentials) Schema(ctx context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The credential of a request, for as long as Terraform applies: waits for the quorum, claims, and revokes the grant when " +
			"Terraform is done with it. Nothing of it is in a plan or a state, and **a plan never claims**: a request is granted once.\n\n" +
			"With `claim_id` it belongs to a `vaultjit_request` of this configuration, and claims when an apply has come to that. With `request_id` it takes a request " +
			"that somebody made, and claims if `claim` is true, which `terraform.applying` is in an apply only. Otherwise `data` is null, and nothing is " +
			"claimed, waited for or ended. Whatever runs again needs a new request: new `keepers`, or another `request_id`.\n\n" +
			"While it waits, the log (`TF_LOG_PROVIDER=INFO`) tells what is still missing. A denial, a cancellation, the end of `timeouts.open` or an interruption " +
			"of Terraform ends the wait with the verdict. Then a request that this run made is cancelled, and any other left as it is. A grant that this run " +
			"claimed is revoked, and one that somebody else claimed is not touched. Several of these resources with one request share its credential, as long " +
			"as one provider block is theirs.\n\n" +
			"If the request is over, `data` is null and a warning tells its verdict, so that a plan or a destroy can go on. What needs a credential in an apply " +
			"takes it as `data.NAME`, or all of it as `trimspace(ephemeral.vaultjit_credentials.NAME.data_json)`: both fail where there is none, while a null " +
			"`data_json` would be, for instance, an environment variable that is not set. What Terraform looks at in a plan, too, which are provider blocks and " +
			"write-only arguments, takes it as `try(ephemeral.vaultjit_credentials.NAME.data.password, null)`. With that, another provider gets as far as it can " +
			"without a credential; what it needs to log in for while it plans, refreshes or destroys needs a configuration of its own.",
		Attributes: map[string]schema.Attribute{
			"claim_id": schema.StringAttribute{Optional: true, MarkdownDescription: "The `claim_id` of a `vaultjit_request`. Either this or `request_id` is needed.",
				Validators: []validator.String{object.AcceptRequestID}},
			"request_id": schema.StringAttribute{Optional: true, MarkdownDescription: "The id of a request that was made elsewhere, by the same login.",
				Validators: []validator.String{object.AcceptRequestID}},
			"claim": schema.BoolAttribute{Optional: true, MarkdownDescription: "Whether to wait for the request and claim it; required with `request_id`. Give it " +
				"`terraform.applying`: with `true` a plan claims. An apply with nothing to change claims, too, and so does `apply -refresh-only`."},
			"data": schema.MapAttribute{Computed: true, Sensitive: true, ElementType: types.StringType,
				MarkdownDescription: "What the role's path gave, under the names it gave it, such as `username` and `password`. What is no string is JSON."},
			"data_json":      schema.StringAttribute{Computed: true, Sensitive: true, MarkdownDescription: "The same as a JSON object."},
			"lease_id":       schema.StringAttribute{Computed: true, Sensitive: true, MarkdownDescription: "Vault's lease of the grant."},
			"lease_duration": schema.Int64Attribute{Computed: true, MarkdownDescription: "How long the grant lives at most, in seconds."},
			"timeouts": timeouts.AttributesWithOpts(ctx, timeouts.Opts{
				OpenDescription: "How long to wait for the quorum, such as `1h`. The provider's token has to live that long. Default: `30m`.",
			}),
		},
	}
}
