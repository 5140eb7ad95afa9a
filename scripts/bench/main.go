// Command bench measures the engine on a one-node Raft Vault, beside what the same Vault does without it, in one run:
// absolute figures differ between machines, ratios and counts of calls much less.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.clients, "clients", 16, "callers at the same time")
	flag.IntVar(&o.requests, "requests", 4000, "calls per figure of the first table")
	flag.IntVar(&o.cycles, "cycles", 2000, "whole cycles, each way")
	flag.IntVar(&o.requesters, "requesters", 50, "people who take part in the cycles")
	flag.IntVar(&o.volume, "volume", 100_000, "requests after which the plugin's memory is read")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct{ clients, requests, cycles, requesters, volume int }

func run(ctx context.Context, o options) (err error) {
	progress("starting Vault")
	s, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	counts, err := countCalls(ctx, s)
	if err != nil {
		return err
	}
	if err := s.operations(ctx, counts); err != nil {
		return err
	}
	if err := s.cycle(ctx); err != nil {
		return err
	}
	return s.memory(ctx)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "… "+format+"\n", args...) }

// timing is what a number of calls took.
type timing struct {
	calls     int
	took      time.Duration
	latencies []time.Duration
}

func (t *timing) perSecond() float64 { return float64(t.calls) / t.took.Seconds() }

// percentile is the latency that so many percent of the calls stayed below.
func (t *timing) percentile(percent int) time.Duration {
	return t.latencies[min(len(t.latencies)-1, len(t.latencies)*percent/100)]
}

// operation is something that can be called many times; n counts the calls.
type operation func(ctx context.Context, n int) error

// slices of a measurement: what is compared takes turns, so that both see the same machine.
const turns = 8

// beside measures two operations in turns, each called so many times by so many callers at once.
func beside(ctx context.Context, callers, total int, first, second operation) (a, b timing, err error) {
	for turn := range turns {
		from, to := total*turn/turns, total*(turn+1)/turns
		if err = a.load(ctx, callers, from, to, first); err != nil {
			return a, b, err
		}
		if err = b.load(ctx, callers, from, to, second); err != nil {
			return a, b, err
		}
	}
	return a, b, nil
}

// load adds the calls numbered from up to to, and stops at the first error.
func (t *timing) load(ctx context.Context, callers, from, to int, call operation) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latencies := make([]time.Duration, to-from)
	var next atomic.Int64
	var group sync.WaitGroup
	started := time.Now()
	for range callers {
		group.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(latencies) || ctx.Err() != nil {
					return
				}
				begun := time.Now()
				if err := call(ctx, from+n); err != nil {
					cancel(fmt.Errorf("call %d: %w", from+n, err))
					return
				}
				latencies[n] = time.Since(begun)
			}
		})
	}
	group.Wait()
	t.took += time.Since(started)
	t.calls += len(latencies)
	t.latencies = append(t.latencies, latencies...)
	slices.Sort(t.latencies)
	return context.Cause(ctx)
}
