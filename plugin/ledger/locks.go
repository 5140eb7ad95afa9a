package ledger

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// locks let one at a time change what has a name. A lock is there while somebody has it, awaits it, or looks at what it
// guards, and counts the changes meanwhile, so that who looked first need not look again.
type locks struct {
	mu    sync.Mutex
	inUse map[string]*lock
}

type lock struct {
	name  string
	turn  chan struct{} // holds one token while somebody has the lock
	users int           // guarded by locks.mu
	all   *locks
	// changes counts how often what the lock guards has changed, or may have.
	changes atomic.Int64
}

// join makes the caller a user of the lock, who has to leave it.
func (l *locks) join(name string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.inUse[name]
	if own == nil {
		own = &lock{name: name, turn: make(chan struct{}, 1), all: l}
		if l.inUse == nil {
			l.inUse = map[string]*lock{}
		}
		l.inUse[name] = own
	}
	own.users++
	return own
}

func (k *lock) leave() {
	k.all.mu.Lock()
	defer k.all.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(k.all.inUse, k.name)
	}
}

// acquire waits for the lock, as long as the context lets it. A lock that is free is given also to a caller who has gone:
// an end goes on without the caller.
func (k *lock) acquire(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for whoever changes request %s: %w", k.name, context.Cause(ctx))
	}
}

func (k *lock) release() { <-k.turn }

// isTaken reports whether somebody has the lock.
func (l *locks) isTaken(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.inUse[name]
	return own != nil && len(own.turn) > 0
}
