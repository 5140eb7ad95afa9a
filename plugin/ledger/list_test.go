package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

func (f *fixture) shown(by string, q Query) Page {
	f.t.Helper()
	page, err := f.List(f.t.Context(), f.storage, f.call(by).who, q)
	must(f.t, err)
	return page
}

func (f *fixture) inbox(by string, q Query) Page {
	f.t.Helper()
	c := f.call(by)
	page, err := f.Inbox(f.t.Context(), f.storage, c.who, c.lookup.Entity, q)
	must(f.t, err)
	return page
}

func (p Page) ids() (ids []string) {
	for _, r := range p.Requests {
		ids = append(ids, r.ID)
	}
	return ids
}

// allPages goes through a list page by page.
func (f *fixture) allPages(by string, q Query) (ids []string) {
	f.t.Helper()
	for {
		page := f.shown(by, q)
		ids = append(ids, page.ids()...)
		if len(page.Requests) > q.Limit {
			f.t.Errorf("a page of %d has %d", q.Limit, len(page.Requests))
		}
		if page.Next == "" {
			return ids
		}
		q.After = page.Next
	}
}

var (
	openStates  = []approval.State{approval.StatePending, approval.StateApproved, approval.StateClaiming, approval.StateActive}
	endedStates = []approval.State{approval.StateDenied, approval.StateCancelled, approval.StateExpired, approval.StateEnded}
)

func newestFirst(ids []string) []string {
	ids = slices.Sorted(slices.Values(ids))
	slices.Reverse(ids)
	return ids
}

// crowd makes requests of alice and anna, for two roles, in many states.
func (f *fixture) crowd() (byState map[approval.State][]string, byRole map[string][]string, byRequester map[string][]string) {
	f.t.Helper()
	other := f.role()
	other.Name = "other"
	must(f.t, f.store.Roles.Put(f.t.Context(), f.storage, "other", other))
	byState, byRole, byRequester = map[approval.State][]string{}, map[string][]string{}, map[string][]string{}
	for i := range 24 {
		by, role := []string{"alice", "anna"}[i%2], []string{"otp", "otp", "other"}[i%3]
		id := f.askRole(by, role, 0).ID
		state := []approval.State{approval.StatePending, approval.StateApproved, approval.StateCancelled, approval.StateDenied}[i/2%4]
		switch state {
		case approval.StateApproved:
			f.approve(id, "bob")
		case approval.StateCancelled:
			f.cancel(id, by)
		case approval.StateDenied:
			f.deny(id, "carol")
		default:
		}
		byState[state] = append(byState[state], id)
		byRole[role] = append(byRole[role], id)
		byRequester[by] = append(byRequester[by], id)
	}
	return byState, byRole, byRequester
}

