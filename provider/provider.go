package provider

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/vault-jit/vault-jit/provider/login"
	"github.com/vault-jit/vault-jit/provider/object"
	"github.com/vault-jit/vault-jit/provider/run"
)

// Address is where registries know the provider.
const Address = "registry.terraform.io/vault-jit/vaultjit"

// typePrefix begins the name of every resource.
const typePrefix = "vaultjit"

var (
	_ provider.Provider                       = (*vaultjit)(nil)
	_ provider.ProviderWithFunctions          = (*vaultjit)(nil)
	_ provider.ProviderWithEphemeralResources = (*vaultjit)(nil)
	_ provider.ProviderWithConfigValidators   = (*vaultjit)(nil)
)

type vaultjit struct {
	version string
	run     *run.Run
	custody run.Custody
	logins  login.Logins
}

// New makes the provider of the given version, without a leading v, for a process that Terraform did not start.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &vaultjit{version: version, run: &run.Run{}} }
}

// orphanCheck is how often a process looks whether Terraform is still there.
const orphanCheck = 500 * time.Millisecond

// Serve is the provider as a process that Terraform started; it returns when Terraform is done with it.
func Serve(ctx context.Context, version string, debug bool) error {
	terraform := os.Getppid()
	p := &vaultjit{version: version, run: run.Shared(run.Files, terraform)}
	go func() {
		for os.Getppid() == terraform {
			time.Sleep(orphanCheck)
		}
		p.leave(ctx)
		os.Exit(1)
	}()
	err := providerserver.Serve(ctx, func() provider.Provider { return p }, providerserver.ServeOpts{Address: Address, Debug: debug})
	p.leave(ctx)
	return err
}

// leave ends what is left, and then the logins.
func (p *vaultjit) leave(ctx context.Context) {
	p.custody.Release(ctx)
	p.logins.End(ctx)
}

func (p *vaultjit) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = typePrefix
	resp.Version = p.version
}

func (p *vaultjit) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = login.Schema()
}

func (p *vaultjit) ConfigValidators(context.Context) []provider.ConfigValidator {
	return []provider.ConfigValidator{login.RequireOneWay()}
}

func (p *vaultjit) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var config login.Config
	if resp.Diagnostics.Append(req.Config.Get(ctx, &config)...); resp.Diagnostics.HasError() {
		return
	}
	session, err := config.Session(p.version, &p.logins)
	if err != nil {
		resp.Diagnostics.AddError("Cannot make a client for Vault", err.Error())
		return
	}
	data := &object.Data{Client: session.Client, Mount: session.Mount(), Place: session.Place(), Run: p.run}
	resp.ResourceData, resp.DataSourceData = data, data
	resp.EphemeralResourceData = &credentialsData{Data: data, token: session, custody: &p.custody}
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
