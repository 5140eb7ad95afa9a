package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/resourcevalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	vaultsession "github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

var _ resource.ResourceWithConfigValidators = (*configResource)(nil)

// configResource is the engine's configuration, of which there is one.
type configResource struct{ object.Resource }

func newConfigResource() resource.Resource {
	return &configResource{object.Resource{
		Kind: object.Kind{Word: "configuration", Type: "config", Table: wire.ConfigTable,
			About: "How the engine reaches Vault and who it is there, and its limits. There is one per mount. Writing it logs in and " +
				"warns of every capability that the engine's identity lacks.\n\nSecrets are write-only: they reach the engine and never the plan or the " +
				"state. A secret is sent when its `_wo_version` changes. When where or how the engine connects changes (`address`, `namespace`, `ca_cert`, " +
				"`tls_server_name`, `client_cert`, `auth_mount` or `role_id`), the engine asks for its secret again, and all are sent: then `secret_id_wo` has " +
				"to be one that works, so after `rotate_root` a new one.\n\n`terraform plan -generate-config-out` cannot know the secrets: what it writes for this resource needs " +
				"`secret_id_wo` or `token_wo`, and `client_key_wo` if there is a `client_cert`, before it can be planned."},
		More: map[string]schema.Attribute{
			// An instruction and no state, so it is written only.
			"rotate_root": schema.BoolAttribute{Optional: true, WriteOnly: true, MarkdownDescription: "Whether the engine, as soon as it is given a " +
				"`secret_id_wo`, replaces it by one that only the engine knows. Then the one given may be short-lived, such as that of an ephemeral resource. " +
				"Default: `false`."},
		},
		Calls: callConfig, Check: checkConfig, Plan: planIdentity, Send: sendSecrets, Sent: rotateRoot,
	}}
}

func callConfig(c *client.Client) object.Calls {
	return object.Calls{
		Read: func(ctx context.Context, _ string) (map[string]any, error) { return object.ReadFields(c.Config(ctx)) },
		Change: func(ctx context.Context, _ string, fields map[string]any) ([]string, error) {
			return c.ChangeConfig(ctx, fields)
		},
		Delete: func(ctx context.Context, _ string) error { return c.DeleteConfig(ctx) },
	}
}

// ConfigValidators refuse two identities at once.
func (*configResource) ConfigValidators(context.Context) []resource.ConfigValidator {
	return []resource.ConfigValidator{
		resourcevalidator.Conflicting(path.MatchRoot("secret_id_wo"), path.MatchRoot("token_wo")),
		resourcevalidator.Conflicting(path.MatchRoot("role_id"), path.MatchRoot("token_wo")),
	}
}

// checkConfig checks what the engine would connect with; stand-ins take the place of secrets that are not given now.
func checkConfig(given map[string]any, config object.Values) error {
	isOpen := func(attribute string) bool { return !config[attribute].IsKnown() }
	for _, name := range []string{"role_id", "ca_cert", "client_cert"} { // may turn out to be null, or have to be whole to be looked at
		if isOpen(name) {
			given[name] = ""
		}
	}
	for _, name := range []string{"secret_id", "token", "client_key"} {
		if isOpen(name + "_wo") {
			given[name] = ""
		}
	}
	whole := wire.ConfigTable.Defaults()
	maps.Copy(whole, given)
	connection, err := wire.Read[vaultsession.Connection](whole)
	if err != nil {
		return err
	}
	if isOpen("address") {
		connection.Address = "https://unknown"
	}
	if connection.ClientKey == "" || isOpen("client_cert") {
		connection.ClientCert, connection.ClientKey = "", ""
	}
	switch {
	case connection.Token != "":
	case connection.RoleID == "" && connection.SecretID == "" && !isOpen("role_id") && !isOpen("secret_id_wo"):
		connection.Token = "kept"
	default:
		if connection.SecretID == "" {
			connection.SecretID = "kept"
		}
		if connection.RoleID == "" && (isOpen("role_id") || isOpen("token_wo")) {
			connection.RoleID = "unknown"
		}
	}
	if most, _ := whole["max_pending_per_requester"].(int64); most < 1 {
		return refusal.New("max_pending_per_requester", fmt.Sprintf("it is %d", most), "it must be at least 1")
	}
	return connection.Validate()
}

