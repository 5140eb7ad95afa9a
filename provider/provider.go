package provider

import (
	"context"
	"github.com/vault-jit/vault-jit/provider/run"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"
)

// Address is where registries know the provider.
const Address = "registry.terraform.io/vault-jit/vaultjit"

// typePrefix begins the name of every resource.
const typePrefix = "vaultjit"

var (
	_ provider.Provider                       = (*vaultjit)(nil)
	_ provider.ProviderWithFunctions          = (*vaultjit)(nil)
	_ provider.ProviderWithEphemeralResources = (*vaultjit)(nil)
)

type vaultjit struct {
	version string
	// run is shared with the other processes of this run of Terraform; nil where there are none.
	run      *run.Run
	custody  custody
	sessions sessions
}

// New makes the provider of the given version, without a leading v.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &vaultjit{version: version} }
}

func (p *vaultjit) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = typePrefix
	resp.Version = p.version
}

func (p *vaultjit) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var c connection
	resp.Diagnostics.Append(req.Config.Get(ctx, &c)...)
	if resp.Diagnostics.HasError() {
		return
	}
	e := c.engine(&resp.Diagnostics, p).configured()
	resp.ResourceData, resp.DataSourceData, resp.EphemeralResourceData = e, e, e
}

func (p *vaultjit) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		newConfigResource,
		newApproverGroupResource,
		newPolicyResource,
		newRoleResource,
		newRequestResource,
	}
}

func (p *vaultjit) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{
		newApproverGroupSource,
		newPolicySource,
		newRoleSource,
		newRequestSource,
		newRequestsSource,
		newPolicyCheckSource,
	}
}

func (p *vaultjit) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return []func() ephemeral.EphemeralResource{newCredentials}
}

func (p *vaultjit) Functions(context.Context) []func() function.Function {
	return []func() function.Function{newQuorumFunction}
}
