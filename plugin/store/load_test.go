package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// listing is a list that somebody awaits.
type listing struct {
	found []store.Entry
	err   error
	done  chan struct{}
}

// startList lists the open requests in the background, until that is done or waits for something.
func startList(ctx context.Context, s *store.Store[config], d *disk) *listing {
	l := &listing{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.found, l.err = s.Requests.List(ctx, d, "", 0, everything)
	}()
	synctest.Wait()
	return l
}

func (l *listing) waits() bool {
	synctest.Wait()
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// prepare stores requests and forgets them, so that the index has to be read.
func prepare(t *testing.T, requests ...approval.Request) (*store.Store[config], *disk) {
	t.Helper()
	d := &disk{}
	save(t.Context(), t, store.New[config](), d, requests...)
	d.seen()
	return store.New[config](), d
}

// besideTheLoader is what may happen to a request, or beside it, while the index is read.
var besideTheLoader = map[string]func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request){
	"save": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		save(ctx, t, s, d, apply(t, r, start, approve("bob", r)))
	},
	"file": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		file(ctx, t, s, d, apply(t, r, start, cancel(r)))
	},
	"save and file": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		save(ctx, t, s, d, apply(t, r, start, approve("bob", r)))
		file(ctx, t, s, d, apply(t, r, start, cancel(r)))
	},
	"failed save without effect": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		d.failAll("put open/")
		defer d.failAll("")
		wantError(t, s.Requests.Save(ctx, d, apply(t, r, start, approve("bob", r))), errDisk.Error())
	},
	"failed save with effect": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		d.fail = func(string) (before, after bool) { return false, true }
		defer d.failAll("")
		wantError(t, s.Requests.Save(ctx, d, apply(t, r, start, approve("bob", r))), errDisk.Error())
	},
	"save and a failed file": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		must(t, s.Requests.Save(ctx, d, apply(t, r, start, approve("bob", r))))
		d.fail = func(call string) (before, after bool) { return false, strings.HasPrefix(call, "delete ") }
		defer d.failAll("")
		wantError(t, s.Requests.File(ctx, d, apply(t, r, start, cancel(r))), errDisk.Error())
	},
	"save of another node": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		defer s.Invalidate("open/" + r.ID)
		save(ctx, t, store.New[config](), d, apply(t, r, start, approve("bob", r)))
	},
	"creation by another node": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, _ approval.Request) {
		t.Helper()
		made := newRequest(t, "erin", start)
		defer s.Invalidate("open/" + made.ID)
		save(ctx, t, store.New[config](), d, made)
	},
	"file of another node": func(ctx context.Context, t *testing.T, s *store.Store[config], d *disk, r approval.Request) {
		t.Helper()
		defer s.Invalidate("open/" + r.ID)
		file(ctx, t, store.New[config](), d, apply(t, r, start, cancel(r)))
	},
}

// A loader that has read a request before it was written must not take it for what it was.
func TestWriteBesideTheLoaderWins(t *testing.T) {
	for name, write := range besideTheLoader {
		for _, place := range []string{"list open/", "get open/"} {
			t.Run(name+" at "+place, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := t.Context()
					r, other := newRequest(t, "alice", start), newRequest(t, "dave", start)
					s, d := prepare(t, r, other)
					if place == "get open/" {
						place += r.ID
					}
					release := d.stop(place)
					list := startList(ctx, s, d)
					if !list.waits() {
						t.Fatal("the loader was not stopped")
					}
					write(ctx, t, s, d, r)
					release()
					<-list.done
					must(t, list.err)
					want := show(listOpen(ctx, t, store.New[config](), d))
					slices.Reverse(list.found)
					if got := show(list.found); got != want && (name == "save" || name == "file" || name == "save and file") {
						t.Errorf("the loader found\n%s, but a new process makes\n%s of the storage", got, want)
					}
					if got := show(listOpen(ctx, t, s, d)); got != want {
						t.Errorf("the index is\n%s, but a new process makes\n%s of the storage", got, want)
					}
				})
			})
		}
	}
}

// A record that is distrusted again and again while it is read may be listed as it was, but is not left out. One that is
// written again and again is listed as it was written.
func TestRequestThatChangesWheneverItIsReadIsListed(t *testing.T) {
	for name, writes := range map[string]bool{"written": true, "distrusted": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				r, other := newRequest(t, "alice", start), newRequest(t, "dave", start)
				s, d := prepare(t, r, other)
				release := d.stop("get open/" + r.ID)
				list := startList(ctx, s, d)
				for _, approver := range []string{"bob", "carol"} {
					if !list.waits() {
						t.Fatal("the loader was not stopped")
					}
					if writes {
						r = apply(t, r, start, approve(approver, r))
						save(ctx, t, s, d, r)
					} else {
						s.Invalidate("open/" + r.ID)
					}
					goOn := release
					release = d.stop("get open/" + r.ID)
					goOn()
				}
				release()
				<-list.done
				must(t, list.err)
				if len(list.found) != 2 || len(list.found[1].Deciders) != len(r.Decisions) {
					t.Errorf("listed are %+v", list.found)
				}
			})
		})
	}
}

