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

// A shared resource is made when the first test asks for it and closed after the last.
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

// Main runs the tests of a package whose tests call Shared or SharedPostgres, and is called by its TestMain. What the
// package shares beside that is closed by the given functions.
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

// Shared is a server for all tests of a package, see Main. It is started by the first test that asks.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	return sharedCluster.get(tb, func(ctx context.Context) (*Cluster, error) { return Start(ctx, sharedOptions) })
}

// SharedPostgres is a PostgreSQL for all tests of a package, see Main. It is not for tests that stop it.
func SharedPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	return sharedPostgres.get(tb, StartPostgres)
}

// New is a cluster for one test.
func New(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c, err := Start(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	closeAfter(tb, c)
	return c
}

// NewPostgres is a PostgreSQL for one test.
func NewPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	pg, err := StartPostgres(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	closeAfter(tb, pg)
	return pg
}

// eventualLimit is for what surely comes: the engine's periodic work runs once a minute, Vault tries a failed revocation
// again after up to a minute, and the machine may be busy.
const eventualLimit = 4 * time.Minute

// Eventually waits until done says yes, and fails the test if it never does.
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
