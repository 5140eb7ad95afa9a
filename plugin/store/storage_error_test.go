package store_test

import (
	"errors"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// Each operation of the store, on a storage that holds one object of each kind, with the storage calls that it may
// make. If any of those fails, the operation fails: it neither finds nothing nor falls back on anything.
func TestNoOperationTakesAStorageErrorForAbsence(t *testing.T) {
	ctx := t.Context()
	pending := asked(t, "alice", "db", start)
	done := applied(t, asked(t, "alice", "db", start), start, approval.Cancel{Requester: standing("alice")})
	operations := map[string]func(s *store.Store[config], d *disk) error{
		"config get":    func(s *store.Store[config], d *disk) error { _, err := s.Config.Get(ctx, d); return err },
		"config put":    func(s *store.Store[config], d *disk) error { return s.Config.Put(ctx, d, config{}) },
		"config delete": func(s *store.Store[config], d *disk) error { return s.Config.Delete(ctx, d) },
		"group get":     func(s *store.Store[config], d *disk) error { _, err := s.Groups.Get(ctx, d, "dba"); return err },
		"group put": func(s *store.Store[config], d *disk) error {
			return s.Groups.Put(ctx, d, "dba", approval.ApproverGroup{})
		},
		"group delete": func(s *store.Store[config], d *disk) error { return s.Groups.Delete(ctx, d, "dba") },
		"group list":   func(s *store.Store[config], d *disk) error { _, err := s.Groups.List(ctx, d); return err },
		"policy get":   func(s *store.Store[config], d *disk) error { _, err := s.Policies.Get(ctx, d, "two"); return err },
		"role get":     func(s *store.Store[config], d *disk) error { _, err := s.Roles.Get(ctx, d, "db"); return err },
		"request get":  func(s *store.Store[config], d *disk) error { _, err := s.Requests.Get(ctx, d, pending.ID); return err },
		"ended request get": func(s *store.Store[config], d *disk) error {
			_, err := s.Requests.Get(ctx, d, done.ID)
			return err
		},
		"open request get": func(s *store.Store[config], d *disk) error {
			_, err := s.Requests.GetOpen(ctx, d, pending.ID)
			return err
		},
		"request create": func(s *store.Store[config], d *disk) error {
			return s.Requests.Create(ctx, d, asked(t, "alice", "db", start), 10, start)
		},
		"request put": func(s *store.Store[config], d *disk) error { return s.Requests.Put(ctx, d, pending, start) },
		"request file": func(s *store.Store[config], d *disk) error {
			return s.Requests.Put(ctx, d, applied(t, pending, start, approval.Cancel{Requester: standing("alice")}), start)
		},
		"request delete": func(s *store.Store[config], d *disk) error { return s.Requests.DeleteEnded(ctx, d, done) },
		"ended of": func(s *store.Store[config], d *disk) error {
			_, err := s.Requests.EndedOf(ctx, d, "entity-alice")
			return err
		},
		"ended months": func(s *store.Store[config], d *disk) error { _, err := s.Requests.EndedMonths(ctx, d); return err },
		"ended in": func(s *store.Store[config], d *disk) error {
			_, err := s.Requests.EndedIn(ctx, d, "202603")
			return err
		},
		"open": func(s *store.Store[config], d *disk) error { _, err := s.Requests.Open(ctx, d, everything); return err },
	}
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			prepared := func() *disk {
				s, d := store.New[config](), &disk{}
				must(t, s.Config.Put(ctx, d, config{Address: "x"}))
				must(t, s.Groups.Put(ctx, d, "dba", approval.ApproverGroup{Name: "dba"}))
				must(t, s.Policies.Put(ctx, d, "two", policy()))
				must(t, s.Roles.Put(ctx, d, "db", role("db")))
				must(t, s.Requests.Create(ctx, d, pending, 10, start))
				must(t, s.Requests.Put(ctx, d, done, start))
				d.seen()
				return d
			}
			d := prepared()
			must(t, operation(store.New[config](), d))
			calls := len(d.seen())
			if calls == 0 {
				t.Fatal("it makes no storage call, so this shows nothing")
			}
			for at := range calls {
				d, n := prepared(), 0
				var failed string
				d.fail = func(call string) (before, after bool) {
					n++
					if n-1 == at {
						failed = call
					}
					return n-1 == at, false
				}
				if err := operation(store.New[config](), d); !errors.Is(err, errDisk) {
					t.Errorf("when %q fails the operation says %v", failed, err)
				}
			}
		})
	}
}

