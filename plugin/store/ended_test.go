package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/store"
)

// fileMonths files two requests a month, of one year, and returns their ids from the oldest on.
func fileMonths(t *testing.T, s *store.Store[config], d *disk) (ids []string) {
	t.Helper()
	for month := range 12 {
		for day := range 2 {
			at := time.Date(2026, time.January+time.Month(month), 1+20*day, 0, 0, 0, 0, time.UTC)
			r := newRequest(t, "alice", at)
			file(t.Context(), t, s, d, apply(t, r, at, cancel(r)))
			ids = append(ids, r.ID)
		}
	}
	for _, junk := range []string{"ended/202612/junk", "ended/202612/" + ids[0], "ended/junk/" + ids[0], "ended/zz"} {
		must(t, d.InmemStorage.Put(t.Context(), &logical.StorageEntry{Key: junk, Value: []byte("{}")}))
	}
	d.seen()
	return ids
}

func TestEndedRequestsAreVisitedFromTheNewestOnAndFromTheOldestOn(t *testing.T) {
	s, d := store.New[config](), &disk{}
	ids := fileMonths(t, s, d)
	newest := slices.Clone(ids)
	slices.Reverse(newest)
	var got []string
	visit := func(id string) (bool, error) { got = append(got, id); return true, nil }
	must(t, s.Requests.Ended(t.Context(), d, "", visit))
	if !slices.Equal(got, newest) {
		t.Errorf("visited are %v, not %v", got, newest)
	}
	got = nil
	must(t, s.Requests.EndedOldestFirst(t.Context(), d, visit))
	if !slices.Equal(got, ids) {
		t.Errorf("visited are %v, not %v", got, ids)
	}
	for _, size := range []int{1, 5} {
		got = nil
		for last := ""; len(got) < len(ids); last = got[len(got)-1] {
			n := 0
			must(t, s.Requests.Ended(t.Context(), d, last, func(id string) (bool, error) {
				got = append(got, id)
				n++
				return n < size, nil
			}))
			if n == 0 {
				break
			}
		}
		if !slices.Equal(got, newest) {
			t.Errorf("pages of %d give %v, not %v", size, got, newest)
		}
	}
	wantError(t, s.Requests.Ended(t.Context(), d, "yesterday", visit), "yesterday")
}

func TestOnlyMonthsThatAreReachedAreListed(t *testing.T) {
	s, d := store.New[config](), &disk{}
	ids := fileMonths(t, s, d)
	atMost := func(n int) func(string) (bool, error) {
		return func(string) (bool, error) { n--; return n > 0, nil }
	}
	for _, c := range []struct {
		name string
		walk func() error
		want []string
	}{
		{"the newest", func() error { return s.Requests.Ended(t.Context(), d, "", atMost(2)) }, []string{"ended/202612/"}},
		{"three", func() error { return s.Requests.Ended(t.Context(), d, "", atMost(3)) }, []string{"ended/202612/", "ended/202611/"}},
		{"those before the first of May", func() error { return s.Requests.Ended(t.Context(), d, ids[8], atMost(1)) }, []string{"ended/202605/", "ended/202604/"}},
		{"those before the last of May", func() error { return s.Requests.Ended(t.Context(), d, ids[9], atMost(1)) }, []string{"ended/202605/"}},
		{"the oldest", func() error { return s.Requests.EndedOldestFirst(t.Context(), d, atMost(1)) }, []string{"ended/202601/"}},
	} {
		must(t, c.walk())
		var listed []string
		for _, call := range d.seen() {
			if call != "list ended/" && call != "list ended/junk/" {
				listed = append(listed, call[len("list "):])
			}
		}
		if !slices.Equal(listed, c.want) {
			t.Errorf("for %s it listed %v, not %v", c.name, listed, c.want)
		}
	}
	stop := errors.New("enough")
	fails := func(string) (bool, error) { return true, stop }
	if err := s.Requests.Ended(t.Context(), d, "", fails); !errors.Is(err, stop) {
		t.Errorf("the visitor's error came back as %v", err)
	}
	if err := s.Requests.EndedOldestFirst(t.Context(), d, fails); !errors.Is(err, stop) {
		t.Errorf("the visitor's error came back as %v", err)
	}
}

// The two are there after a crash while it was filed, and the open one may still have something to end.
func TestEndedRequestThatIsOpenTooIsNotDeleted(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	r := newRequest(t, "alice", start)
	save(ctx, t, s, d, r)
	over := apply(t, r, start, cancel(r))
	d.failAll("delete open/")
	wantError(t, s.Requests.File(ctx, d, over), errDisk.Error())
	d.failAll("")
	for _, damage := range []bool{false, true} {
		if damage {
			must(t, d.InmemStorage.Put(ctx, &logical.StorageEntry{Key: "open/" + r.ID, Value: nil}))
		}
		if gone, err := s.Requests.DeleteEnded(ctx, d, r.ID); gone || err != nil {
			t.Fatalf("got %v and %v", gone, err)
		}
	}
	if left := d.content(ctx, t); len(left) != 2 {
		t.Fatalf("left are %v", keysOf(left))
	}
	file(ctx, t, s, d, over)
	if gone, err := s.Requests.DeleteEnded(ctx, d, r.ID); !gone || err != nil {
		t.Errorf("got %v and %v", gone, err)
	}
	if left := d.content(ctx, t); len(left) != 0 {
		t.Errorf("left are %v", keysOf(left))
	}
}

func TestFilingTakesTwoWritesAndCanBeRepeated(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	r := newRequest(t, "alice", start)
	save(ctx, t, s, d, r)
	d.seen()
	over := apply(t, r, start, cancel(r))
	for range 2 {
		file(ctx, t, s, d, over)
		if calls := d.seen(); !slices.Equal(calls, []string{"put ended/202603/" + r.ID, "delete open/" + r.ID}) {
			t.Errorf("filing took %v", calls)
		}
	}
}
