package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// workWidth is how many requests are settled at once.
const workWidth = 8

// Work settles every request that is due.
func (l *Ledger) Work(ctx context.Context, s logical.Storage) error {
	now := l.now()
	// One request that cannot be read keeps no other one from its end.
	due, unread := l.requests.List(ctx, s, "", 0, func(listing approval.Listing) bool { return listing.Due(now) })
	// In another order each time: where each end takes long to fail, the time must not always go to the same ones.
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] }) //nolint:gosec // any other order will do
	var group errgroup.Group
	group.SetLimit(workWidth)
	for _, entry := range due {
		group.Go(func() error {
			if ctx.Err() != nil {
				return fmt.Errorf("settling request %s: %w", entry.ID, context.Cause(ctx))
			}
			if l.flights.has(entry.ID, now) || l.settling.isTaken(entry.ID) {
				return nil // somebody is at it, whom Vault keeps waiting perhaps; next time
			}
			r, err := l.Settle(ctx, s, entry.ID)
			if err == nil && r.Holding() && !r.State(l.now()).Open() {
				l.logger.Warn("the end of a grant is not confirmed yet", "id", entry.ID, "problem", r.Problem())
			}
			return err
		})
	}
	return errors.Join(unread, group.Wait())
}

// Counts are what there is of requests.
type Counts struct {
	Open, Live int
	// Unconfirmed are the ids of requests of which something is over that is not known to be gone: grants, and what
	// failed claims left.
	Unconfirmed []string
}

// Count counts the open requests.
func (l *Ledger) Count(ctx context.Context, s logical.Storage) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, grace) // after a start the index may take longer to be read
	defer cancel()
	open, err := l.requests.List(ctx, s, "", 0, func(approval.Listing) bool { return true })
	if err != nil {
		return Counts{}, err
	}
	now := l.now()
	counts := Counts{Open: len(open), Unconfirmed: []string{}}
	for _, entry := range open {
		switch {
		case entry.State(now) == approval.StateActive:
			counts.Live++
		case entry.Holding() && !l.flights.has(entry.ID, now):
			counts.Unconfirmed = append(counts.Unconfirmed, entry.ID)
		}
	}
	slices.Sort(counts.Unconfirmed)
	return counts, nil
}

// Holding lists the ids of requests that may hold something which only the Vault connected to now can end.
func (l *Ledger) Holding(ctx context.Context, s logical.Storage) ([]string, error) {
	held, err := l.requests.List(ctx, s, "", 0, func(listing approval.Listing) bool { return listing.Holding() })
	ids := make([]string, len(held))
	for i, entry := range held {
		ids[i] = entry.ID
	}
	return ids, err
}

// FindLiveToken finds the token of any live grant, by which another server can be asked whether it knows it.
func (l *Ledger) FindLiveToken(ctx context.Context, s logical.Storage) (id string, token grant.Token, found bool, err error) {
	now := l.now()
	live, err := l.requests.List(ctx, s, "", 0, func(listing approval.Listing) bool { return listing.State(now) == approval.StateActive })
	if err != nil {
		return "", grant.Token{}, false, err
	}
	for _, entry := range live {
		r, err := l.requests.LoadOpen(ctx, s, entry.ID)
		if err != nil {
			return "", grant.Token{}, false, err
		}
		if r != nil && r.State(now) == approval.StateActive {
			token, held := r.Handles().Find(grant.Token{}.Key()).(grant.Token)
			return r.ID, token, held, nil
		}
	}
	return "", grant.Token{}, false, nil
}

// Tidy removes ended requests that were over before the given time, and reads none that is too young by its id alone.
func (l *Ledger) Tidy(ctx context.Context, s logical.Storage, oldest time.Time) (removed int, err error) {
	err = l.requests.EndedOldestFirst(ctx, s, func(id string) (bool, error) {
		if store.MadeAt(id).After(oldest) {
			return false, nil
		}
		gone, err := l.tidyOne(ctx, s, id, oldest)
		if errors.Is(err, store.ErrUnreadable) {
			l.logger.Error("an ended request cannot be read, so it is kept", "id", id, "problem", err)
			return true, nil
		}
		if gone {
			removed++
		}
		return err == nil, err
	})
	return removed, err
}

func (l *Ledger) tidyOne(ctx context.Context, s logical.Storage, id string, oldest time.Time) (bool, error) {
	record := l.records.join(id)
	defer record.leave()
	if err := record.acquire(ctx); err != nil {
		return false, err
	}
	defer record.release()
	r, err := l.requests.Load(ctx, s, id)
	if err != nil || r == nil || !r.Finished(l.now()) || r.FinishedAt().After(oldest) {
		return false, err
	}
	record.changes.Add(1)
	return l.requests.DeleteEnded(ctx, s, id)
}
