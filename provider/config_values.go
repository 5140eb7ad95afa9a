package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	vaultsession "github.com/vault-jit/vault-jit/plugin/session"
)

// connection is what the engine would connect with; stand-ins take the place of secrets that are not given now.
func (c *config) connection() vaultsession.Connection {
	v := vaultsession.Connection{
		Address: text(c.Address), Namespace: text(c.Namespace), CACert: text(c.CACert), TLSServerName: text(c.TLSServerName),
		ClientCert: text(c.ClientCert), ClientKey: text(c.ClientKeyWO), AuthMount: textOr(c.AuthMount, "approle"),
		RoleID: text(c.RoleID), SecretID: text(c.SecretIDWO), Token: text(c.TokenWO), TokenRole: text(c.TokenRole),
	}
	// What is not known yet may turn out to be null, beside the other way to log in.
	if !c.TokenWO.IsNull() && !c.TokenWO.IsUnknown() && c.RoleID.IsUnknown() {
		v.RoleID = ""
	}
	if c.TokenWO.IsUnknown() && v.RoleID != "" {
		v.Token = ""
	}
	if v.Token == "" && v.SecretID == "" {
		v.SecretID = "kept"
		if v.RoleID == "" {
			v.Token, v.SecretID = "kept", ""
		}
	}
	if c.Address.IsUnknown() {
		v.Address = "https://unknown"
	}
	// Certificates have to be whole to be looked at.
	if c.CACert.IsUnknown() {
		v.CACert = ""
	}
	if c.ClientCert.IsUnknown() || c.ClientKeyWO.IsUnknown() || c.ClientKeyWO.IsNull() {
		v.ClientCert, v.ClientKey = "", ""
	}
	return v
}

// secrets are those that the configuration gives.
func (c *config) secrets() map[string]any {
	all := map[string]any{}
	for field, value := range map[string]types.String{"client_key": c.ClientKeyWO, "secret_id": c.SecretIDWO, "token": c.TokenWO} {
		if !value.IsNull() {
			all[field] = value.ValueString()
		}
	}
	return all
}

// connectsElsewhere reports whether the engine asks for its secrets again: it sends them to no other place, and in no
// other way, than they were given for.
func (c *config) connectsElsewhere(before config) bool {
	mine, its := c.connection(), before.connection()
	mine.TokenRole, its.TokenRole = "", ""
	return mine != its || !c.ClientCert.Equal(before.ClientCert)
}

// keepUnchanged takes the secrets away that have the version they had: the engine may have replaced them since.
func (c *config) keepUnchanged(secrets map[string]any, before config) {
	for field, versions := range map[string][2]types.Int64{
		"client_key": {c.ClientKeyWOVersion, before.ClientKeyWOVersion}, "secret_id": {c.SecretIDWOVersion, before.SecretIDWOVersion},
		"token": {c.TokenWOVersion, before.TokenWOVersion},
	} {
		if versions[0].Equal(versions[1]) {
			delete(secrets, field)
		}
	}
}

func (r *configResource) put(ctx context.Context, diags *diag.Diagnostics, c config, secrets map[string]any) bool {
	v := c.connection()
	data := map[string]any{
		"address": v.Address, "namespace": v.Namespace, "ca_cert": v.CACert, "tls_server_name": v.TLSServerName,
		"client_cert": c.ClientCert.ValueString(), "auth_mount": v.AuthMount, "role_id": v.RoleID, "token_role": v.TokenRole,
		"auditor_group_ids": texts(c.AuditorGroupIDs), "retention": seconds(c.Retention.or(0)),
		"max_pending_per_requester": number(c.MaxPendingRequester, 100),
	}
	if c.ClientCert.ValueString() == "" {
		data["client_key"] = ""
	}
	for field, secret := range secrets {
		data[field] = secret
	}
	answer, err := r.engine.write(ctx, configPath, data)
	if err != nil {
		r.blame(ctx, diags, "Cannot write the engine's configuration", err)
		return false
	}
	warn(diags, "The engine on its configuration", answer)
	return true
}

// rotate replaces the secret id that was just given, if that is wanted. The configuration stands without that, too.
func (r *configResource) rotate(ctx context.Context, diags *diag.Diagnostics, given config, secrets map[string]any) {
	if _, sent := secrets["secret_id"]; !sent || !given.RotateRoot.ValueBool() {
		return
	}
	answer, err := r.engine.write(ctx, rotatePath, nil)
	if err != nil {
		diags.AddAttributeWarning(path.Root("rotate_root"), "The secret_id is not replaced", fmt.Sprintf(
			"The engine works with the one it was given. Try again with `vault write -f %s/%s`: %v", r.engine.mount, rotatePath, err))
	}
	warn(diags, "The engine on its secret_id", answer)
}

// configAnswer is what a read of the configuration answers.
type configAnswer struct {
	vaultsession.Connection
	AuditorGroupIDs        []string `json:"auditor_group_ids"`
	Retention              int64    `json:"retention"`
	MaxPendingPerRequester int64    `json:"max_pending_per_requester"`
}

// fill takes over what a read answered. Which version of a secret the engine has, only Terraform knows.
func (c *config) fill(a configAnswer) {
	c.Address, c.Namespace = types.StringValue(a.Address), types.StringValue(a.Namespace)
	c.CACert, c.TLSServerName = types.StringValue(a.CACert), types.StringValue(a.TLSServerName)
	c.ClientCert, c.AuthMount = types.StringValue(a.ClientCert), types.StringValue(a.AuthMount)
	c.RoleID, c.TokenRole = types.StringValue(a.RoleID), types.StringValue(a.TokenRole)
	c.AuditorGroupIDs = set(a.AuditorGroupIDs)
	c.Retention = durationOf(time.Duration(a.Retention) * time.Second)
	c.MaxPendingRequester = types.Int64Value(a.MaxPendingPerRequester)
}
