package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/providervalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/cliconfig"
)

// defaultMount is where the engine is mounted unless the configuration says otherwise.
const defaultMount = "jit"

// connection is the provider's configuration: how Vault is reached and who one is there.
type connection struct {
	Address       types.String `tfsdk:"address"`
	Token         types.String `tfsdk:"token"`
	Namespace     types.String `tfsdk:"namespace"`
	CACertFile    types.String `tfsdk:"ca_cert_file"`
	TLSServerName types.String `tfsdk:"tls_server_name"`
	SkipTLSVerify types.Bool   `tfsdk:"skip_tls_verify"`
	Mount         types.String `tfsdk:"mount"`
	AppRole       types.Object `tfsdk:"auth_login_approle"`
	JWT           types.Object `tfsdk:"auth_login_jwt"`
}

func (p *vaultjit) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Just-in-time, quorum-approved access with Vault or OpenBao: the set-up of the " +
			"`vault-plugin-secrets-jit` secrets engine as code, and requests whose credential is handed back when Terraform is done.",
		Attributes: map[string]schema.Attribute{
			"address": schema.StringAttribute{Optional: true, MarkdownDescription: "URL of Vault, for example " +
				"`https://vault.example.com:8200`. Environment: `VAULT_ADDR`. Default: `https://127.0.0.1:8200`."},
			"token": schema.StringAttribute{Optional: true, Sensitive: true, MarkdownDescription: "Token to use. " +
				"Environment: `VAULT_TOKEN`. Default: what `vault login` left in `~/.vault-token` or with a token helper."},
			"namespace": schema.StringAttribute{Optional: true, MarkdownDescription: "Vault namespace of the mount. Environment: `VAULT_NAMESPACE`."},
			"ca_cert_file": schema.StringAttribute{Optional: true, MarkdownDescription: "File with the CA certificate of Vault, PEM. " +
				"Environment: `VAULT_CACERT`. Default: the system's certificates."},
			"tls_server_name": schema.StringAttribute{Optional: true, MarkdownDescription: "Name to expect in Vault's certificate. " +
				"Environment: `VAULT_TLS_SERVER_NAME`. Default: the address's host."},
			"skip_tls_verify": schema.BoolAttribute{Optional: true, MarkdownDescription: "Accept any certificate: whoever is in between " +
				"can then read every secret. Environment: `VAULT_SKIP_VERIFY`. Default: `false`."},
			"mount": schema.StringAttribute{Optional: true, MarkdownDescription: "Path of the engine's mount. Default: `jit`.",
				Validators: []validator.String{stringvalidator.LengthAtLeast(1)}},
			"auth_login_approle": schema.SingleNestedAttribute{Optional: true,
				MarkdownDescription: "Log in with an AppRole instead of a token. The login's entity is who asks and claims.",
				Attributes: map[string]schema.Attribute{
					"mount":     schema.StringAttribute{Optional: true, MarkdownDescription: "Path of the auth mount. Default: `approle`."},
					"role_id":   schema.StringAttribute{Optional: true, MarkdownDescription: "Environment: `VAULT_ROLE_ID`."},
					"secret_id": schema.StringAttribute{Optional: true, Sensitive: true, MarkdownDescription: "Environment: `VAULT_SECRET_ID`."},
				}},
			"auth_login_jwt": schema.SingleNestedAttribute{Optional: true,
				MarkdownDescription: "Log in with a JWT, such as the identity token of a CI job, instead of a token. The login's entity is who asks and claims.",
				Attributes: map[string]schema.Attribute{
					"mount": schema.StringAttribute{Optional: true, MarkdownDescription: "Path of the auth mount. Default: `jwt`."},
					"role":  schema.StringAttribute{Optional: true, MarkdownDescription: "Role of the auth mount. Default: the mount's default role."},
					"jwt":   schema.StringAttribute{Optional: true, Sensitive: true, MarkdownDescription: "The JWT. Environment: `TERRAFORM_VAULT_AUTH_JWT`."},
				}},
		},
	}
}

// ConfigValidators refuse two ways to log in at once.
func (p *vaultjit) ConfigValidators(context.Context) []provider.ConfigValidator {
	return []provider.ConfigValidator{
		providervalidator.Conflicting(path.MatchRoot("token"), path.MatchRoot("auth_login_approle"), path.MatchRoot("auth_login_jwt")),
	}
}

// engine makes what talks to the engine. Nothing is sent yet: a configuration can be complete only when it is applied,
// and a run that only evaluates functions needs no Vault.
func (c connection) engine(diags *diag.Diagnostics, p *vaultjit) *engine {
	here := p.run
	if here == nil {
		here = &run{}
	}
	for name, value := range map[string]attr.Value{
		"address": c.Address, "token": c.Token, "namespace": c.Namespace, "ca_cert_file": c.CACertFile, "tls_server_name": c.TLSServerName,
		"skip_tls_verify": c.SkipTLSVerify, "mount": c.Mount, "auth_login_approle": c.AppRole, "auth_login_jwt": c.JWT,
	} {
		if value.IsUnknown() {
			return &engine{run: here, custody: &p.custody, unusable: fmt.Errorf("the provider's %s is known only after something else is applied: apply that first with -target", name)}
		}
	}
	client, err := c.client()
	if err != nil {
		diags.AddError("Cannot make a client for Vault", err.Error())
		return nil
	}
	mount := defaultMount
	if given := strings.Trim(c.Mount.ValueString(), "/"); given != "" {
		mount = given
	}
	writing, err := client.Clone()
	if err != nil {
		diags.AddError("Cannot make a client for Vault", err.Error())
		return nil
	}
	writing.SetNamespace(client.Namespace())
	writing.SetMaxRetries(0)
	return &engine{reading: client, writing: writing, mount: mount, version: p.version, login: c.login(), run: here, custody: &p.custody}
}

// client reaches Vault as the environment says, and as the configuration says where that says something.
func (c connection) client() (*api.Client, error) {
	config := api.DefaultConfig()
	if config.Error != nil {
		return nil, fmt.Errorf("the environment's VAULT_… settings: %w", config.Error)
	}
	if address := c.Address.ValueString(); address != "" {
		config.Address, config.AgentAddress = address, ""
	}
	tls := api.TLSConfig{CACert: c.CACertFile.ValueString(), TLSServerName: c.TLSServerName.ValueString(), Insecure: c.SkipTLSVerify.ValueBool()}
	if tls.CACert != "" || tls.TLSServerName != "" || tls.Insecure {
		if err := config.ConfigureTLS(&tls); err != nil {
			return nil, fmt.Errorf("ca_cert_file: %w", err)
		}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("address is %q; accepted is a URL such as https://vault.example.com:8200: %w", config.Address, err)
	}
	// VAULT_WRAP_TTL would have every answer wrapped.
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	if namespace := c.Namespace.ValueString(); namespace != "" {
		client.SetNamespace(namespace)
	}
	return client, nil
}

var errNoToken = errors.New("there is no token for Vault: set the provider's token or VAULT_TOKEN, run `vault login`, or give " +
	"auth_login_approle or auth_login_jwt")

// storedToken is what `vault login` left behind.
func storedToken() (string, error) {
	helper, err := cliconfig.DefaultTokenHelper()
	if err != nil {
		return "", fmt.Errorf("looking for the token that `vault login` stored: %w", err)
	}
	token, err := helper.Get()
	if err != nil {
		return "", fmt.Errorf("reading the token that `vault login` stored: %w", err)
	}
	if token == "" {
		return "", errNoToken
	}
	return token, nil
}
