package ledger

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

const (
	// handlerTime bounds what one call may wait for Vault: meanwhile it holds up a step-down, a seal and a reload.
	handlerTime = 10 * time.Second
	// makingTime is the part of it in which a claim makes its grant; the rest is for taking it back.
	makingTime = 7 * time.Second
	// grace is how long work goes on for a caller who has gone, and how long closing waits for it.
	grace = 5 * time.Second
	// inFlightAtMost is how long a claim keeps others away from its request.
	inFlightAtMost = time.Minute
)

var errClosed = errors.New("this instance of the engine has been closed")

// life is from the making of a ledger to its closing.
type life struct {
	ctx     context.Context //nolint:containedctx // it is the life
	end     context.CancelFunc
	working sync.WaitGroup
	mu      sync.Mutex // guards closing, so that nothing begins once it is waited for
	closing bool
	over    atomic.Bool
}

func newLife() *life {
	ctx, end := context.WithCancel(context.Background())
	return &life{ctx: ctx, end: end}
}

// begin is for work that must not be broken off half-way: its context goes on for a moment after the caller's, and ends
// with the life or when the time is up.
func (l *life) begin(caller context.Context, limit time.Duration) (context.Context, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return nil, nil, errClosed
	}
	l.working.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), limit)
	stopCaller := context.AfterFunc(caller, func() { time.AfterFunc(grace, cancel) })
	stopLife := context.AfterFunc(l.ctx, cancel)
	return ctx, func() {
		stopCaller()
		stopLife()
		cancel()
		l.working.Done()
	}, nil
}

// Guard is the storage, into which nothing is written once the ledger was closed: a process may serve an old and a new
// instance of the engine.
func (l *Ledger) Guard(s logical.Storage) logical.Storage { return guarded{s, l.life} }

type guarded struct {
	logical.Storage
	life *life
}

func (g guarded) Put(ctx context.Context, entry *logical.StorageEntry) error {
	if g.life.over.Load() {
		return errClosed
	}
	return g.Storage.Put(ctx, entry)
}

func (g guarded) Delete(ctx context.Context, key string) error {
	if g.life.over.Load() {
		return errClosed
	}
	return g.Storage.Delete(ctx, key)
}

// Close ends the ledger's life: what is under way is broken off and has a moment to take back what it made. After it,
// nothing is written any more.
func (l *Ledger) Close() {
	l.life.mu.Lock()
	l.life.closing = true
	l.life.mu.Unlock()
	l.life.end()
	done := make(chan struct{})
	go func() {
		l.life.working.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
	l.life.over.Store(true)
}

// flights are the claims under way in this process, and the gate that keeps new ones from beginning.
type flights struct {
	mu     sync.Mutex
	until  map[string]time.Time
	closed bool
}

// begin makes the claim of a request the only one.
func (f *flights) begin(id string, now time.Time) (end func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, refusal.New("", "the configuration of the engine is being changed", "try again")
	}
	if now.Before(f.until[id]) {
		return nil, refusal.New("", "a claim of this request is under way", "")
	}
	if f.until == nil {
		f.until = map[string]time.Time{}
	}
	until := now.Add(inFlightAtMost)
	f.until[id] = until
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.until[id].Equal(until) {
			delete(f.until, id)
		}
	}, nil
}

func (f *flights) has(id string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.until[id])
}

// close closes the gate, unless a claim is under way.
func (f *flights) close(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, until := range f.until {
		if now.Before(until) {
			return refusal.New("", "nothing was changed: a claim is under way", "try again")
		}
	}
	f.closed = true
	return nil
}

func (f *flights) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = false
}

// WhileNothingIsClaimed makes a change after which the engine no longer reaches the Vault in which a claim under way
// makes its grant. Claims that would begin meanwhile are refused.
func (l *Ledger) WhileNothingIsClaimed(change func() error) error {
	if err := l.flights.close(l.now()); err != nil {
		return err
	}
	defer l.flights.open()
	return change()
}
