package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"github.com/vault-jit/vault-jit/plugin/store"
)

const (
	// tidyEvery is how often ended requests past retention are removed.
	tidyEvery = time.Hour
	// settleWidth is how many requests are settled at once.
	settleWidth = 8
	// periodicTimeout keeps one run from waiting for a Vault that does not answer until the next ones pile up.
	periodicTimeout = 5 * time.Minute
)

// periodic is called by Vault about once a minute. It keeps the engine's login alive, ends what is due and not
// confirmed to have ended, files away what is over, and now and then tidies.
func (b *backend) periodic(ctx context.Context, req *logical.Request) error {
	if !b.WriteSafeReplicationState() || !b.periodicBusy.TryLock() {
		return nil
	}
	defer b.periodicBusy.Unlock()
	ctx, cancel := context.WithTimeout(ctx, periodicTimeout)
	defer cancel()

	err := errors.Join(b.keepLogin(ctx, req.Storage), b.settleDue(ctx, req.Storage))
	now := b.now()
	if last := b.lastTidy.Load(); last == nil || now.Sub(*last) >= tidyEvery {
		if removed, tidyErr := b.tidy(ctx, req.Storage); tidyErr != nil {
			err = errors.Join(err, tidyErr)
		} else {
			b.lastTidy.Store(&now)
			if removed > 0 {
				b.Logger().Info("removed ended requests past retention", "count", removed)
			}
		}
	}
	b.lastPeriodic.Store(&now)
	return err
}

func (b *backend) keepLogin(ctx context.Context, s logical.Storage) error {
	vault, err := b.issuerFor(ctx, s)
	if errors.Is(err, errNotConfigured) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := vault.Login(ctx); err != nil {
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

// settleDue settles every open request that is due.
func (b *backend) settleDue(ctx context.Context, s logical.Storage) error {
	now := b.now().UnixNano()
	due, err := b.store.Requests.Open(ctx, s, func(sum store.Summary) bool { return sum.Due <= now || (sum.Waiting && sum.Holding) })
	if err != nil {
		return err
	}
	// In another order each time: where each end takes long to fail, the time must not always go to the same ones.
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] }) //nolint:gosec // any other order will do
	var group errgroup.Group
	group.SetLimit(settleWidth)
	for _, sum := range due {
		group.Go(func() error {
			if ctx.Err() != nil {
				return fmt.Errorf("settling request %s: %w", sum.ID, context.Cause(ctx))
			}
			unlock := b.store.Requests.TryLock(sum.ID)
			if unlock == nil {
				return nil // somebody is at it, a claim that Vault keeps waiting perhaps; next time
			}
			defer unlock()
			r, err := b.store.Requests.GetOpen(ctx, s, sum.ID)
			if err != nil || r == nil {
				return err
			}
			_, problem, err := b.settle(ctx, s, *r)
			if problem != nil {
				b.Logger().Warn("the end of a grant is not confirmed yet", "id", sum.ID, "problem", problem)
			}
			return err
		})
	}
	return group.Wait()
}
