package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// rotateSecretID replaces the secret_id by one that only the engine knows.
func (c *call) rotateSecretID(ctx context.Context) (warnings []string, err error) {
	current, err := c.issuerFor(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	config, err := c.store.Config.Get(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, errNotConfigured
	}
	secretID, err := current.Session().NewSecretID(ctx)
	if err != nil {
		return nil, refusal.Newf("", "nothing was changed: %v", err)
	}
	next := *config
	next.SecretID, next.RetiredSecretIDs = secretID, append(slices.Clone(config.RetiredSecretIDs), config.SecretID)
	made, err := c.connect(next)
	if err == nil {
		err = made.Session().Login(ctx)
	}
	if err != nil {
		return nil, refusal.Newf("", "nothing was changed: the new secret_id does not work: %v",
			errors.Join(err, current.Session().DestroySecretID(ctx, secretID)))
	}
	if err := c.putConfig(ctx, c.req.Storage, next, made); err != nil {
		return nil, err
	}
	if err := c.destroyRetired(ctx, c.req.Storage, next, made); err != nil {
		return []string{fmt.Sprintf("rotated, but the replaced secret_id is not destroyed yet; the engine tries again every minute: %v", err)}, nil
	}
	return nil, nil
}

// destroyRetired destroys the secret_ids that rotations replaced and notes which of them are left.
func (b *backend) destroyRetired(ctx context.Context, s logical.Storage, config Config, vault *issuer.Issuer) error {
	var left []string
	var faults []error
	for _, secretID := range config.RetiredSecretIDs {
		if err := vault.Session().DestroySecretID(ctx, secretID); err != nil {
			left, faults = append(left, secretID), append(faults, err)
		}
	}
	if len(left) < len(config.RetiredSecretIDs) {
		config.RetiredSecretIDs = left
		faults = append(faults, b.putConfig(ctx, s, config, vault))
	}
	return errors.Join(faults...)
}
