package engine

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

const (
	// tidyEvery is how often ended requests past retention are removed.
	tidyEvery = time.Hour
	// periodicTimeout keeps one run from waiting for a Vault that does not answer until the next ones pile up.
	periodicTimeout = 5 * time.Minute
)

// runPeriodic is called by Vault about once a minute. It keeps the engine's login alive, ends what is due and not
// confirmed to have ended, files away what is over, and now and then tidies.
func (b *backend) runPeriodic(ctx context.Context, req *logical.Request) error {
	if !b.WriteSafeReplicationState() || !b.periodicBusy.TryLock() {
		return nil
	}
	defer b.periodicBusy.Unlock()
	ctx, cancel := context.WithTimeout(ctx, periodicTimeout)
	defer cancel()

	err := errors.Join(b.keepLogin(ctx, req.Storage), b.ledger.Work(ctx, req.Storage))
	now := b.now()
	if now.Sub(b.lastTidy) >= tidyEvery {
		if removed, tidyErr := b.tidy(ctx, req.Storage); tidyErr != nil {
			err = errors.Join(err, tidyErr)
		} else {
			b.lastTidy = now
			if removed > 0 {
				b.Logger().Info("removed ended requests past retention", "count", removed)
			}
		}
	}
	b.lastPeriodic.Store(&now)
	return err
}

// keepLogin keeps the engine logged in, and destroys the secret_ids that rotations replaced.
func (b *backend) keepLogin(ctx context.Context, s logical.Storage) error {
	vault, err := b.issuerFor(ctx, s)
	if errors.Is(err, errNotConfigured) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := vault.Session().Login(ctx); err != nil {
		return err
	}
	config, err := b.store.Config.Get(ctx, s)
	if err != nil || config == nil || len(config.RetiredSecretIDs) == 0 {
		return err
	}
	if !b.configuring.TryLock() {
		return nil // a change of the configuration is under way; next time
	}
	defer b.configuring.Unlock()
	if config, err = b.store.Config.Get(ctx, s); err != nil || config == nil { // now that nobody else changes it
		return err
	}
	if vault, err = b.issuerFor(ctx, s); err != nil {
		return err
	}
	return b.destroyRetired(ctx, s, *config, vault)
}

// tidy removes ended requests past retention.
func (b *backend) tidy(ctx context.Context, s logical.Storage) (removed int, err error) {
	config, err := b.configuration(ctx, s)
	if err != nil {
		return 0, err
	}
	return b.ledger.Tidy(ctx, s, b.now().Add(-config.Retention))
}
