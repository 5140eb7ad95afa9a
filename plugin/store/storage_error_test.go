package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// errorFixture makes storages that hold one object of each kind.
type errorFixture struct {
	t             *testing.T
	pending, over approval.Request
}

func newErrorFixture(t *testing.T) errorFixture {
	t.Helper()
	r := newRequest(t, "alice", start)
	return errorFixture{t, newRequest(t, "alice", start), apply(t, r, start, cancel(r))}
}

func (e errorFixture) disk() *disk {
	e.t.Helper()
	ctx := e.t.Context()
	s, d := store.New[config](), &disk{}
	must(e.t, s.Config.Put(ctx, d, config{Address: "x"}))
	must(e.t, s.Groups.Put(ctx, d, "dba", approval.ApproverGroup{Name: "dba"}))
	must(e.t, s.Policies.Put(ctx, d, "two", policy()))
	must(e.t, s.Roles.Put(ctx, d, "db", role("database/creds/app")))
	save(ctx, e.t, s, d, e.pending)
	file(ctx, e.t, s, d, e.over)
	d.seen()
	return d
}

func goOn(string) (bool, error) { return true, nil }

// operations are all that the store does with the storage.
var operations = map[string]func(e errorFixture, s *store.Store[config], d *disk) error{
	"config get": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Config.Get(e.t.Context(), d)
		return err
	},
	"config put": func(e errorFixture, s *store.Store[config], d *disk) error {
		return s.Config.Put(e.t.Context(), d, config{})
	},
	"config delete": func(e errorFixture, s *store.Store[config], d *disk) error { return s.Config.Delete(e.t.Context(), d) },
	"group get": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Groups.Get(e.t.Context(), d, "dba")
		return err
	},
	"group put": func(e errorFixture, s *store.Store[config], d *disk) error {
		return s.Groups.Put(e.t.Context(), d, "dba", approval.ApproverGroup{})
	},
	"group delete": func(e errorFixture, s *store.Store[config], d *disk) error {
		return s.Groups.Delete(e.t.Context(), d, "dba")
	},
	"group list": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Groups.List(e.t.Context(), d)
		return err
	},
	"policy get": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Policies.Get(e.t.Context(), d, "two")
		return err
	},
	"role get": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Roles.Get(e.t.Context(), d, "db")
		return err
	},
	"load": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Requests.Load(e.t.Context(), d, e.pending.ID)
		return err
	},
	"load ended": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Requests.Load(e.t.Context(), d, e.over.ID)
		return err
	},
	"load open": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Requests.LoadOpen(e.t.Context(), d, e.pending.ID)
		return err
	},
	"create": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := create(e.t.Context(), s, d, "alice", 10, start)
		return err
	},
	"save": func(e errorFixture, s *store.Store[config], d *disk) error {
		return s.Requests.Save(e.t.Context(), d, e.pending)
	},
	"file": func(e errorFixture, s *store.Store[config], d *disk) error {
		return s.Requests.File(e.t.Context(), d, apply(e.t, e.pending, start, cancel(e.pending)))
	},
	"list": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Requests.List(e.t.Context(), d, "", 0, everything)
		return err
	},
	"delete ended": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Requests.DeleteEnded(e.t.Context(), d, e.over.ID)
		return err
	},
	"ended": func(e errorFixture, s *store.Store[config], d *disk) error {
		return s.Requests.Ended(e.t.Context(), d, "", goOn)
	},
	"ended oldest first": func(e errorFixture, s *store.Store[config], d *disk) error {
		return s.Requests.EndedOldestFirst(e.t.Context(), d, goOn)
	},
	"new id": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Requests.NewID(e.t.Context(), d, "entity-alice")
		return err
	},
	"may be of": func(e errorFixture, s *store.Store[config], d *disk) error {
		_, err := s.Requests.MayBeOf(e.t.Context(), d, e.pending.ID, "entity-alice")
		return err
	},
}

// If any of its storage calls fails, an operation fails: it neither finds nothing nor falls back on anything.
func TestStorageErrorIsNotTakenForAbsence(t *testing.T) {
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			e := newErrorFixture(t)
			d := e.disk()
			must(t, operation(e, store.New[config](), d))
			calls := len(d.seen())
			if calls == 0 {
				t.Fatal("it makes no storage call, so this shows nothing")
			}
			for at := range calls {
				d, n := e.disk(), 0
				var failed string
				d.fail = func(call string) (before, after bool) {
					n++
					if n-1 == at {
						failed = call
					}
					return n-1 == at, false
				}
				if err := operation(e, store.New[config](), d); !errors.Is(err, errDisk) {
					t.Errorf("when %q fails the operation says %v", failed, err)
				}
			}
		})
	}
}