// A write that failed may have reached the storage or not, so nothing that was known before is believed any more.
func TestAFailedWriteIsReadAgainWhetherOrNotItHadAnEffect(t *testing.T) {
	for name, reaches := range map[string]bool{"without effect": false, "with effect": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, d := store.New[config](), &disk{}
			must(t, s.Roles.Put(ctx, d, "db", role("db")))
			r := asked(t, "alice", "db", start)
			stored(ctx, t, s, d, r)
			granted := active(t, "alice")
			stored(ctx, t, s, d, granted)

			d.fail = func(string) (before, after bool) { return !reaches, reaches }
			fresh := asked(t, "alice", "db", start)
			wantError(t, s.Requests.Create(ctx, d, fresh, 10, start), fresh.ID)
			changed := role("db")
			changed.Path = "database/creds/other"
			wantError(t, s.Roles.Put(ctx, d, "db", changed), "writing role/db", errDisk.Error())
			wantError(t, s.Requests.Put(ctx, d, applied(t, granted, start, approval.BeginEnd{Reason: approval.LeaseRevoked}), start), granted.ID)
			wantError(t, s.Requests.Put(ctx, d, applied(t, r, start, approval.Cancel{Requester: standing("alice")}), start), r.ID)
			d.fail = nil

			found, err := s.Roles.Get(ctx, d, "db")
			must(t, err)
			if got := found.Path == changed.Path; got != reaches {
				t.Errorf("the role's path is %q", found.Path)
			}
			if got, want := asJSON(t, open(ctx, t, s, d)), asJSON(t, open(ctx, t, store.New[config](), d)); got != want {
				t.Errorf("the index is\n%s, but what is stored makes\n%s", got, want)
			}
		})
	}
}

// The last step of filing a request away is to remove it from the open ones. Until that happened it is open, in the
// state before; then whoever ended it, the periodic work in the end, does so again.
func TestACrashWhileFilingARequestHeals(t *testing.T) {
	ctx := t.Context()
	for _, dies := range []string{"put by/", "put ended/", "delete open/"} {
		t.Run(dies, func(t *testing.T) {
			s, d := store.New[config](), &disk{}
			begun := applied(t, active(t, "alice"), start, approval.BeginEnd{Reason: approval.LeaseRevoked})
			stored(ctx, t, s, d, begun)
			confirmed := applied(t, begun, start, approval.ConfirmEnd{})
			d.failing(dies)
			wantError(t, s.Requests.Put(ctx, d, confirmed, start), errDisk.Error())
			d.failing("")

			s = store.New[config]() // the next process
			r, err := s.Requests.Get(ctx, d, begun.ID)
			must(t, err)
			if r == nil || r.End.Confirmed() {
				t.Fatalf("after the crash the request is %+v; it must be the open one", r)
			}
			if found := open(ctx, t, s, d); len(found) != 1 || !found[0].Unconfirmed || found[0].Due > start.UnixNano() {
				t.Fatalf("the index is %+v; the request must be due, to be ended again", found)
			}
			must(t, s.Requests.Put(ctx, d, confirmed, start))
			if found := open(ctx, t, s, d); len(found) != 0 {
				t.Errorf("still open: %v", found)
			}
			r, err = s.Requests.Get(ctx, d, begun.ID)
			must(t, err)
			if r == nil || !r.End.Confirmed() {
				t.Errorf("the filed request is %+v", r)
			}
			listed, err := s.Requests.EndedOf(ctx, d, "entity-alice")
			must(t, err)
			if len(listed) != 1 {
				t.Errorf("alice's ended requests are %v", listed)
			}
			must(t, s.Requests.DeleteEnded(ctx, d, *r))
			if left := d.content(ctx, t); len(left) != 0 {
				t.Errorf("after its deletion there is still %v", keysOf(left))
			}
		})
	}
}

func TestNamesThatAreNoNamesAreAbsentAndCannotBeWritten(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	for _, name := range []string{"", "..", "../config", "a..b", "a/b", "a\x00", ".a", "a.", "-a", "ä", string(make([]byte, 300))} {
		found, err := s.Roles.Get(ctx, d, name)
		if found != nil || err != nil {
			t.Errorf("%q: got %v and %v", name, found, err)
		}
		wantError(t, s.Roles.Put(ctx, d, name, role("db")), "is not a name")
		must(t, s.Roles.Delete(ctx, d, name))
	}
	if calls := d.seen(); len(calls) != 0 {
		t.Errorf("the storage was asked: %v", calls)
	}
	must(t, s.Roles.Put(ctx, d, "a.b-c_9", role("db")))
}

func TestIdsOfOtherMakingAreNeverFiled(t *testing.T) {
	ctx := t.Context()
	s, d := store.New[config](), &disk{}
	r := applied(t, asked(t, "alice", "db", start), start, approval.Cancel{Requester: standing("alice")})
	r.ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479" // a UUIDv4 has no month
	wantError(t, s.Requests.Put(ctx, d, r, start), r.ID)
	wantError(t, s.Requests.DeleteEnded(ctx, d, r), r.ID)
	found, err := s.Requests.Get(ctx, d, r.ID)
	if found != nil || err != nil {
		t.Errorf("got %v and %v", found, err)
	}
}
