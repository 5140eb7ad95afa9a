package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// Requests keeps the records of requests, and in memory a listing of each open one. Whoever changes a request sees to it
// that nobody else changes the same one meanwhile.
type Requests struct {
	index *index
	seed  *Single[seed]
	// made is the seed of a mount that has none yet. It is written with the first request, so that a question that is
	// refused leaves nothing behind; once, however many ask at the same time.
	seedMu sync.Mutex
	made   *seed
}

// Entry is an open request as the index lists it.
type Entry struct {
	ID string
	approval.Listing
}

// Load returns the request, open or ended, or nil. It reads nothing but the record.
func (q *Requests) Load(ctx context.Context, s logical.Storage, id string) (*approval.Request, error) {
	r, err := q.LoadOpen(ctx, s, id)
	if r != nil || err != nil {
		return r, err
	}
	key, ours := endedKey(id)
	if !ours {
		return nil, nil
	}
	return readRequest(ctx, s, key)
}

// LoadOpen returns the request if it is open, or nil. It reads nothing but the record.
func (q *Requests) LoadOpen(ctx context.Context, s logical.Storage, id string) (*approval.Request, error) {
	if _, ours := parseID(id); !ours {
		return nil, nil
	}
	return readRequest(ctx, s, openPrefix+id)
}

// Save stores an open request, in one write. After an error it may be stored or not.
func (q *Requests) Save(ctx context.Context, s logical.Storage, r approval.Request) error {
	id, ours := parseID(r.ID)
	if !ours {
		return errNotOurs(r.ID)
	}
	if err := q.write(ctx, s, id, r); err != nil {
		return err
	}
	q.index.put(id, new(r.Listing()))
	return nil
}

func (q *Requests) write(ctx context.Context, s logical.Storage, id uuid.UUID, r approval.Request) error {
	err := write(ctx, s, openPrefix+r.ID, r.Record)
	if err != nil {
		q.index.distrust(id)
	}
	return err
}

// File moves a request to the ended ones, in two writes. Their order leaves it open after an error, so that it can be
// filed again.
func (q *Requests) File(ctx context.Context, s logical.Storage, r approval.Request) error {
	id, ours := parseID(r.ID)
	if !ours {
		return errNotOurs(r.ID)
	}
	key, _ := endedKey(r.ID)
	err := write(ctx, s, key, r.Record)
	if err == nil {
		err = remove(ctx, s, openPrefix+r.ID)
	}
	if err != nil {
		q.index.distrust(id)
		return err
	}
	q.index.put(id, nil)
	return nil
}

// Create stores a new request of this person, in one write. It calls build with how many requests the person has waiting
// already; those that others are in the middle of creating count. Build says the limit; its errors come back as they are.
func (q *Requests) Create(
	ctx context.Context, s logical.Storage, requester string, now time.Time, build func(waiting int) (approval.Record, error),
) (approval.Request, error) {
	if err := q.index.await(ctx, s); err != nil {
		return approval.Request{}, err
	}
	waiting := q.index.takePlace(requester, now)
	var made *item
	defer func() { q.index.leavePlace(requester, made) }()
	record, err := build(waiting)
	if err != nil {
		return approval.Request{}, err
	}
	r, err := approval.Replay(record)
	if err != nil {
		return approval.Request{}, fmt.Errorf("making request %s: %w", record.ID, err)
	}
	id, ours := parseID(r.ID)
	switch {
	case !ours:
		return approval.Request{}, errNotOurs(r.ID)
	case r.Ask.Requester.EntityID != requester:
		return approval.Request{}, fmt.Errorf("request %s is one of %q, not of %q", r.ID, r.Ask.Requester.EntityID, requester)
	}
	if err := q.saveSeed(ctx, s); err != nil {
		return approval.Request{}, err
	}
	if err := q.write(ctx, s, id, r); err != nil {
		return approval.Request{}, err
	}
	made = &item{id, new(r.Listing())}
	return r, nil
}

// List returns the open requests for which keep is true, the newest first: those older than the one with the id after, or
// all if that is empty; at most limit, or all if that is 0. It reads no record once the index is there. Damaged ones are
// among them, see [approval.Listing.Unreadable]. With an error it also returns the requests that the index knows already.
func (q *Requests) List(
	ctx context.Context, s logical.Storage, after string, limit int, keep func(approval.Listing) bool,
) ([]Entry, error) {
	older, ours := parseID(after)
	switch {
	case after == "":
		older = uuid.Max
	case !ours:
		return nil, errNotOurs(after)
	}
	err := q.index.await(ctx, s)
	var entries []Entry
	q.index.descend(older, func(i item) (goOn bool) {
		if keep(*i.listing) {
			entries = append(entries, Entry{i.id.String(), *i.listing})
		}
		return limit == 0 || len(entries) < limit
	})
	return entries, err
}

func errNotOurs(id string) error {
	return fmt.Errorf("request %.64q has an id that none of this engine's has", id)
}
