package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

// A shared resource is started by the first test that needs it and closed after the last test.
type shared[T io.Closer] struct {
	once  sync.Once
	made  T
	err   error
	close func() error // nil unless it has started
}

func (s *shared[T]) get(tb testing.TB, produce func(context.Context) (T, error)) T {
	tb.Helper()
	s.once.Do(func() {
		if s.made, s.err = produce(tb.Context()); s.err == nil {
			s.close = s.made.Close
		}
	})
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.made
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
	var err error
	for _, closer := range append([]func() error{sharedCluster.close, sharedPostgres.close}, closers...) {
		if closer != nil {
			err = errors.Join(err, closer())
		}
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
	closeAfter(tb, c, err)
	return c
}

// NewPostgres starts a PostgreSQL for one test.
func NewPostgres(tb testing.TB) *Postgres {
	tb.Helper()
	pg, err := StartPostgres(tb.Context())
	closeAfter(tb, pg, err)
	return pg
}

// eventualLimit is long, because the engine's periodic work runs once a minute, Vault waits up to a minute before it
// repeats a failed revocation, and the machine may be busy.
const eventualLimit = 4 * time.Minute

// Eventually calls done until it returns nil, and fails the test after four minutes.
func Eventually(tb testing.TB, what string, done func(context.Context) error) {
	tb.Helper()
	if err := await(tb.Context(), eventualLimit, what, done); err != nil {
		tb.Fatal(err)
	}
}

// closeAfter closes what was started for one test when the test ends.
func closeAfter(tb testing.TB, c io.Closer, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
}
