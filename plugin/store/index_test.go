package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// saveOrFile stores what became of a request, as the ledger does.
func saveOrFile(ctx context.Context, s *store.Store[config], d *disk, r approval.Request, now time.Time) error {
	if r.Finished(now) {
		return s.Requests.File(ctx, d, r)
	}
	return s.Requests.Save(ctx, d, r)
}

// history is a fixture for a property: a node, another one, and what both did to the requests.
type history struct {
	here, elsewhere *store.Store[config]
	d               *disk
	known           []string
	now             time.Time
}

// goOn lets something happen to a request, on this node or the other, and lets its write fail or not.
func (h *history) goOn(ctx context.Context, t *rapid.T) {
	if len(h.known) == 0 {
		return
	}
	r, err := h.here.Requests.Load(ctx, h.d, rapid.SampledFrom(h.known).Draw(t, "request"))
	must(t, err)
	if r == nil {
		return
	}
	by := rapid.SampledFrom([]string{"bob", "carol", "erin"}).Draw(t, "by")
	command := rapid.SampledFrom([]approval.Command{
		approve(by, *r), approve(by, *r), approve(by, *r), deny(by, *r), approval.Withdraw{Approver: standing(by)}, cancel(*r),
		beginClaim(t, *r), giveGrant(t, *r, h.now.Add(time.Minute)), approval.AbortClaim{}, approval.LeaseEnded{},
		approval.Gone{Handle: token.Key()}, approval.Gone{Handle: lease.Key()},
	}).Draw(t, "command")
	events, err := approval.Do(*r, command, h.now)
	if err != nil {
		return
	}
	next, err := r.With(events...)
	must(t, err)
	defer h.d.failAll("")
	switch rapid.SampledFrom([]string{"well", "well", "without effect", "with effect", "elsewhere"}).Draw(t, "goes") {
	case "well":
		must(t, saveOrFile(ctx, h.here, h.d, next, h.now))
	case "elsewhere": // another node's write, of which this one is told
		must(t, saveOrFile(ctx, h.elsewhere, h.d, next, h.now))
		h.here.Invalidate("open/" + r.ID)
	case "without effect":
		h.d.failAll(" ")
		wantError(t, saveOrFile(ctx, h.here, h.d, next, h.now))
	case "with effect":
		last := "put open/"
		if next.Finished(h.now) {
			last = rapid.SampledFrom([]string{"put ended/", "delete open/"}).Draw(t, "write")
		}
		h.d.fail = func(call string) (before, after bool) { return false, strings.HasPrefix(call, last) }
		wantError(t, saveOrFile(ctx, h.here, h.d, next, h.now))
	}
}

// work does what the periodic work does.
func (h *history) work(ctx context.Context, t *rapid.T) {
	due, err := h.here.Requests.List(ctx, h.d, "", 0, func(l approval.Listing) bool { return l.Due(h.now) })
	must(t, err)
	for _, e := range due {
		r, err := h.here.Requests.LoadOpen(ctx, h.d, e.ID)
		must(t, err)
		next := *r
		for _, task := range approval.Next(*r, h.now) {
			if end, ok := task.(approval.EndHandle); ok {
				next = apply(t, next, h.now, approval.Gone{Handle: end.Handle.Key()})
			}
		}
		must(t, saveOrFile(ctx, h.here, h.d, next, h.now))
	}
}

// What the index knows is what a new process would learn from the storage, whatever happened, failed or was written by
// another node; and each request is either open or filed away, never both, once nothing fails any more.
func TestIndexAfterARestartIsTheIndexBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		h := &history{here: store.New[config](), elsewhere: store.New[config](), d: &disk{}, now: start}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				r, err := create(ctx, h.here, h.d, rapid.SampledFrom([]string{"alice", "dave"}).Draw(t, "by"), 5, h.now)
				if err == nil {
					h.known = append(h.known, r.ID)
				} else if !errors.Is(err, errTooMany) {
					t.Fatal(err)
				}
			},
			"something happens": func(t *rapid.T) { h.goOn(ctx, t) },
			"time passes":       func(*rapid.T) { h.now = h.now.Add(25 * time.Minute) },
			"periodic work":     func(t *rapid.T) { h.work(ctx, t) },
			"": func(t *rapid.T) {
				got, want := listOpen(ctx, t, h.here, h.d), listOpen(ctx, t, store.New[config](), h.d)
				if show(got) != show(want) {
					t.Fatalf("the index is\n%s, but a new process makes\n%s of the storage", show(got), show(want))
				}
				inStorage, err := h.d.InmemStorage.List(ctx, "open/")
				must(t, err)
				slices.Sort(inStorage)
				if !slices.Equal(idsOf(got), inStorage) {
					t.Fatalf("the index has %v, the storage %v", idsOf(got), inStorage)
				}
			},
		})
	})
}

