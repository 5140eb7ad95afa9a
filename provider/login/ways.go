package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/cliconfig"

	"github.com/vault-jit/vault-jit/plugin/client"
)

// Where the credentials of a login come from if the configuration is silent.
const (
	envRoleID   = "VAULT_ROLE_ID"
	envSecretID = "VAULT_SECRET_ID"
	envJWT      = "TERRAFORM_VAULT_AUTH_JWT"
)

// A way is how a session gets the token to work with.
type way struct {
	take func(context.Context, *api.Client) (*api.Secret, error)
	// own is whether the token is made for this process, which then renews it, may log in again, and revokes it in the end.
	own bool
}

func (c Config) chooseWay() way {
	switch {
	case !c.AppRole.IsNull():
		return logInAt(pick(c.AppRole, "mount", "", "approle"), "auth_login_approle", map[string]string{
			"role_id":   pick(c.AppRole, "role_id", envRoleID, ""),
			"secret_id": pick(c.AppRole, "secret_id", envSecretID, ""),
		})
	case !c.JWT.IsNull():
		return logInAt(pick(c.JWT, "mount", "", "jwt"), "auth_login_jwt", map[string]string{
			"role": pick(c.JWT, "role", "", ""),
			"jwt":  pick(c.JWT, "jwt", envJWT, ""),
		})
	}
	return way{take: func(_ context.Context, vault *api.Client) (*api.Secret, error) {
		token := cmp.Or(c.Token.ValueString(), vault.Token())
		if token == "" {
			var err error
			if token, err = readStoredToken(); err != nil {
				return nil, err
			}
		}
		return &api.Secret{Auth: &api.SecretAuth{ClientToken: token}}, nil
	}}
}

// pick is one value of a login: as configured, else from the environment, else the default.
func pick(object types.Object, name, env, otherwise string) string {
	if value, ok := object.Attributes()[name].(types.String); ok && value.ValueString() != "" {
		return value.ValueString()
	}
	if env != "" {
		otherwise = cmp.Or(os.Getenv(env), otherwise)
	}
	return otherwise
}

func logInAt(mount, argument string, credentials map[string]string) way {
	place := "auth/" + strings.Trim(mount, "/")
	return way{own: true, take: func(ctx context.Context, vault *api.Client) (*api.Secret, error) {
		data := map[string]any{}
		for name, value := range credentials {
			if value != "" {
				data[name] = value
			}
		}
		// A token in the environment has nothing to do with this.
		anonymous, err := client.Clone(vault)
		if err != nil {
			return nil, err
		}
		anonymous.ClearToken()
		anonymous.SetMaxRetries(0) // a secret_id may be good for one use
		secret, err := anonymous.Logical().WriteWithContext(ctx, place+"/login", data)
		if err != nil {
			return nil, fmt.Errorf("the login with %s at %s failed: %w", argument, place, client.Explain(ctx, vault, place+"/login", err))
		}
		if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
			return nil, errors.New("the login with " + argument + " gave no token")
		}
		return secret, nil
	}}
}

var errNoToken = errors.New("there is no token for Vault: set the provider's token or VAULT_TOKEN, run `vault login`, or give " +
	"auth_login_approle or auth_login_jwt")

// readStoredToken is what `vault login` left behind.
func readStoredToken() (string, error) {
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