// A write that failed may have reached the storage or not, so nothing that was known before is believed any more.
func TestFailedWriteIsReadAgainWhetherOrNotItHadAnEffect(t *testing.T) {
	for name, reaches := range map[string]bool{"without effect": false, "with effect": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, d := store.New[config](), &disk{}
			must(t, s.Roles.Put(ctx, d, "db", role("database/creds/app")))
			r, granted := newRequest(t, "alice", start), active(t, "alice")
			save(ctx, t, s, d, r, granted)
			listOpen(ctx, t, s, d)

			d.fail = func(string) (before, after bool) { return !reaches, reaches }
			_, err := create(ctx, s, d, "alice", 10, start)
			wantError(t, err, "writing open/")
			other := role("database/creds/other")
			wantError(t, s.Roles.Put(ctx, d, "db", other), "writing role/db", errDisk.Error())
			wantError(t, s.Requests.Save(ctx, d, apply(t, granted, start, approval.LeaseEnded{})), granted.ID)
			d.fail = func(call string) (before, after bool) { return !reaches, reaches && strings.HasPrefix(call, "delete ") }
			wantError(t, s.Requests.File(ctx, d, apply(t, r, start, cancel(r))), r.ID)
			d.fail = nil

			found, err := s.Roles.Get(ctx, d, "db")
			must(t, err)
			if got := asJSON(t, found) == asJSON(t, other); got != reaches {
				t.Errorf("the role is %+v", found)
			}
			if got, want := show(listOpen(ctx, t, s, d)), show(listOpen(ctx, t, store.New[config](), d)); got != want {
				t.Errorf("the index is\n%s, but what is stored makes\n%s", got, want)
			}
		})
	}
}

// The last step of filing a request away is to remove it from the open ones. Until that happened it is open, in the
// state before; then whoever ended it, the periodic work in the end, does so again.
func TestCrashWhileFilingARequestHeals(t *testing.T) {
	ctx := t.Context()
	for _, dies := range []string{"put ended/", "delete open/"} {
		t.Run(dies, func(t *testing.T) {
			s, d := store.New[config](), &disk{}
			begun := apply(t, active(t, "alice"), start, approval.LeaseEnded{})
			save(ctx, t, s, d, begun)
			confirmed := apply(t, begun, start, approval.Gone{Handle: token.Key()}, approval.Gone{Handle: lease.Key()})
			d.failAll(dies)
			wantError(t, s.Requests.File(ctx, d, confirmed), errDisk.Error())
			d.failAll("")

			s = store.New[config]() // the next process
			r, err := s.Requests.Load(ctx, d, begun.ID)
			must(t, err)
			if r == nil || r.End.Confirmed() {
				t.Fatalf("after the crash the request is %+v; it must be the open one", r)
			}
			if found := listOpen(ctx, t, s, d); len(found) != 1 || !found[0].Holding() || !found[0].Due(start) {
				t.Fatalf("the index is %+v; the request must be due, to be ended again", found)
			}
			file(ctx, t, s, d, confirmed)
			if found := listOpen(ctx, t, s, d); len(found) != 0 {
				t.Errorf("still open: %v", found)
			}
			r, err = s.Requests.Load(ctx, d, begun.ID)
			must(t, err)
			if r == nil || !r.End.Confirmed() {
				t.Errorf("the filed request is %+v", r)
			}
			gone, err := s.Requests.DeleteEnded(ctx, d, r.ID)
			must(t, err)
			if left := d.content(ctx, t); !gone || len(left) != 0 {
				t.Errorf("after its deletion there is still %v", keysOf(left))
			}
		})
	}
}

func TestInvalidNameIsAbsentAndCannotBeWritten(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	for _, name := range []string{"", "..", "../config", "a..b", "a/b", "a\x00", ".a", "a.", "-a", "ä", string(make([]byte, 300))} {
		found, err := s.Roles.Get(ctx, d, name)
		if found != nil || err != nil {
			t.Errorf("%q: got %v and %v", name, found, err)
		}
		wantError(t, s.Roles.Put(ctx, d, name, role("database/creds/app")), "is not a name")
		must(t, s.Roles.Delete(ctx, d, name))
	}
	if calls := d.seen(); len(calls) != 0 {
		t.Errorf("the storage was asked: %v", calls)
	}
	must(t, s.Roles.Put(ctx, d, "a.b-c_9", role("database/creds/app")))
}

func TestRequestWithAnIDOfOtherMakingIsNeverStored(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	for _, id := range []string{"f47ac10b-58cc-4372-a567-0e02b2c3d479", "../config", "", "x"} { // the first, a UUIDv4, has no month
		r := apply(t, newRequest(t, "alice", start), start, cancel(newRequest(t, "alice", start)))
		r.ID = id
		wantError(t, s.Requests.Save(ctx, d, r), id)
		wantError(t, s.Requests.File(ctx, d, r), id)
		_, err := s.Requests.DeleteEnded(ctx, d, id)
		wantError(t, err, id)
		for _, load := range []func() (*approval.Request, error){
			func() (*approval.Request, error) { return s.Requests.Load(ctx, d, id) },
			func() (*approval.Request, error) { return s.Requests.LoadOpen(ctx, d, id) },
		} {
			if found, err := load(); found != nil || err != nil {
				t.Errorf("got %v and %v", found, err)
			}
		}
	}
	if calls := d.seen(); len(calls) != 0 {
		t.Errorf("the storage was asked: %v", calls)
	}
}
