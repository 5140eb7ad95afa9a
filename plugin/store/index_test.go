package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// What the index knows is what a new process would learn from the storage, whatever happened, failed or was written by
// another node; and each request is either open or filed away, never both, once nothing fails any more.
func TestIndexAfterARestartIsTheIndexBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		d := &disk{}
		here, elsewhere := store.New[config](), store.New[config]()
		var known []string
		now := start
		pick := func(t *rapid.T) (approval.Request, bool) {
			if len(known) == 0 {
				return approval.Request{}, false
			}
			r, err := here.Requests.Get(ctx, d, rapid.SampledFrom(known).Draw(t, "request"))
			must(t, err)
			if r == nil {
				return approval.Request{}, false
			}
			return *r, true
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				r := asked(t, rapid.SampledFrom([]string{"alice", "dave"}).Draw(t, "by"), "db", now)
				known = append(known, r.ID)
				if err := here.Requests.Create(ctx, d, r, 5, now); err != nil && !errors.Is(err, store.ErrTooManyOpen) {
					t.Fatal(err)
				}
			},
			"something happens": func(t *rapid.T) {
				r, ok := pick(t)
				if !ok {
					return
				}
				by := rapid.SampledFrom([]string{"bob", "carol", "erin"}).Draw(t, "by")
				event := rapid.SampledFrom([]approval.Event{
					approve(by, r), approve(by, r), approve(by, r), deny(by, r), approval.Withdraw{Approver: standing(by)},
					approval.Cancel{Requester: standing(r.Ask.Requester.Name)}, startClaim(r), approval.KeepToken{Accessor: "accessor-1"},
					approval.AbandonClaim{}, succeed(now), approval.BeginEnd{Reason: approval.LeaseRevoked},
					approval.FailEnd{Problem: "down"}, approval.ConfirmEnd{},
				}).Draw(t, "event")
				next, err := approval.Apply(r, event, now)
				if err != nil {
					return
				}
				switch rapid.SampledFrom([]string{"well", "well", "without effect", "with effect", "elsewhere"}).Draw(t, "goes") {
				case "well":
					must(t, here.Requests.Put(ctx, d, next, now))
				case "elsewhere": // another node's write, of which this one is told
					must(t, elsewhere.Requests.Put(ctx, d, next, now))
					here.Invalidate("open/" + r.ID)
				case "without effect":
					d.failing(" ")
					wantError(t, here.Requests.Put(ctx, d, next, now))
					d.failing("")
				case "with effect":
					d.fail = func(string) (before, after bool) { return false, true }
					wantError(t, here.Requests.Put(ctx, d, next, now))
					d.failing("")
				}
			},
			"time passes": func(*rapid.T) { now = now.Add(25 * time.Minute) },
			"periodic work": func(t *rapid.T) {
				due, err := here.Requests.Open(ctx, d, func(s store.Summary) bool { return s.Due <= now.UnixNano() })
				must(t, err)
				for _, s := range due {
					r, err := here.Requests.GetOpen(ctx, d, s.ID)
					must(t, err)
					must(t, here.Requests.Put(ctx, d, *r, now))
				}
			},
			"": func(t *rapid.T) {
				got, want := open(ctx, t, here, d), open(ctx, t, store.New[config](), d)
				if asJSON(t, got) != asJSON(t, want) {
					t.Fatalf("the index is\n%s, but a new process makes\n%s of the storage", asJSON(t, got), asJSON(t, want))
				}
				inStorage, err := d.InmemStorage.List(ctx, "open/")
				must(t, err)
				slices.Sort(inStorage)
				if !slices.Equal(ids(got), inStorage) {
					t.Fatalf("the index has %v, the storage %v", ids(got), inStorage)
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
		done := applied(t, asked(t, "alice", "db", start), start, approval.Cancel{Requester: standing("alice")})
		must(t, s.Requests.Put(ctx, d, done, start))
	}
	stored(ctx, t, s, d, asked(t, "alice", "db", start), active(t, "alice"))
	d.seen()

	s = store.New[config]()
	if found := open(ctx, t, s, d); len(found) != 2 {
		t.Fatalf("open are %v", found)
	}
	if calls := d.seen(); len(calls) != 3 || slices.ContainsFunc(calls, func(c string) bool { return !strings.Contains(c, " open/") }) {
		t.Errorf("to make the index of 2 requests it took %v", calls)
	}
	for range 3 {
		open(ctx, t, s, d)
	}
	if calls := d.seen(); len(calls) != 0 {
		t.Errorf("with the index there it took %v", calls)
	}
	must(t, s.Requests.Create(ctx, d, asked(t, "alice", "db", start), 10, start))
	if calls := d.seen(); len(calls) != 1 {
		t.Errorf("a new request took %v", calls)
	}
}

