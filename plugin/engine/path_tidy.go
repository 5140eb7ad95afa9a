package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathTidy() []*framework.Path {
	return []*framework.Path{b.action("tidy", "", wire.Table{}, tidyNow, wire.TidiedTable, "Remove ended requests past the configured retention.",
		"Runs by itself every hour. Nothing is removed about which anything could still have to be done.")}
}

func tidyNow(ctx context.Context, c *call) (*logical.Response, error) {
	removed, err := c.tidy(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	return answer(wire.Tidied{Removed: removed})
}
