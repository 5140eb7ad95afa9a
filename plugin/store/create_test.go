package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

func TestOnePersonCannotHaveMoreWaitingThanTheLimit(t *testing.T) {
	const limit, tries = 7, 100
	ctx := t.Context()
	for range 20 {
		s, d := store.New[config](), &disk{}
		var group sync.WaitGroup
		var mu sync.Mutex
		outcome := map[string]int{}
		for i := range tries {
			group.Go(func() {
				by := []string{"alice", "dave"}[i%2]
				_, err := create(ctx, s, d, by, limit, start)
				mu.Lock()
				defer mu.Unlock()
				outcome[fmt.Sprint(by, " ", err)]++
			})
		}
		group.Wait()
		want := map[string]int{
			"alice <nil>": limit, "dave <nil>": limit,
			"alice " + errTooMany.Error(): tries/2 - limit, "dave " + errTooMany.Error(): tries/2 - limit,
		}
		if asJSON(t, outcome) != asJSON(t, want) {
			t.Fatalf("got %v, want %v", outcome, want)
		}
		if found := listOpen(ctx, t, s, d); len(found) != 2*limit {
			t.Fatalf("%d are open", len(found))
		}
	}
}

func TestOnlyRequestsThatWaitCount(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	tooMany := func(at time.Time) bool {
		_, err := create(ctx, s, d, "alice", 2, at)
		if err != nil && !errors.Is(err, errTooMany) {
			t.Fatal(err)
		}
		return err != nil
	}
	listOpen(ctx, t, s, d)
	pending := newRequest(t, "alice", start)
	save(ctx, t, s, d, active(t, "alice"), pending, apply(t, pending, start, approve("bob", pending), approve("carol", pending)), newRequest(t, "dave", start))
	if tooMany(start) {
		t.Error("a granted request counts")
	}
	if !tooMany(start) {
		t.Error("an approved one does not count")
	}
	if s = store.New[config](); !tooMany(start) {
		t.Error("after a restart there is room")
	}
	if tooMany(after(61 * time.Minute)) {
		t.Error("an approved one counts although it has expired")
	}
	if s = store.New[config](); tooMany(after(9 * time.Hour)) {
		t.Error("one that has expired counts")
	}
}

func TestPlaceOfARequestThatWasNotMadeIsFreeAgain(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	free := func(after string) {
		t.Helper()
		stop := errors.New("only counting")
		_, err := s.Requests.Create(ctx, d, "entity-alice", start, func(waiting int) (approval.Record, error) {
			if waiting != 0 {
				t.Errorf("after %s %d places are taken", after, waiting)
			}
			return approval.Record{}, stop
		})
		if !errors.Is(err, stop) {
			t.Errorf("the error of build came back as %v", err)
		}
	}
	free("nothing")
	free("a refusal")

	d.failAll("put open/")
	_, err := create(ctx, s, d, "alice", 1, start)
	wantError(t, err, errDisk.Error())
	d.failAll("")
	free("a failed write")

	for name, c := range map[string]struct{ id, by, says string }{
		"a request of somebody else":   {idAt(start), "bob", "entity-bob"},
		"an id of other making":        {"f47ac10b-58cc-4372-a567-0e02b2c3d479", "alice", "f47ac10b"},
		"an id that is no path's part": {"../config", "alice", "../config"},
	} {
		_, err = s.Requests.Create(ctx, d, "entity-alice", start, func(int) (approval.Record, error) { return buildRecord(c.id, c.by, start) })
		wantError(t, err, c.says)
		free(name)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = s.Requests.Create(ctx, d, "entity-alice", start, func(int) (approval.Record, error) { panic("in build") })
	}()
	free("a panic")
	if left := d.content(ctx, t); len(left) != 0 {
		t.Errorf("stored are %v", keysOf(left))
	}
}

// Build gathers from elsewhere, so nothing may wait for it.
func TestIndexIsNotLockedWhileARequestIsBuilt(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	_, err := s.Requests.Create(ctx, d, "entity-alice", start, func(waiting int) (approval.Record, error) {
		if waiting != 0 {
			t.Errorf("before it %d wait", waiting)
		}
		_, err := s.Requests.Create(ctx, d, "entity-alice", start, func(waiting int) (approval.Record, error) {
			if waiting != 1 {
				t.Errorf("the one that is being built counts as %d", waiting)
			}
			return buildRecord(idAt(start), "alice", start)
		})
		must(t, err)
		if found := listOpen(ctx, t, s, d); len(found) != 1 {
			t.Errorf("open are %v", found)
		}
		return buildRecord(idAt(start), "alice", start)
	})
	must(t, err)
	if found := listOpen(ctx, t, s, d); len(found) != 2 {
		t.Errorf("open are %v", found)
	}
}