// planIdentity refuses a new configuration without a secret.
func planIdentity(change object.Change, diags *diag.Diagnostics) {
	if change.State != nil {
		return
	}
	if change.Config["secret_id_wo"].IsNull() && change.Config["token_wo"].IsNull() {
		diags.AddAttributeError(path.Root("secret_id_wo"), "The engine needs an identity",
			"Give role_id, secret_id_wo and secret_id_wo_version of the engine's own AppRole, or token_wo and token_wo_version.")
	}
	if change.Config.Text("client_cert") != "" && change.Config["client_key_wo"].IsNull() {
		diags.AddAttributeError(path.Root("client_cert"), "The certificate is of no use without its key", "Give client_key_wo and client_key_wo_version.")
	}
}

// sendSecrets adds the secrets whose version changed: the engine may have replaced the others since. Where the engine
// connects in another way than before, it asks for all of them again.
func sendSecrets(change object.Change, fields map[string]any) {
	elsewhere := false
	for _, name := range []string{"address", "namespace", "ca_cert", "tls_server_name", "client_cert", "auth_mount", "role_id"} {
		elsewhere = elsewhere || !change.Plan[name].Equal(change.State[name])
	}
	if change.Plan.Text("client_cert") == "" {
		fields["client_key"] = ""
	}
	for _, f := range wire.ConfigTable.Accepted() {
		secret, version := change.Config.Text(f.Name+"_wo"), f.Name+"_wo_version"
		if f.Sensitive && secret != "" && (elsewhere || !change.Plan[version].Equal(change.State[version])) {
			fields[f.Name] = secret
		}
	}
}

// rotateRoot replaces the secret id that was just given, if that is wanted. The configuration stands without that, too.
func rotateRoot(ctx context.Context, c *client.Client, change object.Change, fields map[string]any, diags *diag.Diagnostics) {
	var wanted bool
	if given := change.Config["rotate_root"]; !given.IsNull() {
		_ = given.As(&wanted) // the schema says that it is a bool
	}
	if _, sent := fields["secret_id"]; !sent || !wanted {
		return
	}
	warnings, err := c.RotateRoot(ctx)
	if err != nil {
		diags.AddAttributeWarning(path.Root("rotate_root"), "The secret_id is not replaced", fmt.Sprintf(
			"The engine works with the one it was given. Try again with `vault write -f %s/config/rotate-root`: %v", c.Mount(), err))
	}
	object.Warn(diags, "its secret_id", warnings)
}

// importID is what the configuration is imported by.
const importID = "config"

// ImportState imports "config", or "config/3" where the configuration gives version 3 of the secret: the engine shows
// no secret, so that is taken to be the one it has.
func (r *configResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	version, given := strings.CutPrefix(req.ID, importID+"/")
	number, err := strconv.ParseInt(version, 10, 64)
	if req.ID == importID {
		number, given, err = 1, true, nil
	}
	if err != nil || !given {
		resp.Diagnostics.AddError("Not an import id", fmt.Sprintf("%q is not accepted; it must be %q, or such as %q where the configuration gives "+
			"other versions of its secrets than 1.", req.ID, importID, importID+"/3"))
		return
	}
	config, err := r.readConfig(ctx)
	if err != nil {
		resp.Diagnostics.AddError("Cannot import the engine's configuration", err.Error())
		return
	}
	held := path.Root("token_wo_version")
	if config.RoleID != "" {
		held = path.Root("secret_id_wo_version")
	}
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, held, number)...)
	if config.ClientCert != "" {
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("client_key_wo_version"), number)...)
	}
}

func (r *configResource) readConfig(ctx context.Context) (wire.Config, error) {
	c, err := r.Client(ctx)
	if err != nil {
		return wire.Config{}, err
	}
	config, err := c.Config(ctx)
	if errors.Is(err, client.ErrAbsent) {
		err = fmt.Errorf("the engine at %q is not configured: apply instead of importing", c.Mount())
	}
	return config, err
}
