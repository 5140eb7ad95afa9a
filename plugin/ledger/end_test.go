package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// A synchronous revocation makes upstream work: to ask for it several times at once helps nobody.
func TestAllWhoEndAGrantAtOnceShareOneEnd(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	f.forget()
	first := f.stopAt("/auth/token/revoke-accessor")
	type outcome struct {
		request approval.Request
		err     error
	}
	outcomes := make(chan outcome, 4)
	ctx := t.Context()
	end := func(run func() (approval.Request, error)) {
		go func() {
			r, err := run()
			outcomes <- outcome{r, err}
		}()
	}
	end(func() (approval.Request, error) { return f.tryRevoke(ctx, r.ID, "bob") })
	<-first.reached
	end(func() (approval.Request, error) { return f.tryRevoke(ctx, r.ID, "carol") })
	end(func() (approval.Request, error) { return f.Settle(ctx, f.storage, r.ID) })
	end(func() (approval.Request, error) {
		err := f.EndLease(ctx, f.storage, r.ID, r.Handles())
		return f.stored(r.ID), err
	})
	await(t, func() bool { return f.settling.usersOf(r.ID) == 4 })
	first.goOn()
	for range 4 {
		got := <-outcomes
		if got.err != nil || got.request.Holding() {
			t.Errorf("the outcome is %v, and held is %v", got.err, got.request.Held)
		}
	}
	for _, path := range []string{"/auth/token/revoke-accessor", "/sys/leases/revoke"} {
		if n := f.count(path); n != 1 {
			t.Errorf("%s was called %d times", path, n)
		}
	}
	f.wantEnded(r.ID, approval.Revoked)
	if by := f.stored(r.ID).End.By; by == nil || by.EntityID != "bob" {
		t.Errorf("it was ended by %v", by)
	}
	f.wantNothingLives()
}

// Also an end that failed is shared: whoever came meanwhile learns of it, and the next one tries again.
func TestAllWhoEndAGrantAtOnceShareAFailure(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	f.forget()
	first := f.stopAt("/auth/token/revoke-accessor")
	mend := f.breakAt("/sys/leases/revoke", refuses)
	done := make(chan error, 2)
	ctx := t.Context()
	go func() { done <- f.EndLease(ctx, f.storage, r.ID, r.Handles()) }()
	<-first.reached
	go func() { done <- f.EndLease(ctx, f.storage, r.ID, r.Handles()) }()
	await(t, func() bool { return f.settling.usersOf(r.ID) == 2 })
	first.goOn()
	for range 2 {
		wantFault(t, <-done, "has not ended: revoking the upstream lease")
	}
	if n := f.count("/sys/leases/revoke"); n != 1 {
		t.Errorf("the lease was tried %d times", n)
	}
	mend()
	must(t, f.EndLease(ctx, f.storage, r.ID, r.Handles()))
	f.wantEnded(r.ID, approval.LeaseRevoked)
	if tokens, leases := f.count("revoke-accessor"), f.count("/sys/leases/revoke"); tokens != 1 || leases != 2 {
		t.Errorf("the token was revoked %d times, the lease %d times", tokens, leases)
	}
}

