package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/store"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathConfig() []*framework.Path {
	return []*framework.Path{b.accept(wire.ConfigTable, &framework.Path{
		Pattern:      store.ConfigKey,
		DisplayAttrs: display("configuration"),
		ExistenceCheck: func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (bool, error) {
			config, err := b.store.Config.Get(ctx, req.Storage)
			return config != nil, err
		},
		Operations: operations{
			logical.ReadOperation:   answering(wire.ConfigTable, b.reading(readConfig, "Read the configuration, without secrets.")),
			logical.CreateOperation: b.writing(alone(writeConfig), "Configure how the engine reaches Vault. Logs in and checks its own capabilities."),
			logical.UpdateOperation: b.writing(alone(writeConfig), "Change the configuration. Fields that are not given stay."),
			logical.DeleteOperation: b.writing(alone(deleteConfig), "Delete the configuration. Refused while grants live."),
		},
		HelpSynopsis: "How the engine reaches Vault, who it is there, and its limits.",
		HelpDescription: `Writing the configuration logs in to Vault and answers with a warning for each capability that the engine's identity
lacks, with the policy line that gives it. A login that fails is refused, and nothing is stored.

Fields that are not given stay as they are. Whoever changes where or how the engine connects has to give secret_id or
token again, so that the stored one cannot be sent elsewhere.`,
	}), b.accept(wire.Table{}, &framework.Path{
		Pattern:      "config/rotate-root",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "rotate", OperationSuffix: "root"},
		Operations: operations{
			logical.UpdateOperation: b.writing(alone(rotateRoot), "Replace the engine's secret_id by one that only the engine knows."),
		},
		HelpSynopsis:    "Replace the engine's secret_id by one that only the engine knows.",
		HelpDescription: "Makes a new secret_id, logs in with it, stores it, and destroys the one it replaces. Nobody else then knows the engine's secret.",
	})}
}

func readConfig(ctx context.Context, c *call) (*logical.Response, error) {
	config, err := c.store.Config.Get(ctx, c.req.Storage)
	if err != nil || config == nil {
		return nil, err
	}
	shown, err := wire.Show(wire.ConfigTable, *config)
	return &logical.Response{Data: shown}, err
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
