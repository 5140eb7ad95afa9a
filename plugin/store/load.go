package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// loadWidth is how many records are read at once.
const loadWidth = 16

// load is one reading of what the index does not know. Whoever uses the index first does it for all who come meanwhile.
type load struct {
	// done is closed at its end. Then err says why it failed; it is nil too if its caller left, and another takes over.
	done chan struct{}
	err  error
	// written are ids that were written since the load began; what it reads of them may be older. Guarded by index.mu.
	written map[uuid.UUID]struct{}
}

// awaitIndex returns when the index knows what the storage held at the time of the call. Nothing is locked while it reads.
func (q *Requests) awaitIndex(ctx context.Context, s logical.Storage) error {
	for {
		current, own := q.index.joinLoad()
		switch {
		case current == nil:
			return nil
		case own:
			return q.run(ctx, s, current)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the open requests are read: %w", ctx.Err())
		case <-current.done:
			if current.err != nil {
				return current.err
			}
		}
	}
}

// joinLoad returns the load under way, or a new one, which is the caller's own to run, or nil if there is nothing to read.
func (x *index) joinLoad() (current *load, own bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.load != nil || (x.listed && len(x.stale) == 0) {
		return x.load, false
	}
	if !x.listed {
		x.clear()
	}
	x.load = &load{done: make(chan struct{}), written: map[uuid.UUID]struct{}{}}
	return x.load, true
}

func (q *Requests) run(ctx context.Context, s logical.Storage, l *load) (err error) {
	defer func() { q.index.finishLoad(ctx, l, err) }()
	ids, err := q.index.findStale(ctx, s)
	if err != nil {
		return err
	}
	var group errgroup.Group // one that fails keeps nobody from reading the others
	group.SetLimit(loadWidth)
	for _, id := range ids {
		group.Go(func() error { return q.index.read(ctx, s, l, id) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("reading the open requests: %w", err)
	}
	return nil
}

func (x *index) finishLoad(ctx context.Context, l *load, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.load = nil
	if len(x.stale) == 0 {
		x.stale = map[uuid.UUID]struct{}{} // the old map has room for all open requests
	}
	if ctx.Err() == nil {
		l.err = err
	}
	close(l.done)
}

// findStale returns the ids to read: at first those of all open requests.
func (x *index) findStale(ctx context.Context, s logical.Storage) ([]uuid.UUID, error) {
	x.mu.Lock()
	listed := x.listed
	x.mu.Unlock()
	var names []string
	if !listed {
		var err error
		if names, err = list(ctx, s, openPrefix); err != nil {
			return nil, err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range names {
		if id, ours := parseID(name); ours {
			x.stale[id] = struct{}{}
		}
	}
	x.listed = true
	return slices.Collect(maps.Keys(x.stale)), nil
}

// read brings the index up to date with one record. It never touches what was written since the load began.
func (x *index) read(ctx context.Context, s logical.Storage, l *load, id uuid.UUID) error {
	x.mu.Lock()
	_, written := l.written[id]
	if !written {
		delete(x.stale, id) // before it is read: what is distrusted meanwhile is read once more
	}
	x.mu.Unlock()
	if written {
		return nil
	}
	r, err := readRequest(ctx, s, openPrefix+id.String())
	// A record that is damaged, or that another release wrote, must not keep everybody from everything.
	unreadable := errors.Is(err, ErrUnreadable)

	x.mu.Lock()
	defer x.mu.Unlock()
	_, written = l.written[id]
	switch {
	case err != nil && !unreadable:
		x.stale[id] = struct{}{}
		return err
	case written:
	case unreadable:
		x.insert(id, approval.UnreadableListing())
	case r == nil:
		x.erase(id)
	default:
		x.insert(id, r.Listing())
	}
	return nil
}
