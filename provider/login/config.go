// Package login is who the provider is at Vault: how the provider block says to log in, and the token that came of it.
package login

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/providervalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
)

// defaultMount is where the engine is mounted unless the configuration says otherwise.
const defaultMount = "jit"

// Config is the provider block: how Vault is reached and who one is there.
type Config struct {
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

// loginEnds is what becomes of the token of a login.
const loginEnds = "Its token is renewed while Terraform runs, replaced by another login when it has ended, and revoked at the end. A grant ends with the " +
	"token that claimed it, so the login's role needs a `token_max_ttl` of more than the window (a `token_ttl` of that for tokens that cannot be renewed); " +
	"the claim warns if it is less."

// Schema describes the provider block.
func Schema() schema.Schema {
	return schema.Schema{
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
				MarkdownDescription: "Log in with an AppRole instead of a token. The login's entity is who asks and claims. " + loginEnds +
					" Terraform logs in to plan and again to apply, so `secret_id_num_uses` has to be 0 or at least 2, and 3 where it may log in again.",
				Attributes: map[string]schema.Attribute{
					"mount":     schema.StringAttribute{Optional: true, MarkdownDescription: "Path of the auth mount. Default: `approle`."},
					"role_id":   schema.StringAttribute{Optional: true, MarkdownDescription: "Environment: `VAULT_ROLE_ID`."},
					"secret_id": schema.StringAttribute{Optional: true, Sensitive: true, MarkdownDescription: "Environment: `VAULT_SECRET_ID`."},
				}},
			"auth_login_jwt": schema.SingleNestedAttribute{Optional: true,
				MarkdownDescription: "Log in with a JWT, such as the identity token of a CI job, instead of a token. The login's entity is who asks and claims. " + loginEnds,
				Attributes: map[string]schema.Attribute{
					"mount": schema.StringAttribute{Optional: true, MarkdownDescription: "Path of the auth mount. Default: `jwt`."},
					"role":  schema.StringAttribute{Optional: true, MarkdownDescription: "Role of the auth mount. Default: the mount's default role."},
					"jwt":   schema.StringAttribute{Optional: true, Sensitive: true, MarkdownDescription: "The JWT. Environment: `TERRAFORM_VAULT_AUTH_JWT`."},
				}},
		},
	}
}

// RequireOneWay refuses two ways to log in at once.
func RequireOneWay() provider.ConfigValidator {
	return providervalidator.Conflicting(path.MatchRoot("token"), path.MatchRoot("auth_login_approle"), path.MatchRoot("auth_login_jwt"))
}

// Session is the session that the provider block describes, whose own logins are ended with the others. Nothing is sent
// yet: a configuration can be complete only when it is applied, and a run that only evaluates functions needs no Vault.
func (c Config) Session(version string, logins *Logins) (*Session, error) {
	for name, value := range map[string]attr.Value{
		"address": c.Address, "token": c.Token, "namespace": c.Namespace, "ca_cert_file": c.CACertFile, "tls_server_name": c.TLSServerName,
		"skip_tls_verify": c.SkipTLSVerify, "mount": c.Mount, "auth_login_approle": c.AppRole, "auth_login_jwt": c.JWT,
	} {
		if !isKnown(value) {
			return &Session{unusable: fmt.Errorf("the provider's %s is known only after something else is applied: apply that first with -target", name)}, nil
		}
	}
	vault, err := c.vault()
	if err != nil {
		return nil, err
	}
	mount := defaultMount
	if given := strings.Trim(c.Mount.ValueString(), "/"); given != "" {
		mount = given
	}
	s := &Session{version: version, way: c.chooseWay(), logins: logins}
	if s.client, err = client.New(vault, mount); err != nil {
		return nil, fmt.Errorf("making a client for Vault: %w", err)
	}
	s.vault = vault
	if s.way.own {
		s.client.Relogin = s.logInAgain
	}
	return s, nil
}

// isKnown reports whether a value is known, and all in it.
func isKnown(value attr.Value) bool {
	object, ok := value.(types.Object)
	if !ok || value.IsUnknown() {
		return !value.IsUnknown()
	}
	for _, inner := range object.Attributes() {
		if inner.IsUnknown() {
			return false
		}
	}
	return true
}

// vault reaches Vault as the environment says, and as the configuration says where that says something.
func (c Config) vault() (*api.Client, error) {
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
	// ConfigureTLS only ever adds to what the environment says.
	if transport, ok := config.HttpClient.Transport.(*http.Transport); ok && !c.SkipTLSVerify.IsNull() {
		transport.TLSClientConfig.InsecureSkipVerify = c.SkipTLSVerify.ValueBool()
	}
	vault, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("address is %q; accepted is a URL such as https://vault.example.com:8200", client.HidePassword(config.Address))
	}
	if namespace := c.Namespace.ValueString(); namespace != "" {
		vault.SetNamespace(namespace)
	}
	return client.Clone(vault)
}
