package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"
)

var errDisk = errors.New("the disk is on fire")

// disk is a storage that counts calls, can fail, and can be stopped.
type disk struct {
	logical.InmemStorage
	mu    sync.Mutex
	calls []string
	// fail says for a call, such as "put open/ID", whether it fails: before it has an effect, or after.
	fail func(call string) (before, after bool)
	// stops are calls that, when they are first made, wait between their effect and their answer.
	stops map[string]chan struct{}
}

func (d *disk) call(ctx context.Context, call string, do func() error) error {
	d.mu.Lock()
	d.calls = append(d.calls, call)
	fail, stop := d.fail, d.stops[call]
	delete(d.stops, call)
	d.mu.Unlock()
	var before, after bool
	if fail != nil {
		before, after = fail(call)
	}
	if before {
		return errDisk
	}
	if err := do(); err != nil {
		return err
	}
	if stop != nil {
		select {
		case <-stop:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if after {
		return errDisk
	}
	return nil
}

func (d *disk) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = d.call(ctx, "list "+prefix, func() (err error) { keys, err = d.InmemStorage.List(ctx, prefix); return err })
	return keys, err
}

func (d *disk) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = d.call(ctx, "get "+key, func() (err error) { entry, err = d.InmemStorage.Get(ctx, key); return err })
	return entry, err
}

func (d *disk) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return d.call(ctx, "put "+entry.Key, func() error { return d.InmemStorage.Put(ctx, entry) })
}

func (d *disk) Delete(ctx context.Context, key string) error {
	return d.call(ctx, "delete "+key, func() error { return d.InmemStorage.Delete(ctx, key) })
}

// failAll lets every call fail whose text holds the fragment; no fragment lets none fail.
func (d *disk) failAll(fragment string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = nil
	if fragment != "" {
		d.fail = func(call string) (before, after bool) { return strings.Contains(call, fragment), false }
	}
}

// stop makes the next such call wait, after its effect, until it is released or its context ends.
func (d *disk) stop(call string) (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stops == nil {
		d.stops = map[string]chan struct{}{}
	}
	stop := make(chan struct{})
	d.stops[call] = stop
	return func() { close(stop) }
}

// seen are the calls since the last time this was asked.
func (d *disk) seen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.calls
	d.calls = nil
	return calls
}

// content is everything stored.
func (d *disk) content(ctx context.Context, t rapid.TB) map[string]string {
	t.Helper()
	keys, err := logical.CollectKeys(ctx, &d.InmemStorage)
	must(t, err)
	all := map[string]string{}
	for _, key := range keys {
		entry, err := d.InmemStorage.Get(ctx, key)
		must(t, err)
		all[key] = string(entry.Value)
	}
	return all
}

// nowhere is a storage that holds nothing.
type nowhere struct{ logical.Storage }

func (nowhere) Put(context.Context, *logical.StorageEntry) error { return nil }
