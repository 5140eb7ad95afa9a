// Package ledger is the one way to make, change and end a request. Locks, the order of writes, and who waits for whom
// are behind it.
//
// A change loads the request, asks whether the caller may see it, builds the command (which asks Vault's identity store),
// locks, loads once more if anybody changed the record meanwhile, lets package approval decide, writes once, and unlocks.
// The lock is never held across a call over HTTP, and nobody waits for it who may not change the request.
package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/store"
	"github.com/vault-jit/vault-jit/plugin/text"
)

// Ledger keeps the requests of one mount. It is safe for concurrent use.
type Ledger struct {
	requests *store.Requests
	issuer   func(context.Context, logical.Storage) (*issuer.Issuer, error)
	now      func() time.Time
	logger   hclog.Logger

	records  locks // one changes a record at a time
	settling locks // one ends what a request holds at a time
	flights  flights
	life     *life
}

// New returns a ledger. The issuer is asked for anew by each claim and each end; a claim keeps the one that it began with.
func New(requests *store.Requests, vault func(context.Context, logical.Storage) (*issuer.Issuer, error), now func() time.Time, logger hclog.Logger) *Ledger {
	return &Ledger{requests: requests, issuer: vault, now: now, logger: logger, life: newLife()}
}

// Ask stores a new request. build makes its record, given its id and how many requests of the requester wait already.
func (l *Ledger) Ask(ctx context.Context, s logical.Storage, requester string, build func(id string, waiting int) (approval.Record, error)) (approval.Request, error) {
	ctx, cancel := context.WithTimeout(ctx, grace) // after a start the index may take longer to be read
	defer cancel()
	id, err := l.requests.NewID(ctx, s, requester)
	if err != nil {
		return approval.Request{}, err
	}
	return l.requests.Create(ctx, s, requester, l.now(), func(waiting int) (approval.Record, error) { return build(id, waiting) })
}

// Read returns a request, or nil: a hidden one and an absent one are answered alike.
func (l *Ledger) Read(ctx context.Context, s logical.Storage, id string, who people.Caller) (*approval.Request, error) {
	r, _, err := l.find(ctx, s, id, who)
	return r, err
}

// find returns the request if the caller may see it, and the caller's standing with regard to it; else nil.
func (l *Ledger) find(ctx context.Context, s logical.Storage, id string, who people.Caller) (*approval.Request, approval.Standing, error) {
	if err := text.CheckRequestID(id); err != nil {
		return nil, approval.Standing{}, refusal.In("id", err)
	}
	r, err := l.requests.Load(ctx, s, id)
	if err != nil || r == nil {
		return nil, approval.Standing{}, err
	}
	standing, maySee, err := who.ForRequest(ctx, *r)
	if err != nil || !maySee {
		return nil, approval.Standing{}, err
	}
	return r, standing, nil
}

// Build makes the command that a caller wants to be done to a request as it is. It may ask Vault's identity store, and
// nothing over HTTP: it may run under the request's lock.
type Build func(r approval.Request, who approval.Standing) (approval.Command, error)

// Change does to a request what the command says, if the caller may see the request and the core allows it.
func (l *Ledger) Change(ctx context.Context, s logical.Storage, id string, who people.Caller, build Build) (approval.Request, error) {
	v := l.look(id)
	defer v.leave()
	err := l.change(ctx, s, v, who, build)
	return v.request, err
}

func (l *Ledger) change(ctx context.Context, s logical.Storage, v *view, who people.Caller, build Build) error {
	standing, err := l.see(ctx, s, v, who)
	if err != nil {
		return err
	}
	command, err := build(v.request, standing)
	if err != nil {
		return err
	}
	// Whoever is refused keeps nobody waiting.
	if _, err := approval.Do(v.request, command, l.now()); err != nil {
		return err
	}
	return l.update(ctx, s, v, func(r approval.Request, grown bool) (approval.Request, error) {
		if grown {
			if command, err = build(r, standing); err != nil {
				return r, err
			}
		}
		return l.do(r, command)
	})
}

// do lets the core decide.
func (l *Ledger) do(r approval.Request, command approval.Command) (approval.Request, error) {
	events, err := approval.Do(r, command, l.now())
	if err != nil {
		return r, err
	}
	return r.With(events...)
}

// view is a request as it was seen, and what tells whether it has changed since.
type view struct {
	*lock
	request approval.Request
	seenAt  int64 // of lock.changes
}

// look begins to look at a request, before it is loaded. Whoever looks has to leave.
func (l *Ledger) look(id string) *view {
	record := l.records.join(id)
	return &view{lock: record, seenAt: record.changes.Load()}
}

// isStale reports whether the request was not loaded yet, or has changed since.
func (v *view) isStale() bool { return v.request.ID == "" || v.changes.Load() != v.seenAt }

// forget makes the next use load the request again.
func (v *view) forget() { v.seenAt-- }

// see loads the request, and refuses it to a caller who may not see it.
func (l *Ledger) see(ctx context.Context, s logical.Storage, v *view, who people.Caller) (approval.Standing, error) {
	r, standing, err := l.find(ctx, s, v.name, who)
	if err == nil && r == nil {
		err = refuseHidden(v.name)
	}
	if err != nil {
		return standing, err
	}
	v.request = *r
	return standing, nil
}

func refuseHidden(id string) error {
	return refusal.Newf("", "there is no request %q that you can see", id)
}

// reload makes the view one of the request as it is now; it is false for a request that is gone. Otherwise the view stays
// as stale as it was, so that nobody writes an old request over a newer one.
func (l *Ledger) reload(ctx context.Context, s logical.Storage, v *view) (found bool, err error) {
	changes := v.changes.Load()
	r, err := l.requests.Load(ctx, s, v.name)
	if err != nil || r == nil {
		return false, err
	}
	v.request, v.seenAt = *r, changes
	return true, nil
}

// update changes a request as the only one: as it was seen, or as it is now if it was changed since, which grown tells.
// It writes once, if there is anything to write, and files the request away once nothing will be done about it any more.
func (l *Ledger) update(ctx context.Context, s logical.Storage, v *view,
	change func(r approval.Request, grown bool) (approval.Request, error),
) error {
	if err := v.acquire(ctx); err != nil {
		return err
	}
	defer v.release()
	grown := v.isStale()
	if grown {
		found, err := l.reload(ctx, s, v)
		if err != nil {
			return err
		}
		if !found {
			return refuseHidden(v.name)
		}
	}
	next, err := change(v.request, grown)
	if err != nil {
		return err
	}
	finished := next.Finished(l.now())
	if len(next.Events) == len(v.request.Events) && !finished && len(next.Attempts)+len(v.request.Attempts) == 0 {
		return nil
	}
	write := l.requests.Save
	if finished {
		write = l.requests.File
	}
	err = write(ctx, s, next)
	v.changes.Add(1) // also if it failed: a failed write may have landed
	if err != nil {
		return fmt.Errorf("recording a change of request %s: %w", v.name, err)
	}
	v.request, v.seenAt = next, v.changes.Load()
	return nil
}

// Peek returns a request for Vault itself, which holds its lease; nil if there is none.
func (l *Ledger) Peek(ctx context.Context, s logical.Storage, id string) (*approval.Request, error) {
	return l.requests.Load(ctx, s, id)
}
