package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// Vault may answer slowly or not at all, and a handler that waits for a lock holds up a step-down.
func TestLedgerMakesNoHTTPCallWhileARecordIsLocked(t *testing.T) {
	f := newVaultFixture(t)
	var calls atomic.Int64 // a call that was broken off may still be seen when the next one is made
	f.watchEach(func(name string) {
		if held := f.records.held(); strings.HasPrefix(name, "http") {
			calls.Add(1)
			if len(held) > 0 {
				t.Errorf("%s is made while somebody has the lock of %v", name, held)
			}
		}
	})
	f.revoke(f.active().ID, "bob")
	leased := f.active()
	must(t, f.EndLease(t.Context(), f.storage, leased.ID, leased.Handles()))
	for _, fault := range []struct {
		at   string
		skip int
	}{
		{"/auth/token/create/", 0}, {"/creds/otp", 0}, {"/auth/token/revoke-accessor", 0}, {"/sys/leases/revoke", 0},
		{"storage put open/", 0}, {"storage put open/", 1},
	} {
		id := f.approved()
		f.breakOnce(fault.at, fault.skip, refuses)
		_, _, claimErr := f.tryClaim(id, "alice")
		if f.stored(id).Grant != nil {
			_, _ = f.tryRevoke(t.Context(), id, "alice")
		}
		f.work()
		if claimErr != nil {
			f.claim(id)
		}
		f.clock.advance(2 * time.Hour)
		f.work()
		f.wantNothingLives()
	}
	if n := calls.Load(); n < 30 {
		t.Errorf("only %d calls over HTTP were seen", n)
	}
}

// Whoever knows an id could else keep everybody from a request by asking for it without end.
func TestStrangersNeverTakeTheLockOfARequest(t *testing.T) {
	f := newFixture(t)
	id := f.approved()
	defer f.hold(id)()
	ctx := whole(t)
	var strangers sync.WaitGroup
	for range 50 {
		stranger := f.call("mallory")
		strangers.Go(func() {
			_, err := f.Change(ctx, f.storage, id, stranger.who, func(approval.Request, approval.Standing) (approval.Command, error) {
				t.Error("a command was built for a stranger")
				return approval.Withdraw{}, nil
			})
			wantRefusal(t, err, "there is no request")
			_, _, err = f.Claim(ctx, f.storage, id, stranger.who, func(approval.Request) (approval.World, error) {
				t.Error("the world was gathered for a stranger")
				return approval.World{}, nil
			})
			wantRefusal(t, err, "there is no request")
			_, err = f.Revoke(ctx, f.storage, id, stranger.who, func(approval.Request, approval.Standing) (approval.Command, error) {
				t.Error("a command was built for a stranger")
				return approval.Revoke{}, nil
			})
			wantRefusal(t, err, "there is no request")
		})
	}
	strangers.Wait()
	if users := f.records.usersOf(id); users != 1 {
		t.Errorf("%d use the lock, of whom one has it", users)
	}
}

func TestRefusedCallerTakesNoLock(t *testing.T) {
	f := newFixture(t)
	id, denied := f.ask("alice"), f.ask("alice")
	f.deny(denied, "bob")
	defer f.hold(id)()
	defer f.hold(denied)()
	ctx := whole(t)
	alice := f.call("alice")
	_, err := f.Change(ctx, f.storage, id, alice.who, alice.decision(approval.Approve, ""))
	wantRefusal(t, err, "you are in none of the approver groups")
	wantRefusal(t, f.tryDecide(ctx, denied, "carol", approval.Approve), "cannot decide on a request that is denied")
	_, err = f.tryRevoke(ctx, id, "bob")
	wantRefusal(t, err, "cannot end a request that is pending")
	_, _, err = f.Claim(ctx, f.storage, id, alice.who, func(r approval.Request) (approval.World, error) { return alice.who.WorldNow(ctx, r) })
	wantRefusal(t, err, "0 of 1 approvals")
}

