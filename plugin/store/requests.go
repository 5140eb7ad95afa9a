package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// ErrTooManyOpen is returned by [Requests.Create] when the requester has as many ungranted requests as allowed.
var ErrTooManyOpen = errors.New("too many requests are waiting")

// Requests keeps request records, and in memory a short summary of each open one.
type Requests struct {
	locks locks

	mu     sync.Mutex
	loaded bool
	open   map[string]entry
	// byRequester holds the ids in open by who made them.
	byRequester map[string]map[string]struct{}
	// stale are ids of which the storage may hold something else than open: another node wrote them, or a write failed.
	stale map[string]struct{}
	// subjects holds each subject that an entry refers to, or once did, by its own words.
	subjects map[string]*subject
}

// entry is a [Summary] in little memory: there may be a hundred thousand, about few people, roles and groups.
type entry struct {
	*subject

	due                                       int64
	waiting, holding, unconfirmed, unreadable bool
}

// subject is what many requests have in common: whom they concern. It is never changed.
type subject struct {
	requesterID, role string
	groups            []string
}

// Summary is what the index knows of an open request: enough to tell whom it concerns and when it is due.
type Summary struct {
	ID          string
	RequesterID string
	Role        string
	// Groups are the approver groups of the request's policy.
	Groups []string
	// Due is when periodic work has to look at it, in Unix nanoseconds.
	Due int64
	// Waiting is true for a request without a grant.
	Waiting bool
	// Holding is true while something may exist that has to be ended: a grant, or what a dead claim left behind.
	Holding bool
	// Unconfirmed is true for a grant whose end is recorded and not confirmed.
	Unconfirmed bool
	// Unreadable is true for a record that is there but not understood, of which nothing else is known. As it may be
	// that of a live grant, it counts as holding one whose end is not confirmed.
	Unreadable bool
}

func newRequests() *Requests {
	return &Requests{
		open:        map[string]entry{},
		byRequester: map[string]map[string]struct{}{},
		stale:       map[string]struct{}{},
		subjects:    map[string]*subject{},
	}
}

// NewID returns the id for a new request: a UUIDv7, so that ids sort by time and carry their month.
func NewID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("making a request id: %w", err)
	}
	return id.String(), nil
}

// Lock gives the caller the one right to change the request, until the returned function is called.
func (q *Requests) Lock(id string) (unlock func()) { return q.locks.lock(id) }

// TryLock is Lock for a caller who has other things to do: it returns nil if somebody has or awaits that right.
func (q *Requests) TryLock(id string) (unlock func()) { return q.locks.tryLock(id) }

// Get returns the request, open or ended, or nil.
func (q *Requests) Get(ctx context.Context, s logical.Storage, id string) (*approval.Request, error) {
	r, err := q.readAt(ctx, s, openPrefix+id)
	if r != nil || err != nil {
		return r, err
	}
	key, ok := endedKey(id)
	if !ok {
		return nil, nil
	}
	return q.readAt(ctx, s, key)
}

// GetOpen returns the request if it is open, or nil.
func (q *Requests) GetOpen(ctx context.Context, s logical.Storage, id string) (*approval.Request, error) {
	return q.readAt(ctx, s, openPrefix+id)
}

func (q *Requests) readAt(ctx context.Context, s logical.Storage, key string) (*approval.Request, error) {
	r, err := read[approval.Request](ctx, s, key)
	switch {
	case err != nil || r == nil:
		return nil, err
	case !r.Intact():
		return nil, fmt.Errorf("reading %s: %w: it is damaged: its digest does not match what was asked", key, ErrUnreadable)
	case !strings.HasSuffix(key, "/"+r.ID):
		return nil, fmt.Errorf("reading %s: %w: it is damaged: it is that of request %s", key, ErrUnreadable, r.ID)
	}
	return r, nil
}

// endedKey is where an ended request lies; false for an id that no request of ours can have.
func endedKey(id string) (string, bool) {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 {
		return "", false
	}
	seconds, nanos := parsed.Time().UnixTime()
	return endedPrefix + time.Unix(seconds, nanos).UTC().Format("200601") + "/" + id, true
}

// Create stores a new request. It refuses with [ErrTooManyOpen] when its requester already has limit requests waiting.
func (q *Requests) Create(ctx context.Context, s logical.Storage, r approval.Request, limit int, now time.Time) error {
	if err := q.load(ctx, s); err != nil {
		return err
	}
	if !q.reserve(r, limit, now) {
		return ErrTooManyOpen
	}
	if err := write(ctx, s, openPrefix+r.ID, r); err != nil {
		q.forget(r.ID)
		return err
	}
	return nil
}

func byKey(r approval.Request) string { return byPrefix + r.Ask.Requester.EntityID + "/" + r.ID }