func TestLoadAndSaveDoNotWaitForTheIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		r, other, ended := newRequest(t, "alice", start), newRequest(t, "dave", start), newRequest(t, "erin", start)
		s, d := prepare(t, r, other)
		file(ctx, t, s, d, apply(t, ended, start, cancel(ended)))
		release := d.stop("get open/" + r.ID)
		list := startList(ctx, s, d)
		again := startList(ctx, s, d)

		for _, id := range []string{r.ID, other.ID, ended.ID} {
			found, err := s.Requests.Load(ctx, d, id)
			must(t, err)
			if found == nil {
				t.Errorf("request %s is not found", id)
			}
		}
		_, err := s.Requests.LoadOpen(ctx, d, other.ID)
		must(t, err)
		save(ctx, t, s, d, apply(t, r, start, approve("bob", r)), apply(t, other, start, approve("bob", other)))
		file(ctx, t, s, d, apply(t, other, start, cancel(other)))
		_, err = s.Requests.DeleteEnded(ctx, d, ended.ID)
		must(t, err)
		s.Invalidate("open/" + other.ID)

		if !list.waits() || !again.waits() {
			t.Error("a list did not wait for the load")
		}
		release()
		<-list.done
		<-again.done
		if len(list.found) != 1 || len(again.found) != 1 || !slices.Equal(list.found[0].Deciders, []string{"entity-bob"}) {
			t.Errorf("listed are %+v and %+v", list.found, again.found)
		}
	})
}

func TestWaitingForTheLoadEndsWithTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRequest(t, "alice", start)
		s, d := prepare(t, r)
		release := d.stop("get open/" + r.ID)
		loader := startList(t.Context(), s, d)
		impatient, leave := context.WithCancel(t.Context())
		waiter := startList(impatient, s, d)
		created := make(chan error)
		go func() { _, err := create(impatient, s, d, "alice", 5, start); created <- err }()
		synctest.Wait()
		leave()
		<-waiter.done
		if err := <-created; !errors.Is(waiter.err, context.Canceled) || !errors.Is(err, context.Canceled) {
			t.Errorf("those who left got %v and %v", waiter.err, err)
		}
		if !loader.waits() {
			t.Error("the load ended with one who waited for it")
		}
		release()
		<-loader.done
		if must(t, loader.err); len(loader.found) != 1 {
			t.Errorf("listed are %v", loader.found)
		}
	})
}

func TestAnotherTakesTheLoadOverWhenItsCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests []approval.Request
		for range 40 {
			requests = append(requests, newRequest(t, "alice", start))
		}
		s, d := prepare(t, requests...)
		d.stop("get open/" + requests[20].ID)
		ctx, leave := context.WithCancel(t.Context())
		loader := startList(ctx, s, d)
		waiters := []*listing{startList(t.Context(), s, d), startList(t.Context(), s, d)}
		leave()
		<-loader.done
		if !errors.Is(loader.err, context.Canceled) {
			t.Errorf("the caller who left got %v", loader.err)
		}
		for _, w := range waiters {
			<-w.done
			if w.err != nil || len(w.found) != len(requests) {
				t.Errorf("one who waited got %d requests and %v", len(w.found), w.err)
			}
		}
		// What was read is not read again.
		if calls := d.seen(); len(calls) != 1+len(requests)+1 {
			t.Errorf("it took %d calls", len(calls))
		}
	})
}

func TestFailedLoadIsAnErrorForAllWhoWaitedAndIsTriedAgain(t *testing.T) {
	for _, place := range []string{"list open/", "get open/"} {
		t.Run(place, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRequest(t, "alice", start)
				s, d := prepare(t, r)
				if place == "get open/" {
					place += r.ID
				}
				release := d.stop(place)
				d.fail = func(call string) (before, after bool) { return false, call == place }
				lists := []*listing{startList(t.Context(), s, d), startList(t.Context(), s, d), startList(t.Context(), s, d)}
				save(t.Context(), t, s, d, r)
				release()
				for i, l := range lists {
					if <-l.done; !errors.Is(l.err, errDisk) {
						t.Errorf("caller %d got %v", i, l.err)
					}
				}
				if calls := d.seen(); len(calls) > 3 {
					t.Errorf("each of those who waited read it again: %v", calls)
				}
				d.failAll("")
				// What was open is not, if another node ended it between the two.
				file(t.Context(), t, store.New[config](), d, apply(t, r, start, cancel(r)))
				s.Invalidate("open/" + r.ID)
				if found := listOpen(t.Context(), t, s, d); len(found) != 0 {
					t.Errorf("open are %v", found)
				}
			})
		})
	}
}