func TestWaitForAnEndStopsWithTheCallersContext(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	ending := f.settling.join(r.ID)
	must(t, ending.acquire(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.EndLease(ctx, f.storage, r.ID, r.Handles()) }()
	await(t, func() bool { return f.settling.usersOf(r.ID) == 2 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever waited got %v", err)
	}
	ending.release()
	ending.leave()
	must(t, f.EndLease(t.Context(), f.storage, r.ID, r.Handles()))
	f.wantEnded(r.ID, approval.LeaseRevoked)
}

// Whatever is wrong with the storage, what somebody wants to end is ended. That it is not on record is said.
func TestAnEndIsMadeAlsoWhereItCannotBeWritten(t *testing.T) {
	for name, how := range map[string]fault{"without effect": refuses, "with effect": losesReply} {
		for _, by := range []string{"revoke", "lease"} {
			t.Run(by+" "+name, func(t *testing.T) {
				f := newVaultFixture(t)
				r := f.active()
				mendPut, mendDelete := f.breakAt("storage put", how), f.breakAt("storage delete", how)
				var err error
				if by == "revoke" {
					_, err = f.tryRevoke(t.Context(), r.ID, "bob")
				} else {
					err = f.EndLease(t.Context(), f.storage, r.ID, r.Handles())
				}
				wantFault(t, err, errFault.Error())
				f.wantNothingLives()

				mendPut()
				mendDelete()
				f.clock.advance(time.Hour) // before that, nothing on record says that it is over
				f.work()
				want := approval.WindowEnd
				if by == "revoke" && name == "with effect" { // its first write says so
					want = approval.Revoked
				}
				f.wantEnded(r.ID, want)
				if kept, err := f.disk.List(t.Context(), "open/"); err != nil || len(kept) > 0 {
					t.Errorf("among the open ones are %v, %v", kept, err)
				}
			})
		}
	}
}

func TestAnEndWhoseStartWasWrittenIsCompletedByTheWork(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	// That it began is on record. That it is over is not.
	mend := f.breakAt("storage put ended/", refuses)
	_, err := f.tryRevoke(t.Context(), r.ID, "bob")
	wantFault(t, err, errFault.Error())
	f.wantNothingLives()
	if r := f.stored(r.ID); r.End == nil || r.End.Confirmed() {
		t.Errorf("the end on record is %+v", r.End)
	}
	mend()
	f.work()
	f.wantEnded(r.ID, approval.Revoked)
}

// Vault would else ask for the end of the lease without end, or give up while it works.
func TestALeaseEndsWhatItCarriesWhateverBecameOfTheRecord(t *testing.T) {
	for _, c := range []struct {
		name string
		// spoil makes the record of no use, and returns what mends it.
		spoil func(f *fixture, key string) (mend func())
		says  string // "" if Vault is told that all is gone
	}{
		{"it cannot be read", func(f *fixture, _ string) func() { return f.breakAt("storage get", refuses) }, errFault.Error()},
		{"it is damaged", func(f *fixture, key string) func() {
			whole, err := f.disk.Get(f.t.Context(), key)
			must(f.t, err)
			must(f.t, f.disk.Put(f.t.Context(), &logical.StorageEntry{Key: key, Value: []byte(`{"v":1`)}))
			return func() { must(f.t, f.disk.Put(f.t.Context(), whole)) }
		}, ""},
		{"it is another release's", func(f *fixture, key string) func() {
			whole, err := f.disk.Get(f.t.Context(), key)
			must(f.t, err)
			newer := strings.Replace(string(whole.Value), `"v":1`, `"v":2`, 1)
			must(f.t, f.disk.Put(f.t.Context(), &logical.StorageEntry{Key: key, Value: []byte(newer)}))
			return func() { must(f.t, f.disk.Put(f.t.Context(), whole)) }
		}, ""},
		{"it is gone", func(f *fixture, key string) func() {
			whole, err := f.disk.Get(f.t.Context(), key)
			must(f.t, err)
			must(f.t, f.disk.Delete(f.t.Context(), key))
			return func() { must(f.t, f.disk.Put(f.t.Context(), whole)) }
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newVaultFixture(t)
			r := f.active()
			f.restart()
			mend := c.spoil(f, "open/"+r.ID)
			f.breakOnce("/sys/leases/revoke", 0, refuses)
			wantFault(t, f.EndLease(t.Context(), f.storage, r.ID, r.Handles()), "revoking the upstream lease")
			err := f.EndLease(t.Context(), f.storage, r.ID, r.Handles())
			if c.says == "" {
				must(t, err)
			} else {
				wantFault(t, err, c.says)
			}
			f.wantNothingLives()

			mend()
			f.store.Invalidate("open/" + r.ID)
			f.clock.advance(time.Hour)
			f.work()
			f.wantEnded(r.ID, approval.WindowEnd)
		})
	}
}

// A token is revoked by Vault alone. What hangs on upstream may take its time, and must not keep the token alive.
func TestTheTokenIsRevokedFirstAndWhateverUpstreamSays(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	mend := f.breakAt("/sys/leases/revoke", refuses)
	f.forget()
	left := f.revoke(r.ID, "bob")
	if calls := f.list("http"); len(calls) != 2 || !strings.Contains(calls[0], "revoke-accessor") || !strings.Contains(calls[1], "/sys/leases/revoke") {
		t.Errorf("the calls are %q", calls)
	}
	if n := f.liveTokens(); n > 0 {
		t.Errorf("%d grant tokens live", n)
	}
	if left.End == nil || left.End.Confirmed() || !strings.Contains(left.End.LastError, "revoking the upstream lease") {
		t.Errorf("the end is %+v", left.End)
	}
	f.wantState(r.ID, approval.StateEnded)
	counts, err := f.Count(t.Context(), f.storage)
	must(t, err)
	if len(counts.Unconfirmed) != 1 || counts.Live != 0 {
		t.Errorf("there is %+v", counts)
	}
	f.work() // in vain
	if r := f.stored(r.ID); r.End.Confirmed() || r.Attempts["lease"].Problem == "" {
		t.Errorf("the end is %+v", r.End)
	}
	mend()
	f.work()
	f.wantEnded(r.ID, approval.Revoked)
	if n := f.count("revoke-accessor"); n != 1 {
		t.Errorf("the token was revoked %d times", n)
	}
}

func TestTheWorkTriesAgainWhenTheNextTryIsDue(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	mend := f.breakAt("/sys/leases/revoke", refuses)
	f.revoke(r.ID, "bob")
	tries := f.count("/sys/leases/revoke")
	want := func(more int, what string) {
		t.Helper()
		got := f.count("/sys/leases/revoke") - tries
		tries += got
		if got != more {
			t.Errorf("%s: %d tries, it should be %d", what, got, more)
		}
	}
	for range 4 {
		f.clock.advance(50 * time.Second)
		f.work()
		want(1, "in the first minutes")
	}
	f.clock.advance(16 * time.Minute)
	f.work()
	want(1, "after a long time")
	next := f.stored(r.ID).Attempts["lease"].Next
	if wait := next.Sub(f.clock.peek()); wait < 4*time.Minute || wait > 5*time.Minute {
		t.Errorf("the next try is in %s", wait)
	}
	f.work()
	_, err := f.Settle(t.Context(), f.storage, r.ID)
	must(t, err)
	f.clock.advance(3 * time.Minute)
	f.work()
	want(0, "before the next try is due")
	f.restart() // which knows when from the record
	f.work()
	want(0, "before the next try is due, after a restart")
	// Somebody who wants the end does not wait.
	f.revoke(r.ID, "carol")
	want(1, "wanted by somebody")
	wantFault(t, f.EndLease(t.Context(), f.storage, r.ID, r.Handles()), "has not ended")
	want(1, "wanted by Vault")
	mend()
	f.work()
	want(0, "before the next try is due")
	f.clock.advance(retryLongest)
	f.work()
	want(1, "when it is due")
	f.wantEnded(r.ID, approval.Revoked)
}

// retryLongest is more than the engine ever waits.
const retryLongest = 15 * time.Minute

func TestAConfirmedEndIsNotRepeated(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	f.revoke(r.ID, "bob")
	f.forget()
	must(t, f.EndLease(t.Context(), f.storage, r.ID, r.Handles()))
	_, err := f.tryRevoke(t.Context(), r.ID, "alice")
	wantRefusal(t, err, "the grant has ended already")
	f.work()
	if taken := append(f.list("http"), f.list("storage put")...); len(taken) > 0 {
		t.Errorf("it took %q", taken)
	}
}

func TestAWindowThatHasPassedIsEndedByTheWork(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	f.work()
	f.wantState(r.ID, approval.StateActive)
	f.clock.advance(time.Hour)
	f.forget()
	f.work()
	f.wantEnded(r.ID, approval.WindowEnd)
	if until := f.stored(r.ID).End.At; !until.Equal(r.Grant.Until) {
		t.Errorf("it ended at %s, its window at %s", until, r.Grant.Until)
	}
	f.wantNothingLives()
}

// One that cannot be settled, or takes long, keeps no other one waiting.
func TestTheWorkSettlesTheOthersWhateverOneSays(t *testing.T) {
	f := newVaultFixture(t)
	damaged, busy, fine := f.active(), f.active(), f.active()
	f.restart()
	must(t, f.disk.Put(t.Context(), &logical.StorageEntry{Key: "open/" + damaged.ID, Value: []byte("{}")}))
	f.clock.advance(time.Hour)
	ending := f.settling.join(busy.ID)
	must(t, ending.acquire(t.Context()))
	if err := f.Work(t.Context(), f.storage); !errors.Is(err, store.ErrUnreadable) {
		t.Errorf("the work answers %v", err)
	}
	f.wantEnded(fine.ID, approval.WindowEnd)
	if f.stored(busy.ID).End != nil {
		t.Error("one that somebody is ending was ended by the work")
	}
	ending.release()
	ending.leave()
	if err := f.Work(t.Context(), f.storage); !errors.Is(err, store.ErrUnreadable) {
		t.Errorf("the work answers %v", err)
	}
	f.wantEnded(busy.ID, approval.WindowEnd)
	must(t, f.EndLease(t.Context(), f.storage, damaged.ID, damaged.Handles()))
	f.wantNothingLives()
}

func TestAGrantOfWhichNoVaultIsKnownStaysOnRecord(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	vault := f.vault.Swap(nil)
	left := f.revoke(r.ID, "alice")
	if left.End == nil || left.End.Confirmed() || !strings.Contains(left.End.LastError, "no Vault is connected") {
		t.Errorf("the end is %+v", left.End)
	}
	id, _, found, err := f.FindLiveToken(t.Context(), f.storage)
	if held, _ := f.Holding(t.Context(), f.storage); found || err != nil || len(held) != 1 {
		t.Errorf("live is %q (%v), held by %v", id, err, held)
	}
	f.vault.Store(vault)
	f.work()
	f.wantEnded(r.ID, approval.Revoked)
	f.wantNothingLives()
}

func TestALiveTokenIsFound(t *testing.T) {
	f := newVaultFixture(t)
	_, _, found, err := f.FindLiveToken(t.Context(), f.storage)
	if found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	f.ask("alice")
	r := f.active()
	id, token, found, err := f.FindLiveToken(t.Context(), f.storage)
	if !found || err != nil || id != r.ID || token != r.Handles().Find(grant.Token{}.Key()) {
		t.Errorf("found %v %v %v, %v", found, id, token, err)
	}
	f.revoke(r.ID, "alice")
	if _, _, found, err = f.FindLiveToken(t.Context(), f.storage); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
}
