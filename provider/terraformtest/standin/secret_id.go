package main

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/vault/api"
)

// secretID makes a secret id and, as the real one, leaves its end to its ttl.
type secretID struct{ client *api.Client }

type secretIDModel struct {
	Backend  types.String `tfsdk:"backend"`
	RoleName types.String `tfsdk:"role_name"`
	TTL      types.Int64  `tfsdk:"ttl"`
	SecretID types.String `tfsdk:"secret_id"`
}

func (s *secretID) Metadata(_ context.Context, _ ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = "vault_approle_auth_backend_role_secret_id"
}

func (s *secretID) Configure(_ context.Context, req ephemeral.ConfigureRequest, _ *ephemeral.ConfigureResponse) {
	s.client, _ = req.ProviderData.(*api.Client)
}

func (s *secretID) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"backend":   schema.StringAttribute{Optional: true},
		"role_name": schema.StringAttribute{Required: true},
		"ttl":       schema.Int64Attribute{Optional: true},
		"secret_id": schema.StringAttribute{Computed: true, Sensitive: true},
	}}
}

func (s *secretID) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var m secretIDModel
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	role := fmt.Sprintf("auth/%s/role/%s", m.Backend.ValueString(), m.RoleName.ValueString())
	answer, err := s.client.Logical().WriteWithContext(ctx, role+"/secret-id", map[string]any{"ttl": m.TTL.ValueInt64()})
	if err != nil {
		resp.Diagnostics.AddError("No secret id", err.Error())
		return
	}
	m.SecretID = types.StringValue(fmt.Sprint(answer.Data["secret_id"]))
	resp.Diagnostics.Append(resp.Result.Set(ctx, &m)...)
}
