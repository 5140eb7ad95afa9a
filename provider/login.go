package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/vault/api"
)

// Where the credentials of a login come from if the configuration is silent.
const (
	envRoleID   = "VAULT_ROLE_ID"
	envSecretID = "VAULT_SECRET_ID"
	envJWT      = "TERRAFORM_VAULT_AUTH_JWT"
)

// A login gives the token to work with.
type login func(context.Context, *api.Client) (token string, err error)

func (c connection) login() login {
	switch {
	case !c.AppRole.IsNull():
		return loginAt(part(c.AppRole, "mount", "", "approle"), "auth_login_approle", map[string]string{
			"role_id":   part(c.AppRole, "role_id", envRoleID, ""),
			"secret_id": part(c.AppRole, "secret_id", envSecretID, ""),
		})
	case !c.JWT.IsNull():
		return loginAt(part(c.JWT, "mount", "", "jwt"), "auth_login_jwt", map[string]string{
			"role": part(c.JWT, "role", "", ""),
			"jwt":  part(c.JWT, "jwt", envJWT, ""),
		})
	}
	return func(_ context.Context, client *api.Client) (string, error) {
		if token := cmp.Or(c.Token.ValueString(), client.Token()); token != "" {
			return token, nil
		}
		return storedToken()
	}
}

// part is one value of a login: as configured, else from the environment, else the default.
func part(object types.Object, name, env, otherwise string) string {
	if value, ok := object.Attributes()[name].(types.String); ok && value.ValueString() != "" {
		return value.ValueString()
	}
	if env != "" {
		otherwise = cmp.Or(os.Getenv(env), otherwise)
	}
	return otherwise
}

func loginAt(mount, argument string, credentials map[string]string) login {
	return func(ctx context.Context, client *api.Client) (string, error) {
		data := map[string]any{}
		for name, value := range credentials {
			if value != "" {
				data[name] = value
			}
		}
		// A token in the environment has nothing to do with this.
		anonymous, err := client.Clone()
		if err != nil {
			return "", fmt.Errorf("making a client for the login: %w", err)
		}
		anonymous.SetNamespace(client.Namespace())
		anonymous.ClearToken()
		secret, err := anonymous.Logical().WriteWithContext(ctx, "auth/"+strings.Trim(mount, "/")+"/login", data)
		if err != nil {
			return "", fmt.Errorf("the login with %s at auth/%s failed: %w", argument, strings.Trim(mount, "/"), explain(client, "auth/"+mount+"/login", err))
		}
		if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
			return "", errors.New("the login with " + argument + " gave no token")
		}
		return secret.Auth.ClientToken, nil
	}
}
