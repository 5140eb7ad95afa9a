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
type login struct {
	take func(context.Context, *api.Client) (*api.Secret, error)
	// own is whether the token is made for this process, which then renews it, may log in again, and revokes it in the end.
	own bool
}

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
	return login{take: func(_ context.Context, client *api.Client) (*api.Secret, error) {
		token := cmp.Or(c.Token.ValueString(), client.Token())
		if token == "" {
			var err error
			if token, err = storedToken(); err != nil {
				return nil, err
			}
		}
		return &api.Secret{Auth: &api.SecretAuth{ClientToken: token}}, nil
	}}
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
	place := "auth/" + strings.Trim(mount, "/")
	return login{own: true, take: func(ctx context.Context, client *api.Client) (*api.Secret, error) {
		data := map[string]any{}
		for name, value := range credentials {
			if value != "" {
				data[name] = value
			}
		}
		// A token in the environment has nothing to do with this.
		anonymous, err := cloned(client)
		if err != nil {
			return nil, err
		}
		anonymous.ClearToken()
		secret, err := anonymous.Logical().WriteWithContext(ctx, place+"/login", data)
		if err != nil {
			return nil, fmt.Errorf("the login with %s at %s failed: %w", argument, place, explain(client, place+"/login", err))
		}
		if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
			return nil, errors.New("the login with " + argument + " gave no token")
		}
		return secret, nil
	}}
}
