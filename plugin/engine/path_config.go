package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/store"
)

func (b *backend) pathConfig() []*framework.Path {
	return []*framework.Path{{
		Pattern:      store.ConfigKey,
		DisplayAttrs: display("configuration"),
		Fields: map[string]*framework.FieldSchema{
			"address":           {Type: framework.TypeString, Description: "URL of this Vault as the plugin reaches it, for example https://127.0.0.1:8200. Required."},
			"namespace":         {Type: framework.TypeString, Description: "Vault namespace the engine works in."},
			"ca_cert":           {Type: framework.TypeString, Description: "CA certificate of the address, PEM. Default: the system's."},
			"tls_server_name":   {Type: framework.TypeString, Description: "Name to expect in the certificate, if it is not the address's host."},
			"client_cert":       {Type: framework.TypeString, Description: "Client certificate, PEM, for a listener that asks for one."},
			"client_key":        {Type: framework.TypeString, Description: "Private key of client_cert, PEM. Never read back.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}},
			"auth_mount":        {Type: framework.TypeString, Description: "Path of the AppRole auth mount. Default: approle."},
			"role_id":           {Type: framework.TypeString, Description: "role_id of the engine's own AppRole."},
			"secret_id":         {Type: framework.TypeString, Description: "secret_id of the engine's own AppRole. Never read back.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}},
			"token":             {Type: framework.TypeString, Description: "A Vault token to use instead of an AppRole. Never read back.", DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}},
			"token_role":        {Type: framework.TypeString, Description: "Token role (auth/token/roles/NAME) through which grant tokens are made; it bounds what any grant can get. Required."},
			"auditor_group_ids": {Type: framework.TypeCommaStringSlice, Description: "Identity groups whose members see every request and may end every grant."},
			"retention":         {Type: framework.TypeDurationSecond, Description: "How long an ended request is kept. Default: 30 days."},
			"max_pending_per_requester": {Type: framework.TypeInt,
				Description: "How many requests of one person may wait for a decision or a claim at a time. Default: 100."},
		},
		ExistenceCheck: func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (bool, error) {
			config, err := b.store.Config.Get(ctx, req.Storage)
			return config != nil, err
		},
		Operations: operations{
			logical.ReadOperation:   b.reading(readConfig, "Read the configuration, without secrets."),
			logical.CreateOperation: b.writing(alone(writeConfig), "Configure how the engine reaches Vault. Logs in and checks its own capabilities."),
			logical.UpdateOperation: b.writing(alone(writeConfig), "Change the configuration. Fields that are not given stay."),
			logical.DeleteOperation: b.writing(alone(deleteConfig), "Delete the configuration. Refused while grants live."),
		},
		HelpSynopsis: "How the engine reaches Vault, who it is there, and its limits.",
		HelpDescription: `Writing the configuration logs in to Vault and answers with a warning for each capability that the engine's identity
lacks, with the policy line that gives it. A login that fails is refused, and nothing is stored.

Fields that are not given stay as they are. Whoever changes where or how the engine connects has to give secret_id or
token again, so that the stored one cannot be sent elsewhere.`,
	}, {
		Pattern:      "config/rotate-root",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "rotate", OperationSuffix: "root"},
		Operations: operations{
			logical.UpdateOperation: b.writing(alone(rotateRoot), "Replace the engine's secret_id by one that only the engine knows."),
		},
		HelpSynopsis:    "Replace the engine's secret_id by one that only the engine knows.",
		HelpDescription: "Makes a new secret_id, logs in with it, stores it, and destroys the one it replaces. Nobody else then knows the engine's secret.",
	}}
}

func readConfig(ctx context.Context, c *call) (*logical.Response, error) {
	config, err := c.store.Config.Get(ctx, c.req.Storage)
	if err != nil || config == nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{
		"address":                   config.Address,
		"namespace":                 config.Namespace,
		"ca_cert":                   config.CACert,
		"tls_server_name":           config.TLSServerName,
		"client_cert":               config.ClientCert,
		"auth_mount":                config.AuthMount,
		"role_id":                   config.RoleID,
		"token_role":                config.TokenRole,
		"auditor_group_ids":         config.AuditorGroupIDs,
		"retention":                 toSeconds(config.Retention),
		"max_pending_per_requester": config.MaxPendingPerRequester,
	}}, nil
}

func deleteConfig(ctx context.Context, c *call) (*logical.Response, error) {
	return nil, c.ledger.WhileNothingIsClaimed(func() error {
		if err := c.checkNothingHeld(ctx, c.req.Storage); err != nil {
			return err
		}
		defer c.replaceIssuer(nil) //nolint:contextcheck // the old login ends after the call
		return c.store.Config.Delete(ctx, c.req.Storage)
	})
}

func writeConfig(ctx context.Context, c *call) (*logical.Response, error) {
	warnings, err := c.changeConfig(ctx)
	return answerWarnings(warnings), err
}

func rotateRoot(ctx context.Context, c *call) (*logical.Response, error) {
	warnings, err := c.rotateSecretID(ctx)
	return answerWarnings(warnings), err
}
