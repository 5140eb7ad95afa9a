package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *backend) pathTidy() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "tidy",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "tidy"},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: b.writing(tidyNow, "Remove ended requests past the configured retention."),
		},
		HelpSynopsis:    "Remove ended requests past the configured retention.",
		HelpDescription: "Runs by itself every hour. Nothing is removed about which anything could still have to be done.",
	}}
}

func tidyNow(ctx context.Context, c *call) (*logical.Response, error) {
	removed, err := c.tidy(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{"removed": removed}}, nil
}

// tidy removes ended requests past retention.
func (b *backend) tidy(ctx context.Context, s logical.Storage) (removed int, err error) {
	retention := defaultRetention
	config, err := b.store.Config.Get(ctx, s)
	if err != nil {
		return 0, err
	}
	if config != nil {
		retention = config.Retention
	}
	return b.ledger.Tidy(ctx, s, b.now().Add(-retention))
}