// Put stores a changed request, and files it under ended/ once it is finished.
func (q *Requests) Put(ctx context.Context, s logical.Storage, r approval.Request, now time.Time) error {
	finished := r.Finished(now)
	if err := q.put(ctx, s, r, finished); err != nil {
		q.forget(r.ID)
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if finished {
		q.drop(r.ID)
	} else {
		q.note(r)
	}
	return nil
}

func (q *Requests) put(ctx context.Context, s logical.Storage, r approval.Request, finished bool) error {
	if !finished {
		return write(ctx, s, openPrefix+r.ID, r)
	}
	key, ok := endedKey(r.ID)
	if !ok {
		return fmt.Errorf("request %s has an id that none of this engine's has", r.ID)
	}
	// In this order a failure leaves the request open, and the periodic work files it again. Who made an open request
	// is in the index; the marker is for the requester's list of ended ones, and not empty because sys/raw cannot read what is.
	if err := s.Put(ctx, &logical.StorageEntry{Key: byKey(r), Value: []byte("{}")}); err != nil {
		return fmt.Errorf("writing %s: %w", byKey(r), err)
	}
	if err := write(ctx, s, key, r); err != nil {
		return err
	}
	return remove(ctx, s, openPrefix+r.ID)
}

// DeleteEnded removes an ended request for good.
func (q *Requests) DeleteEnded(ctx context.Context, s logical.Storage, r approval.Request) error {
	key, ok := endedKey(r.ID)
	if !ok {
		return fmt.Errorf("request %s has an id that none of this engine's has", r.ID)
	}
	if err := remove(ctx, s, byKey(r)); err != nil {
		return err
	}
	return remove(ctx, s, key)
}

// EndedOf lists the ids of an entity's requests that are over, in order of their making.
func (q *Requests) EndedOf(ctx context.Context, s logical.Storage, entityID string) ([]string, error) {
	return list(ctx, s, byPrefix+entityID+"/")
}

// EndedMonths lists the months, as YYYYMM and in order, in which requests were made that have ended.
func (q *Requests) EndedMonths(ctx context.Context, s logical.Storage) ([]string, error) {
	months, err := list(ctx, s, endedPrefix)
	for i := range months {
		months[i] = months[i][:len(months[i])-len("/")]
	}
	return months, err
}

// EndedIn lists the ids of ended requests of one month, in order.
func (q *Requests) EndedIn(ctx context.Context, s logical.Storage, month string) ([]string, error) {
	return list(ctx, s, endedPrefix+month+"/")
}

// Open lists the open requests for which keep is true, in order of their making.
func (q *Requests) Open(ctx context.Context, s logical.Storage, keep func(Summary) bool) ([]Summary, error) {
	if err := q.load(ctx, s); err != nil {
		return nil, err
	}
	q.mu.Lock()
	var kept []Summary
	for id, e := range q.open {
		if summary := e.summary(id); keep(summary) {
			kept = append(kept, summary)
		}
	}
	q.mu.Unlock()
	slices.SortFunc(kept, func(a, b Summary) int { return strings.Compare(a.ID, b.ID) })
	return kept, nil
}

// reserve notes a new request in the index if its requester has room for it.
func (q *Requests) reserve(r approval.Request, limit int, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := 0
	for id := range q.byRequester[r.Ask.Requester.EntityID] {
		if other := q.open[id]; other.waiting && other.due > now.UnixNano() {
			waiting++
		}
	}
	if waiting >= limit {
		return false
	}
	q.note(r)
	return true
}

// note, keep and drop keep the index; the caller holds mu.
func (q *Requests) note(r approval.Request) { q.keep(r.ID, q.entryOf(r)) }

func (q *Requests) keep(id string, e entry) {
	delete(q.stale, id)
	q.open[id] = e
	own := q.byRequester[e.requesterID]
	if own == nil {
		own = map[string]struct{}{}
		q.byRequester[e.requesterID] = own
	}
	own[id] = struct{}{}
}

func (q *Requests) drop(id string) {
	delete(q.stale, id)
	e, there := q.open[id]
	if !there {
		return
	}
	requester := e.requesterID
	delete(q.open, id)
	delete(q.byRequester[requester], id)
	if len(q.byRequester[requester]) == 0 {
		delete(q.byRequester, requester)
	}
}

// forget makes the next use of the index read the request again.
func (q *Requests) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.loaded { // else the first use reads everything
		q.stale[id] = struct{}{}
	}
}

func (q *Requests) entryOf(r approval.Request) entry {
	e := entry{
		subject:     q.subjectOf(r.Ask.Requester.EntityID, r.Ask.Role, r.Ask.Policy.Groups()),
		waiting:     r.Grant == nil,
		holding:     r.Leftover() != "" || (r.Grant != nil && (r.End == nil || !r.End.Confirmed())),
		unconfirmed: r.End != nil && !r.End.Confirmed(),
	}
	if at := r.Due(); !at.IsZero() { // else at once
		e.due = at.UnixNano()
	}
	return e
}

func (q *Requests) subjectOf(requesterID, role string, groups []string) *subject {
	words := strings.Join(append([]string{requesterID, role}, groups...), "\x00")
	if known := q.subjects[words]; known != nil {
		return known
	}
	made := &subject{requesterID: requesterID, role: role, groups: groups}
	q.subjects[words] = made
	return made
}

func (e entry) summary(id string) Summary {
	return Summary{
		ID: id, RequesterID: e.requesterID, Role: e.role, Groups: e.groups,
		Due: e.due, Waiting: e.waiting, Holding: e.holding, Unconfirmed: e.unconfirmed, Unreadable: e.unreadable,
	}
}

// loadWidth is how many records are read at once when the index is built.
const loadWidth = 16

// load builds the index at its first use after a start, and later reads again what another node wrote.
func (q *Requests) load(ctx context.Context, s logical.Storage) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string
	if q.loaded {
		for id := range q.stale {
			ids = append(ids, id)
		}
	} else {
		var err error
		if ids, err = list(ctx, s, openPrefix); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		q.loaded = true
		return nil
	}
	found, unreadable := make([]*approval.Request, len(ids)), make([]bool, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loadWidth)
	for i, id := range ids {
		group.Go(func() (err error) {
			found[i], err = q.GetOpen(ctx, s, id)
			// One record that is damaged, or that another release wrote, must not keep everybody from everything.
			if unreadable[i] = errors.Is(err, ErrUnreadable); unreadable[i] {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("reading the open requests: %w", err)
	}
	for i, id := range ids {
		switch {
		case unreadable[i]:
			q.keep(id, entry{subject: &subject{}, holding: true, unconfirmed: true, unreadable: true})
		case found[i] != nil:
			q.note(*found[i])
		default:
			q.drop(id)
		}
	}
	q.loaded = true
	return nil
}
