package engine

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/store"
)

func (b *backend) pathTidy() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "tidy",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "tidy"},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: changing(b.tidyNow, "Remove ended requests past the configured retention."),
		},
		HelpSynopsis:    "Remove ended requests past the configured retention.",
		HelpDescription: "Runs by itself every hour. Nothing is removed about which anything could still have to be done.",
	}}
}

func (b *backend) tidyNow(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	removed, err := b.tidy(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{"removed": removed}}, nil
}

// tidy removes ended requests past retention, and reads none that is too young by its id alone.
func (b *backend) tidy(ctx context.Context, s logical.Storage) (removed int, err error) {
	retention := defaultRetention
	config, err := b.store.Config.Get(ctx, s)
	if err != nil {
		return 0, err
	}
	if config != nil {
		retention = config.Retention
	}
	oldest := b.now().Add(-retention)
	months, err := b.store.Requests.EndedMonths(ctx, s)
	if err != nil {
		return 0, err
	}
	for _, month := range months {
		if month > oldest.UTC().Format("200601") {
			break
		}
		ids, err := b.store.Requests.EndedIn(ctx, s, month)
		if err != nil {
			return removed, err
		}
		for _, id := range ids {
			if madeAt(id).After(oldest) {
				break
			}
			gone, err := b.tidyOne(ctx, s, id, oldest)
			if errors.Is(err, store.ErrUnreadable) {
				b.Logger().Error("an ended request cannot be read, so it is kept", "id", id, "problem", err)
				continue
			}
			if err != nil {
				return removed, err
			}
			if gone {
				removed++
			}
		}
	}
	return removed, nil
}

func (b *backend) tidyOne(ctx context.Context, s logical.Storage, id string, oldest time.Time) (bool, error) {
	defer b.store.Requests.Lock(id)()
	r, err := b.store.Requests.Get(ctx, s, id)
	if err != nil || r == nil {
		return false, err
	}
	if !r.Finished(b.now()) || r.FinishedAt().After(oldest) {
		return false, nil
	}
	return true, b.store.Requests.DeleteEnded(ctx, s, *r)
}

// madeAt is the time in a request's id; the zero time if it has none.
func madeAt(id string) time.Time {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return time.Time{}
	}
	sec, nsec := parsed.Time().UnixTime()
	return time.Unix(sec, nsec)
}