func TestWaitForTheLockEndsWithTheCallersContext(t *testing.T) {
	f := newFixture(t)
	id := f.ask("alice")
	release := f.hold(id)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	bob := f.call("bob")
	go func() {
		_, err := f.Change(ctx, f.storage, id, bob.who, bob.decision(approval.Approve, ""))
		done <- err
	}()
	await(t, func() bool { return f.records.usersOf(id) == 2 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("whoever waited got %v", err)
	}
	release()
	if n := len(f.stored(id).Events); n > 0 {
		t.Errorf("%d events are on record", n)
	}
	f.approve(id, "bob") // nobody has the lock any more
}

func TestAChangeBetweenLoadAndLockHasTheCommandBuiltOnceMore(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(f *fixture, id string)
		builds    int
	}{
		{"nothing", func(*fixture, string) {}, 1},
		{"a change of another request", func(f *fixture, _ string) { f.approve(f.ask("alice"), "carol") }, 1},
		{"a change that was refused", func(f *fixture, id string) {
			wantRefusal(t, f.tryDecide(t.Context(), id, "alice", approval.Approve), "none of the approver groups")
		}, 1},
		{"a change", func(f *fixture, id string) { f.approve(id, "carol") }, 2},
		{"several changes", func(f *fixture, id string) {
			for _, comment := range []string{"yes", "yes indeed"} {
				carol := f.call("carol")
				_, err := f.Change(t.Context(), f.storage, id, carol.who, carol.decision(approval.Approve, comment))
				must(t, err)
			}
		}, 2},
		{"a change that reports a failure and had its effect", func(f *fixture, id string) {
			f.breakOnce("storage put open/"+id, 0, losesReply)
			wantFault(t, f.tryDecide(t.Context(), id, "carol", approval.Approve), errFault.Error())
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.setPolicy(2)
			id := f.ask("alice")
			bob := f.call("bob")
			builds, seen := 0, 0
			r, err := f.Change(t.Context(), f.storage, id, bob.who, func(r approval.Request, who approval.Standing) (approval.Command, error) {
				if builds++; builds == 1 {
					c.meanwhile(f, id)
				}
				seen = len(r.Events)
				return bob.decision(approval.Approve, "")(r, who)
			})
			must(t, err)
			if builds != c.builds {
				t.Errorf("the command was built %d times, it should be %d", builds, c.builds)
			}
			if stored := f.stored(id); seen != len(stored.Events)-1 || len(r.Events) != len(stored.Events) {
				t.Errorf("it was built from %d events and answered with %d, of which %d are stored", seen, len(r.Events), len(stored.Events))
			}
		})
	}
}

// A word that was true when it was built need not be true any more when it is recorded.
func TestACommandIsJudgedByTheRecordAsItIsUnderTheLock(t *testing.T) {
	f := newFixture(t)
	id := f.ask("alice")
	bob := f.call("bob")
	first := true
	_, err := f.Change(t.Context(), f.storage, id, bob.who, func(r approval.Request, who approval.Standing) (approval.Command, error) {
		if first {
			first = false
			f.cancel(id, "alice")
		}
		return bob.decision(approval.Approve, "")(r, who)
	})
	wantRefusal(t, err, "cannot decide on a request that is cancelled")
	f.wantState(id, approval.StateCancelled)
}

func TestCallsReadAndWriteARecordNoOftenerThanTheyMust(t *testing.T) {
	f := newVaultFixture(t)
	f.revoke(f.active().ID, "bob") // from now on the definitions are known and the engine is logged in
	id := f.ask("alice")
	for _, operation := range []struct {
		name string
		run  func()
		want []string
	}{
		{"a change", func() { f.approve(id, "bob") }, []string{"storage get open/", "storage put open/"}},
		{"a repeated change", func() { f.approve(id, "bob") }, []string{"storage get open/"}},
		{"a claim", func() { f.claim(id) }, []string{
			"storage get open/", "http PUT /v1/auth/token/create/", "storage put open/", "http PUT /v1/ssh-", "storage get open/", "storage put open/",
		}},
	} {
		f.forget()
		operation.run()
		taken := f.list("")
		if !slices.EqualFunc(taken, operation.want, strings.HasPrefix) {
			t.Errorf("%s takes %q; it should take %q", operation.name, taken, operation.want)
		}
	}
}

// An id is no secret and no authority: whoever guesses or overhears one learns nothing.
func TestAHiddenRequestAndAnAbsentOneAreAnsweredAlike(t *testing.T) {
	f := newFixture(t)
	pending, ended := f.ask("alice"), f.ask("alice")
	f.cancel(ended, "alice")
	absent, err := f.store.Requests.NewID(t.Context(), f.storage, "alice")
	must(t, err)

	answers := map[string]string{}
	for name, id := range map[string]string{"open": pending, "ended": ended, "absent": absent} {
		mallory := f.call("mallory")
		r, err := f.Read(t.Context(), f.storage, id, mallory.who)
		if r != nil || err != nil {
			t.Errorf("a stranger reads of one that is %s: %v, %v", name, r, err)
		}
		_, changeErr := f.Change(t.Context(), f.storage, id, mallory.who, mallory.decision(approval.Approve, ""))
		_, revokeErr := f.tryRevoke(t.Context(), id, "mallory")
		_, _, claimErr := f.tryClaim(id, "mallory")
		for _, err := range []error{changeErr, revokeErr, claimErr} {
			wantRefusal(t, err, "there is no request")
		}
		answers[strings.ReplaceAll(errors.Join(changeErr, revokeErr, claimErr).Error(), id, "ID")] = name
		if _, err := f.Change(t.Context(), f.storage, id, people.Caller{}, mallory.decision(approval.Approve, "")); refusal.Of(err) == nil {
			t.Errorf("nobody changes one that is %s: %v", name, err)
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers tell them apart: %q", answers)
	}
	for _, id := range []string{pending, ended} {
		for _, name := range []string{"alice", "bob", "audrey"} {
			if r, err := f.Read(t.Context(), f.storage, id, f.call(name).who); r == nil || err != nil {
				t.Errorf("%s reads %v, %v", name, r, err)
			}
		}
	}
	_, err = f.Read(t.Context(), f.storage, "../config", f.call("alice").who)
	wantRefusal(t, err, "id")
}