func TestWhatAnotherNodeWroteIsReadAgain(t *testing.T) {
	ctx := t.Context()
	here, there, d := store.New[config](), store.New[config](), &disk{}
	old := role("db")
	must(t, here.Roles.Put(ctx, d, "db", old))
	must(t, here.Policies.Put(ctx, d, "two", policy()))
	must(t, here.Groups.Put(ctx, d, "dba", approval.ApproverGroup{Name: "dba", EntityIDs: []string{"a"}}))
	must(t, here.Config.Put(ctx, d, config{Address: "old"}))
	r := asked(t, "alice", "db", start)
	stored(ctx, t, here, d, r)

	changed := role("db")
	changed.Path = "database/creds/other"
	must(t, there.Roles.Put(ctx, d, "db", changed))
	must(t, there.Policies.Delete(ctx, d, "two"))
	must(t, there.Groups.Put(ctx, d, "dba", approval.ApproverGroup{Name: "dba", EntityIDs: []string{"b"}}))
	must(t, there.Config.Put(ctx, d, config{Address: "new"}))
	must(t, there.Requests.Put(ctx, d, applied(t, r, start, approval.Cancel{Requester: standing("alice")}), start))
	for _, key := range []string{"role/db", "policy/two", "group/dba", "config", "open/" + r.ID, "ended/202603/" + r.ID, "of/nothing"} {
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
	if foundRole.Path != changed.Path || foundPolicy != nil || foundGroup.EntityIDs[0] != "b" || foundConfig.Address != "new" {
		t.Errorf("got %+v, %+v, %+v and %+v", foundRole, foundPolicy, foundGroup, foundConfig)
	}
	if found := open(ctx, t, here, d); len(found) != 0 {
		t.Errorf("still open: %v", found)
	}

	r = asked(t, "alice", "db", start)
	stored(ctx, t, there, d, r)
	here.Invalidate("open/" + r.ID)
	if found := open(ctx, t, here, d); len(found) != 1 {
		t.Errorf("open are %v", found)
	}
	d.seen()
	open(ctx, t, here, d)
	if calls := d.seen(); len(calls) != 0 {
		t.Errorf("what has been read again is read once more: %v", calls)
	}
}

func TestDefinitionsAreReadOnceAndAbsentOnesAgain(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	must(t, store.New[config]().Roles.Put(ctx, d, "db", role("db")))
	d.seen()
	for range 3 {
		found, err := s.Roles.Get(ctx, d, "db")
		must(t, err)
		if found == nil {
			t.Fatal("the role is not found")
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

func TestOneRequesterCannotHaveMoreWaitingThanTheLimit(t *testing.T) {
	const limit, tries = 7, 60
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	var group sync.WaitGroup
	var mu sync.Mutex
	outcome := map[string]int{}
	for i := range tries {
		r := asked(t, []string{"alice", "dave"}[i%2], "db", start)
		group.Go(func() {
			err := s.Requests.Create(ctx, d, r, limit, start)
			mu.Lock()
			defer mu.Unlock()
			outcome[fmt.Sprint(r.Ask.Requester.Name, " ", err)]++
		})
	}
	group.Wait()
	want := map[string]int{
		"alice <nil>": limit, "dave <nil>": limit,
		"alice " + store.ErrTooManyOpen.Error(): tries/2 - limit, "dave " + store.ErrTooManyOpen.Error(): tries/2 - limit,
	}
	if asJSON(t, outcome) != asJSON(t, want) {
		t.Fatalf("got %v, want %v", outcome, want)
	}
	if found := open(ctx, t, s, d); len(found) != 2*limit {
		t.Errorf("%d are open", len(found))
	}
}

func TestOnlyRequestsThatWaitCountTowardsTheLimit(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	tooMany := func(at time.Time) bool {
		err := s.Requests.Create(ctx, d, asked(t, "alice", "db", at), 2, at)
		if err != nil && !errors.Is(err, store.ErrTooManyOpen) {
			t.Fatal(err)
		}
		return err != nil
	}
	granted, pending := active(t, "alice"), asked(t, "alice", "db", start)
	approved := applied(t, pending, start, approve("bob", pending), approve("carol", pending))
	stored(ctx, t, s, d, granted, pending)
	must(t, s.Requests.Put(ctx, d, approved, start))
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

func TestOneRequestIsChangedByOneAtATime(t *testing.T) {
	s := store.New[config]()
	var group sync.WaitGroup
	counts := make([]int, 3)
	for i := range 300 {
		which := i % len(counts)
		group.Go(func() {
			defer s.Requests.Lock(fmt.Sprint(which))()
			counts[which]++ // the race detector sees it if two are here
		})
	}
	group.Wait()
	if !slices.Equal(counts, []int{100, 100, 100}) {
		t.Errorf("the counts are %v", counts)
	}

	unlock := s.Requests.Lock("a")
	if s.Requests.TryLock("a") != nil {
		t.Error("two have the right at once")
	}
	other := s.Requests.TryLock("b")
	if other == nil {
		t.Fatal("a free request cannot be had")
	}
	other()
	unlock()
	for range 2 {
		unlock := s.Requests.TryLock("a")
		if unlock == nil {
			t.Fatal("a request that was let go cannot be had")
		}
		unlock()
	}
}

// A standby is told of every write of the active node, and may never be asked for a list.
func TestWhatIsTakenBackBeforeTheIndexIsReadCostsNothing(t *testing.T) {
	st, reads := store.New[int](), 0
	for range 1000 {
		id, err := store.NewID()
		must(t, err)
		st.Invalidate("open/" + id)
	}
	storage := counted{&logical.InmemStorage{}, &reads}
	for range 2 {
		_, err := st.Requests.Open(t.Context(), storage, everything)
		must(t, err)
	}
	if reads > 0 {
		t.Errorf("with nothing open, %d records are read", reads)
	}
}

type counted struct {
	logical.Storage
	reads *int
}

func (c counted) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	*c.reads++
	return c.Storage.Get(ctx, key)
}
