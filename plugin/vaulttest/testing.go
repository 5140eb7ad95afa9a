package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// A shared resource is started by the first test that needs it and closed after the last test.
type shared[T interface{ Close() error }] struct {
	mu   sync.Mutex
	made T
	err  error
	done bool
}

func (s *shared[T]) get(tb testing.TB, produce func(context.Context) (T, error)) T {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.made, s.err = produce(tb.Context())
		s.done = true
	}
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.made
}

func (s *shared[T]) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done || s.err != nil {
		return nil
	}
	return s.made.Close()
}

var (
	sharedOptions  Options
	sharedCluster  shared[*Cluster]
	sharedPostgres shared[*Postgres]
)

// Main runs the tests of a package. A TestMain calls it if tests of the package call Shared or SharedPostgres. The closers
// close what else the package shares.
func Main(m *testing.M, o Options, closers ...func() error) {
	sharedOptions = o
	code := m.Run()
	err := errors.Join(sharedCluster.close(), sharedPostgres.close())
	for _, closer := range closers {
		err = errors.Join(err, closer())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Shared returns the server that the tests of a package share, see Main. The first call starts it.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	return sharedCluster.get(tb, func(ctx context.Context) (*Cluster, error) { return Start(ctx, sharedOptions) })
}

// SharedPostgres returns the PostgreSQL that the tests of a package share, see Main. A test must not stop it.
func SharedPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	return sharedPostgres.get(tb, StartPostgres)
}

// New starts a cluster for one test.
func New(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c, err := Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	closeAfter(tb, c)
	return c
}

// NewPostgres starts a PostgreSQL for one test.
func NewPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	pg, err := StartPostgres(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	closeAfter(tb, pg)
	return pg
}

// eventualLimit is long, because the engine's periodic work runs once a minute, Vault waits up to a minute before it
// repeats a failed revocation, and the machine may be busy.
const eventualLimit = 4 * time.Minute

// Eventually calls done until it returns nil, and fails the test after four minutes.
func Eventually(tb testing.TB, what string, done func(context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), eventualLimit)
	defer cancel()
	if err := await(ctx, what, done); err != nil {
		tb.Fatal(err)
	}
}

func closeAfter(tb testing.TB, c interface{ Close() error }) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
}