// Cost follows what is open: once the index is made, looking for open requests reads nothing, and at no time anything
// that has ended.
func TestOpenRequestsAreFoundWithoutReadingEndedOnes(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	for range 50 {
		r := newRequest(t, "alice", start)
		file(ctx, t, s, d, apply(t, r, start, cancel(r)))
	}
	save(ctx, t, s, d, newRequest(t, "alice", start), active(t, "alice"))
	must(t, d.InmemStorage.Put(ctx, &logical.StorageEntry{Key: "open/of-other-making", Value: []byte("{}")}))
	d.seen()

	s = store.New[config]()
	if found := listOpen(ctx, t, s, d); len(found) != 2 {
		t.Fatalf("open are %v", found)
	}
	if calls := d.seen(); len(calls) != 3 || slices.ContainsFunc(calls, func(c string) bool { return !strings.Contains(c, " open/") }) {
		t.Errorf("to make the index of 2 requests it took %v", calls)
	}
	for range 3 {
		listOpen(ctx, t, s, d)
	}
	if calls := d.seen(); len(calls) != 0 {
		t.Errorf("with the index there it took %v", calls)
	}
	r, err := create(ctx, s, d, "alice", 10, start)
	must(t, err)
	file(ctx, t, s, d, apply(t, r, start, cancel(r)))
	if calls := d.seen(); len(calls) != 3 {
		t.Errorf("a new request and its filing took %v", calls)
	}
}