func TestListsAreNewestFirstAndTheirPagesShowEachRequestOnce(t *testing.T) {
	f := newFixture(t)
	byState, byRole, byRequester := f.crowd()
	var all []string
	for _, ids := range byState {
		all = append(all, ids...)
	}
	everywhere := approval.States()
	both := func(a, b []string) (ids []string) {
		for _, id := range a {
			if slices.Contains(b, id) {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for _, c := range []struct {
		what, by string
		query    Query
		want     []string
	}{
		{"everything", "audrey", Query{States: everywhere}, all},
		{"everything that an approver sees", "bob", Query{States: everywhere}, all},
		{"what is open", "audrey", Query{States: openStates}, slices.Concat(byState[approval.StatePending], byState[approval.StateApproved])},
		{"what is over", "audrey", Query{States: endedStates}, slices.Concat(byState[approval.StateDenied], byState[approval.StateCancelled])},
		{"one state", "audrey", Query{States: []approval.State{approval.StateApproved}}, byState[approval.StateApproved]},
		{"one state that is over", "audrey", Query{States: []approval.State{approval.StateDenied}}, byState[approval.StateDenied]},
		{"an open and an ended state", "bob", Query{States: []approval.State{approval.StatePending, approval.StateDenied}},
			slices.Concat(byState[approval.StatePending], byState[approval.StateDenied])},
		{"one role", "audrey", Query{States: everywhere, Role: "other"}, byRole["other"]},
		{"one role and state", "bob", Query{States: []approval.State{approval.StateCancelled}, Role: "other"}, both(byRole["other"], byState[approval.StateCancelled])},
		{"one's own", "anna", Query{States: everywhere}, byRequester["anna"]},
		{"one's own of a role", "alice", Query{States: everywhere, Role: "other"}, both(byRequester["alice"], byRole["other"])},
		{"what a stranger sees", "mallory", Query{States: everywhere}, nil},
		{"another role", "audrey", Query{States: everywhere, Role: "none"}, nil},
	} {
		for _, limit := range []int{1, 2, 5, 100} {
			c.query.Limit = limit
			if got, want := f.allPages(c.by, c.query), newestFirst(c.want); !slices.Equal(got, want) {
				t.Errorf("%s, by %d: %v, it should be %v", c.what, limit, got, want)
			}
		}
	}
}

// Somebody who asked twice in a year must not wait until the year of everybody else is read.
func TestOnesOwnEndedRequestsAreFoundWithoutReadingThoseOfOthers(t *testing.T) {
	f := newFixture(t)
	f.crowd()
	mine := f.ask("mallory")
	f.cancel(mine, "mallory")
	f.crowd()
	f.restart()
	f.shown("mallory", Query{States: openStates, Limit: 1}) // the index is there
	f.forget()
	page := f.shown("mallory", Query{States: approval.States(), Limit: 10})
	if !slices.Equal(page.ids(), []string{mine}) {
		t.Errorf("the list is %v", page.ids())
	}
	if read := f.list("storage get ended/"); len(read) != 1 || !strings.HasSuffix(read[0], mine) {
		t.Errorf("it read %q", read)
	}
}

func TestOpenRequestsThatAreNotShownAreNotRead(t *testing.T) {
	f := newFixture(t)
	byState, _, _ := f.crowd()
	f.shown("alice", Query{States: openStates, Limit: 1})
	for _, c := range []struct {
		by    string
		query Query
		reads int
	}{
		{"mallory", Query{States: openStates, Limit: 10}, 0},
		{"audrey", Query{States: openStates, Role: "none", Limit: 10}, 0},
		{"bob", Query{States: []approval.State{approval.StateActive}, Limit: 10}, 0},
		{"bob", Query{States: []approval.State{approval.StatePending}, Limit: 100}, len(byState[approval.StatePending])},
		{"bob", Query{States: openStates, Limit: 2}, 2},
	} {
		f.forget()
		page := f.shown(c.by, c.query)
		if reads := f.count("storage get open/"); reads != c.reads || len(page.Requests) != c.reads {
			t.Errorf("%s with %+v: %d are shown, %d read; it should be %d", c.by, c.query, len(page.Requests), reads, c.reads)
		}
		if lists := f.count("storage list ended/"); lists > 0 {
			t.Errorf("%s with %+v: what has ended is listed", c.by, c.query)
		}
	}
}

func TestUnreadableRequestsAreCountedAndKeepNobodyFromTheOthers(t *testing.T) {
	f := newFixture(t)
	var open, ended []string
	for range 3 {
		id := f.ask("alice")
		open = append(open, id)
		id = f.ask("alice")
		f.cancel(id, "alice")
		ended = append(ended, id)
	}
	f.shown("alice", Query{States: openStates, Limit: 1})
	keys, err := logical.CollectKeys(t.Context(), f.disk)
	must(t, err)
	for _, key := range keys {
		if strings.HasSuffix(key, open[1]) || strings.HasSuffix(key, ended[1]) {
			must(t, f.disk.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte("{}")}))
		}
	}
	for _, by := range []string{"alice", "bob", "audrey"} {
		for _, c := range []struct {
			states     []approval.State
			want       []string
			unreadable int
		}{
			{openStates, []string{open[2], open[0]}, 1}, {endedStates, []string{ended[2], ended[0]}, 1},
			{approval.States(), newestFirst([]string{open[2], open[0], ended[2], ended[0]}), 2},
		} {
			page := f.shown(by, Query{States: c.states, Limit: 10})
			if !slices.Equal(page.ids(), c.want) || page.Unreadable != c.unreadable {
				t.Errorf("%s sees %v and %d unreadable; it should be %v and %d", by, page.ids(), page.Unreadable, c.want, c.unreadable)
			}
		}
	}
	if page := f.inbox("bob", Query{Limit: 10}); len(page.Requests) != 2 || page.Unreadable != 1 {
		t.Errorf("the inbox has %v and %d unreadable", page.ids(), page.Unreadable)
	}
	if page := f.shown("mallory", Query{States: approval.States(), Limit: 10}); len(page.Requests) > 0 || page.Unreadable > 0 {
		t.Errorf("a stranger sees %v and %d unreadable", page.ids(), page.Unreadable)
	}
}

// One list must not read the whole past of a big mount.
func TestAListStopsAfterSoManyRecordsAndSaysWhereToGoOn(t *testing.T) {
	f := newFixture(t)
	wanted := f.askRole("alice", "otp", 0).ID
	f.cancel(wanted, "alice")
	other := f.role()
	other.Name = "other"
	must(t, f.store.Roles.Put(t.Context(), f.storage, "other", other))
	for range MaxScan {
		id := f.askRole("alice", "other", 0).ID
		f.cancel(id, "alice")
	}
	f.forget()
	page := f.shown("audrey", Query{States: endedStates, Role: "otp", Limit: 10})
	if len(page.Requests) > 0 || !page.Stopped || page.Next == "" || f.count("storage get ended/") != MaxScan {
		t.Errorf("it shows %d, stopped %v, next %q, after %d reads", len(page.Requests), page.Stopped, page.Next, f.count("storage get ended/"))
	}
	page = f.shown("audrey", Query{States: endedStates, Role: "otp", Limit: 10, After: page.Next})
	if !slices.Equal(page.ids(), []string{wanted}) || page.Stopped || page.Next != "" {
		t.Errorf("the rest is %v, stopped %v, next %q", page.ids(), page.Stopped, page.Next)
	}
}

func TestTheInboxHoldsWhatOneCanDecideAndHasNot(t *testing.T) {
	f := newFixture(t)
	f.setPolicy(2)
	var fresh []string
	for range 3 {
		fresh = append(fresh, f.ask("alice"))
	}
	own := f.ask("bob")
	decided := f.ask("alice")
	f.approve(decided, "bob")
	withdrawn := f.ask("alice")
	f.approve(withdrawn, "bob")
	_, err := f.Change(t.Context(), f.storage, withdrawn, f.call("bob").who, func(_ approval.Request, who approval.Standing) (approval.Command, error) {
		return approval.Withdraw{Approver: who}, nil
	})
	must(t, err)
	approved := f.ask("alice") // others may still stop it
	f.approve(approved, "bob", "carol")
	denied := f.ask("alice")
	f.deny(denied, "carol")
	gone := f.ask("anna") // who will be
	f.shown("bob", Query{States: openStates, Limit: 1})
	f.directory.Entities["anna"] = &logical.Entity{ID: "anna", Name: "anna", Disabled: true}

	f.forget()
	if got, want := f.inbox("bob", Query{Limit: 10}).ids(), newestFirst(append(fresh, withdrawn)); !slices.Equal(got, want) {
		t.Errorf("bob's inbox is %v, it should be %v", got, want)
	}
	for _, id := range []string{own, decided, approved, denied} {
		if f.count("storage get open/"+id) > 0 {
			t.Errorf("%s was read, and is not bob's to decide", id)
		}
	}
	if got, want := f.inbox("carol", Query{Limit: 10}).ids(), newestFirst(append(fresh, withdrawn, own, decided)); !slices.Equal(got, want) {
		t.Errorf("carol's inbox is %v, it should be %v", got, want)
	}
	first := f.inbox("carol", Query{Limit: 4})
	second := f.inbox("carol", Query{Limit: 4, After: first.Next})
	if got, want := append(first.ids(), second.ids()...), newestFirst(append(fresh, withdrawn, own, decided)); !slices.Equal(got, want) || second.Next != "" {
		t.Errorf("in two pages carol's inbox is %v, it should be %v", got, want)
	}
	for _, name := range []string{"alice", "mallory", "audrey"} {
		if got := f.inbox(name, Query{Limit: 10}).ids(); len(got) > 0 {
			t.Errorf("%s's inbox is %v", name, got)
		}
	}
	if slices.Contains(f.inbox("carol", Query{Limit: 10}).ids(), gone) {
		t.Error("a request of somebody disabled is in an inbox")
	}
	f.clock.advance(24 * time.Hour)
	if got := f.inbox("carol", Query{Limit: 10}).ids(); len(got) > 0 {
		t.Errorf("what has expired is in the inbox: %v", got)
	}
}

func TestAnErrorOfTheStorageIsNoEmptyList(t *testing.T) {
	f := newFixture(t)
	f.crowd()
	f.shown("bob", Query{States: openStates, Limit: 1})
	for _, at := range []string{"storage get open/", "storage get ended/", "storage list ended/", "storage list group/"} {
		mend := f.breakAt(at, refuses)
		_, err := f.List(t.Context(), f.storage, f.call("bob").who, Query{States: approval.States(), Limit: 100})
		wantFault(t, err, errFault.Error())
		mend()
	}
	_, err := f.List(t.Context(), f.storage, f.call("bob").who, Query{States: approval.States(), Limit: 10, After: "nonsense"})
	if err == nil {
		t.Error("a list after nonsense is no error")
	}
}

func TestTidyKeepsAnEndedRequestThatIsOpenToo(t *testing.T) {
	f := newFixture(t)
	id := f.ask("alice")
	f.breakOnce("storage delete open/", 0, refuses)
	alice := f.call("alice")
	_, err := f.Change(t.Context(), f.storage, id, alice.who, func(_ approval.Request, who approval.Standing) (approval.Command, error) {
		return approval.Cancel{Requester: who}, nil
	})
	wantFault(t, err, errFault.Error())
	both, err := logical.CollectKeys(t.Context(), f.disk)
	must(t, err)
	kept := func() (n int) {
		t.Helper()
		keys, err := logical.CollectKeys(t.Context(), f.disk)
		must(t, err)
		for _, key := range keys {
			if strings.HasSuffix(key, id) {
				n++
			}
		}
		return n
	}
	if kept() != 2 {
		t.Fatalf("stored is %v", both)
	}
	tidy := func(want int) {
		t.Helper()
		removed, err := f.Tidy(t.Context(), f.storage, f.clock.peek().Add(24*time.Hour))
		must(t, err)
		if removed != want {
			t.Errorf("%d were removed, it should be %d", removed, want)
		}
	}
	tidy(0)
	if kept() != 2 {
		t.Errorf("%d of the two are left", kept())
	}
	f.wantState(id, approval.StatePending) // the open one is the true one
	f.cancel(id, "alice")
	tidy(1)
	if kept() > 0 {
		t.Errorf("%d are left", kept())
	}
}

func TestTidyRemovesWhatWasOverForSoLongAndReadsNothingYounger(t *testing.T) {
	f := newFixture(t)
	old := f.ask("alice")
	f.cancel(old, "alice")
	open := f.ask("alice")
	damaged := f.ask("alice")
	f.cancel(damaged, "alice")
	keys, err := logical.CollectKeys(t.Context(), f.disk)
	must(t, err)
	for _, key := range keys {
		if strings.HasSuffix(key, damaged) {
			must(t, f.disk.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte("{}")}))
		}
	}
	f.clock.advance(time.Minute)
	limit := f.clock.peek()
	f.clock.advance(time.Hour)
	long := f.ask("alice") // made in time by its id, ended after the limit
	f.cancel(long, "alice")
	removed, err := f.Tidy(t.Context(), f.storage, limit)
	must(t, err)
	if removed != 1 {
		t.Errorf("%d were removed", removed)
	}
	keys, err = logical.CollectKeys(t.Context(), f.disk)
	must(t, err)
	all := fmt.Sprint(keys)
	for id, want := range map[string]bool{old: false, open: true, damaged: true, long: true} {
		if strings.Contains(all, id) != want {
			t.Errorf("stored is %v; %s should be there: %v", keys, id, want)
		}
	}
	f.forget()
	if removed, err = f.Tidy(t.Context(), f.storage, limit.Add(-24*time.Hour)); removed > 0 || err != nil || f.count("storage get") > 0 {
		t.Errorf("of young ones %d were removed (%v), after %q", removed, err, f.list("storage get"))
	}
}
