// Command standin stands in, in tests, for HashiCorp's own provider "vault", which no Go module gives: it has the few
// resources that the examples use, under their names and with the arguments that the examples give them, and writes
// them to Vault as that one does. It does not look for drift. TERRAFORM_PROVIDER_VAULT names the real binary for tests
// that shall use that.
package main

import (
	"context"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/vault/api"
)

func main() {
	serve := providerserver.ServeOpts{Address: "registry.terraform.io/hashicorp/vault"}
	if err := providerserver.Serve(context.Background(), func() provider.Provider { return &standin{} }, serve); err != nil {
		log.Fatal(err)
	}
}

type standin struct{}

func (*standin) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = "vault"
}

func (*standin) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{}
}

// Configure takes everything from VAULT_ADDR and VAULT_TOKEN.
func (*standin) Configure(_ context.Context, _ provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	client, err := api.NewClient(nil)
	if err != nil {
		resp.Diagnostics.AddError("No client", err.Error())
		return
	}
	resp.ResourceData, resp.EphemeralResourceData = client, client
}

func (*standin) Resources(context.Context) []func() resource.Resource {
	var all []func() resource.Resource
	for _, k := range kinds {
		all = append(all, func() resource.Resource { return &object{kind: k} })
	}
	return all
}

func (*standin) DataSources(context.Context) []func() datasource.DataSource { return nil }

func (*standin) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return []func() ephemeral.EphemeralResource{func() ephemeral.EphemeralResource { return &secretID{} }}
}
