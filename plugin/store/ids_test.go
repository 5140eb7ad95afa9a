package store_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

func newID(t *testing.T, s *store.Store[config], d *disk, by string) string {
	t.Helper()
	id, err := s.Requests.NewID(t.Context(), d, "entity-"+by)
	must(t, err)
	return id
}

func mayBeOf(t *testing.T, s *store.Store[config], d *disk, id, by string) bool {
	t.Helper()
	may, err := s.Requests.MayBeOf(t.Context(), d, id, "entity-"+by)
	must(t, err)
	return may
}

func TestIDTellsWhoseRequestItMayBeAndWhenItWasMade(t *testing.T) {
	s, d := store.New[config](), &disk{}
	if mayBeOf(t, s, d, idAt(start), "alice") {
		t.Error("before anything was asked an id is alice's")
	}
	createFor(t, s, d, "alice")
	before := time.Now().Truncate(time.Millisecond)
	last, mistaken := "", 0
	restarted := store.New[config]()
	for range 3000 {
		hers, his := newID(t, s, d, "alice"), newID(t, s, d, "bob")
		if !mayBeOf(t, restarted, d, hers, "alice") || !mayBeOf(t, restarted, d, his, "bob") {
			t.Fatalf("a person's own id is not found: %s or %s", hers, his)
		}
		if mayBeOf(t, s, d, hers, "bob") {
			mistaken++
		}
		if hers <= last || his <= hers {
			t.Fatalf("%s, %s and %s are not in the order of their making", last, hers, his)
		}
		last = his
		if at := store.MadeAt(hers); at.Before(before) || at.After(time.Now()) {
			t.Fatalf("%s was made at %s", hers, at)
		}
	}
	if mistaken > 0 { // all of one person's ids have the same mark
		t.Errorf("%d ids of alice are taken for bob's", mistaken)
	}
	// An id of one person is mistaken for one of another in a million.
	for i := range 3000 {
		if mayBeOf(t, s, d, last, "other-"+time.Duration(i).String()) {
			mistaken++
		}
	}
	if mistaken > 1 {
		t.Errorf("%d of 3000 others may be the one who made %s", mistaken, last)
	}
	// The mark needs the key: elsewhere the same person has another.
	elsewhere := &disk{}
	createFor(t, store.New[config](), elsewhere, "alice")
	if mayBeOf(t, store.New[config](), elsewhere, newID(t, s, d, "alice"), "alice") {
		t.Error("the mark is the same on every mount")
	}
}

// createFor makes a request of somebody's, and returns its id.
func createFor(t *testing.T, s *store.Store[config], d *disk, by string) string {
	t.Helper()
	id := newID(t, s, d, by)
	_, err := s.Requests.Create(t.Context(), d, "entity-"+by, start, func(int) (approval.Record, error) { return buildRecord(id, by, start) })
	must(t, err)
	return id
}

func TestSeedIsWrittenWithTheFirstRequestAndThenAsksTheStorageNothing(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	refused := newID(t, s, d, "alice")
	if left := d.content(ctx, t); len(left) != 0 {
		t.Errorf("a question that may be refused leaves %v", keysOf(left))
	}
	d.failAll("put seed")
	_, err := s.Requests.Create(ctx, d, "entity-alice", start, func(int) (approval.Record, error) { return buildRecord(refused, "alice", start) })
	wantError(t, err, "writing seed", errDisk.Error())
	if left := d.content(ctx, t); len(left) != 0 {
		t.Errorf("a request without its seed leaves %v", keysOf(left))
	}
	d.failAll("")
	id := createFor(t, s, d, "alice")
	if stored := d.content(ctx, t)["seed"]; len(stored) == 0 || stored[0] != '{' {
		t.Errorf("the seed is stored as %q", stored)
	}
	d.seen()
	newID(t, s, d, "bob")
	mayBeOf(t, s, d, id, "alice")
	if calls := d.seen(); len(calls) != 0 {
		t.Errorf("more ids took %v", calls)
	}

	// Another node's seed takes the place of the one that is cached.
	there, other := store.New[config](), &disk{}
	createFor(t, there, other, "alice")
	must(t, d.InmemStorage.Put(ctx, &logical.StorageEntry{Key: "seed", Value: []byte(other.content(ctx, t)["seed"])}))
	s.Invalidate("seed")
	if mayBeOf(t, s, d, id, "alice") || !mayBeOf(t, store.New[config](), d, newID(t, s, d, "alice"), "alice") {
		t.Error("the old seed is still in use")
	}

	for _, damaged := range []string{"short", `{"v":1,"body":"00"}`, `{"v":1,"body":"no hex"}`} {
		must(t, d.InmemStorage.Put(ctx, &logical.StorageEntry{Key: "seed", Value: []byte(damaged)}))
		s = store.New[config]()
		_, err = s.Requests.NewID(ctx, d, "entity-alice")
		wantError(t, err, "seed", store.ErrUnreadable.Error())
		if _, err = s.Requests.MayBeOf(ctx, d, id, "entity-alice"); err == nil {
			t.Error("a damaged seed is no error")
		}
	}
}

func TestIDOfOtherMakingIsNobodysAndHasNoTime(t *testing.T) {
	s, d := store.New[config](), &disk{}
	good := newID(t, s, d, "alice")
	for _, id := range []string{"", "x", "f47ac10b-58cc-4372-a567-0e02b2c3d479", good + "0", "{" + good + "}", "urn:uuid:" + good, "../config", good[:35] + "G"} {
		if mayBeOf(t, s, d, id, "alice") || !store.MadeAt(id).IsZero() {
			t.Errorf("%q is one of alice's, made at %s", id, store.MadeAt(id))
		}
	}
}

// A team that starts on a new mount all at once must not wait for one write after another.
func TestSeedIsWrittenOnceHoweverManyAskAtOnce(t *testing.T) {
	s, d := store.New[config](), &disk{fail: func(call string) (before, after bool) {
		if call == "get seed" {
			time.Sleep(2 * time.Millisecond) // so that all of them queue up
		}
		return false, false
	}}
	ids := make([]string, 50)
	var crowd sync.WaitGroup
	for i := range ids {
		crowd.Go(func() { ids[i] = createFor(t, s, d, "alice") })
	}
	crowd.Wait()
	for call, most := range map[string]int{"get seed": 2, "put seed": 1} {
		if n := count(d.calls, call); n > most {
			t.Errorf("%d times %s", n, call)
		}
	}
	for _, id := range ids {
		if !mayBeOf(t, store.New[config](), d, id, "alice") {
			t.Fatalf("%s has no mark of its requester", id)
		}
	}
}

func count(calls []string, wanted string) int {
	return len(slices.DeleteFunc(slices.Clone(calls), func(call string) bool { return call != wanted }))
}

func TestRequestWhoseSeedAnotherNodeMadeAnewIsRefused(t *testing.T) {
	here, there, d := store.New[config](), store.New[config](), &disk{}
	id := newID(t, here, d, "alice")
	createFor(t, there, d, "bob")
	_, err := here.Requests.Create(t.Context(), d, "entity-alice", start, func(int) (approval.Record, error) { return buildRecord(id, "alice", start) })
	wantError(t, err, "another node made the key of the ids at the same time")
	if own := createFor(t, here, d, "alice"); !mayBeOf(t, there, d, own, "alice") {
		t.Error("the next request has no mark of its requester")
	}
}
