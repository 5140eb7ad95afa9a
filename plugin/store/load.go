package store

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// loadWidth is how many records are read at once.
const loadWidth = 16

// errLeft is the end of a load whose caller left: another takes over.
var errLeft = errors.New("whoever read the open requests left")

// await returns when the index knows what the storage held at the time of the call. Whoever comes first reads for all who
// come meanwhile. Nothing is locked while it reads.
func (x *index) await(ctx context.Context, s logical.Storage) error {
	for loads := 0; loads < 2 && !x.isFresh(); { // the first may have begun before the call
		load := x.loads.DoChan("", func() (any, error) {
			err := x.load(ctx, s)
			if ctx.Err() != nil {
				err = errLeft
			}
			return nil, err
		})
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the open requests are read: %w", ctx.Err())
		case done := <-load:
			switch {
			case done.Err == nil:
				loads++
			case !errors.Is(done.Err, errLeft):
				return done.Err
			}
		}
	}
	return nil
}

func (x *index) isFresh() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.listed && len(x.stale) == 0
}

// load reads what the index does not know.
func (x *index) load(ctx context.Context, s logical.Storage) error {
	stale, err := x.findStale(ctx, s)
	if err != nil {
		return err
	}
	var group errgroup.Group // one that fails keeps nobody from reading the others
	group.SetLimit(loadWidth)
	for id, known := range stale {
		group.Go(func() error { return x.read(ctx, s, id, known) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("reading the open requests: %w", err)
	}
	x.trim()
	return nil
}

// trim gives back the room of the map that held the ids of all open requests.
func (x *index) trim() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.stale) == 0 {
		x.stale = map[uuid.UUID]doubt{}
	}
}

// findStale returns the ids to read: at first those of all open requests.
func (x *index) findStale(ctx context.Context, s logical.Storage) (map[uuid.UUID]doubt, error) {
	x.mu.Lock()
	x.wanted = true
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
		if id, ours := parseID(name); ours && !x.tree.Has(item{id: id}) { // one that was written meanwhile is known
			x.doubt(id)
		}
	}
	x.listed = true
	return maps.Clone(x.stale), nil
}

// read brings the index up to date with one record, unless that was written meanwhile. If it was written or distrusted, it
// is read once more.
func (x *index) read(ctx context.Context, s logical.Storage, id uuid.UUID, known doubt) error {
	var listing *approval.Listing
	r, err := readRequest(ctx, s, openPrefix+id.String())
	switch {
	case errors.Is(err, ErrUnreadable): // one that is damaged, or that another release wrote, keeps nobody from anything
		listing = new(approval.UnreadableListing())
	case err != nil:
		return err
	case r != nil:
		listing = new(r.Listing())
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.stale[id]
	if now.written == known.written {
		x.place(id, listing)
	}
	if now == known {
		delete(x.stale, id)
	}
	return nil
}