func TestListGoesFromTheNewestToTheOldestAndVisitsEachOnce(t *testing.T) {
	ctx := t.Context()
	for _, size := range []int{1, 4, 13, 100, 0} {
		s, d := store.New[config](), &disk{}
		var want []string
		for i := range 25 {
			r := newRequest(t, []string{"alice", "dave"}[i%2], after(time.Duration(i)*time.Minute))
			save(ctx, t, s, d, r)
			if r.Ask.Requester.Name == "alice" {
				want = append([]string{r.ID}, want...)
			}
		}
		ofAlice := func(l approval.Listing) bool { return l.Requester == "entity-alice" }
		var got []string
		for last := ""; ; last = got[len(got)-1] {
			page, err := s.Requests.List(ctx, d, last, size, ofAlice)
			must(t, err)
			if len(page) == 0 {
				break
			}
			if size > 0 && len(page) > size {
				t.Fatalf("a page of %d has %d", size, len(page))
			}
			got = append(got, idsOf(page)...)
			_, err = create(ctx, s, d, "alice", 100, after(time.Hour)) // a newer one is in no later page
			must(t, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d give\n%v, not\n%v", size, got, want)
		}
	}
	_, err := store.New[config]().Requests.List(ctx, &disk{}, "yesterday", 0, everything)
	wantError(t, err, "yesterday")
}

func TestOpenRequestsMayChangeWhileTheyAreListed(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	for range 200 {
		save(ctx, t, s, d, newRequest(t, "alice", start))
	}
	ids := idsOf(listOpen(ctx, t, s, d))
	visited := 0
	_, err := s.Requests.List(ctx, d, "", 0, func(approval.Listing) bool {
		visited++
		r, err := s.Requests.Load(ctx, d, ids[len(ids)-visited])
		must(t, err)
		file(ctx, t, s, d, apply(t, *r, start, cancel(*r)))
		return false
	})
	must(t, err)
	if left := listOpen(ctx, t, s, d); visited != 200 || len(left) != 0 {
		t.Errorf("%d were visited, %d are left", visited, len(left))
	}
}

func TestRecordThatAnotherNodeWroteIsReadAgain(t *testing.T) {
	ctx := t.Context()
	here, there, d := store.New[config](), store.New[config](), &disk{}
	must(t, here.Roles.Put(ctx, d, "db", role("database/creds/app")))
	must(t, here.Policies.Put(ctx, d, "two", policy()))
	must(t, here.Groups.Put(ctx, d, "dba", approval.ApproverGroup{Name: "dba", EntityIDs: []string{"a"}}))
	must(t, here.Config.Put(ctx, d, config{Address: "old"}))
	r := newRequest(t, "alice", start)
	save(ctx, t, here, d, r)
	listOpen(ctx, t, here, d)

	must(t, there.Roles.Put(ctx, d, "db", role("database/creds/other")))
	must(t, there.Policies.Delete(ctx, d, "two"))
	must(t, there.Groups.Put(ctx, d, "dba", approval.ApproverGroup{Name: "dba", EntityIDs: []string{"b"}}))
	must(t, there.Config.Put(ctx, d, config{Address: "new"}))
	file(ctx, t, there, d, apply(t, r, start, cancel(r)))
	for _, key := range []string{"role/db", "policy/two", "group/dba", "config", "open/" + r.ID, "ended/202603/" + r.ID, "of/nothing", "open/nothing"} {
		here.Invalidate(key)
	}
	foundRole, err := here.Roles.Get(ctx, d, "db")
	must(t, err)
	foundPolicy, err := here.Policies.Get(ctx, d, "two")
	must(t, err)
	foundGroup, err := here.Groups.Get(ctx, d, "dba")
	must(t, err)
	foundConfig, err := here.Config.Get(ctx, d)
	must(t, err)
	if asJSON(t, foundRole) != asJSON(t, role("database/creds/other")) || foundPolicy != nil || foundGroup.EntityIDs[0] != "b" || foundConfig.Address != "new" {
		t.Errorf("got %+v, %+v, %+v and %+v", foundRole, foundPolicy, foundGroup, foundConfig)
	}
	if found := listOpen(ctx, t, here, d); len(found) != 0 {
		t.Errorf("still open: %v", found)
	}

	r = newRequest(t, "alice", start)
	save(ctx, t, there, d, r)
	here.Invalidate("open/" + r.ID)
	d.seen()
	if found := listOpen(ctx, t, here, d); len(found) != 1 {
		t.Errorf("open are %v", found)
	}
	listOpen(ctx, t, here, d)
	if calls := d.seen(); len(calls) != 1 {
		t.Errorf("to read one request again it took %v", calls)
	}
}

// A standby is told of every write of the active node, and may never be asked for a list.
func TestInvalidationBeforeTheIndexIsReadCostsNothing(t *testing.T) {
	s, d := store.New[config](), &disk{}
	for range 1000 {
		s.Invalidate("open/" + idAt(start))
	}
	for range 2 {
		listOpen(t.Context(), t, s, d)
	}
	if calls := d.seen(); len(calls) != 1 {
		t.Errorf("with nothing open it took %v", calls)
	}
}

func TestDefinitionsAreReadOnceAndAbsentOnesAgain(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	must(t, store.New[config]().Roles.Put(ctx, d, "db", role("database/creds/app")))
	d.seen()
	for range 3 {
		if found, err := s.Roles.Get(ctx, d, "db"); found == nil || err != nil {
			t.Errorf("got %v and %v", found, err)
		}
	}
	if calls := d.seen(); len(calls) != 1 {
		t.Errorf("three reads took %v", calls)
	}
	// Names that are guessed must not fill the memory, and a name may come to exist.
	for range 2 {
		if found, err := s.Roles.Get(ctx, d, "none"); found != nil || err != nil {
			t.Fatalf("got %v and %v", found, err)
		}
	}
	if calls := d.seen(); len(calls) != 2 {
		t.Errorf("two reads of an absent role took %v", calls)
	}
}
