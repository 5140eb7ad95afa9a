package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func (b *backend) pathTidy() []*framework.Path {
	return []*framework.Path{b.action("tidy", "", nil, tidyNow, "Remove ended requests past the configured retention.",
		"Runs by itself every hour. Nothing is removed about which anything could still have to be done.")}
}

func tidyNow(ctx context.Context, c *call) (*logical.Response, error) {
	removed, err := c.tidy(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{"removed": removed}}, nil
}
