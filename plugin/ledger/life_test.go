package ledger

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// A claim makes its grant in one Vault to the end, and that Vault is the one that the engine can end it in.
func TestConfigurationIsNotMovedDuringAClaim(t *testing.T) {
	f := newVaultFixture(t)
	done := false
	change := func() error { done = true; return nil }
	for _, at := range []string{"/auth/token/create/", "/creds/otp"} {
		id := f.approved()
		stopped := f.stopAt(at)
		claim := f.startClaim(id)
		<-stopped.reached
		wantRefusal(t, f.WhileNothingIsClaimed(change), "a claim is under way")
		if done {
			t.Error("the change was made under a claim")
		}
		stopped.goOn()
		must(t, (<-claim).err)
		must(t, f.WhileNothingIsClaimed(change))
		if !done {
			t.Error("the change was not made after the claim")
		}
		done = false
	}
	if err := f.WhileNothingIsClaimed(func() error { return errFault }); !errors.Is(err, errFault) {
		t.Errorf("a change that failed answers %v", err)
	}

	stopped := f.stopAt("/creds/otp")
	claim := f.startClaim(f.approved())
	<-stopped.reached
	f.clock.advance(inFlightAtMost + time.Second)
	must(t, f.WhileNothingIsClaimed(change)) // a claim that stands still keeps nobody from it for ever
	stopped.goOn()
	<-claim
}

func TestClaimIsRefusedWhileTheConfigurationIsMoved(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	must(t, f.WhileNothingIsClaimed(func() error {
		wantRefusal(t, (<-f.startClaim(id)).err, "the configuration of the engine is being changed; try again")
		// Whatever that change waits for, nothing else does.
		_, err := f.Settle(t.Context(), f.storage, id)
		must(t, err)
		_, err = f.Count(t.Context(), f.storage)
		return err
	}))
	if n := f.count("http"); n > 0 {
		t.Errorf("%d calls to Vault were made", n)
	}
	f.claim(id)
	f.wantState(id, approval.StateActive)
}

// Vault reloads a plugin, or disables it: whatever is half-way must not be left to the window's end.
func TestClosingBreaksOffAClaimAndWaitsUntilItIsTakenBack(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	upstream := f.stopAt("/creds/otp")
	claim := f.startClaim(id)
	<-upstream.reached
	f.Close()
	if n := f.liveTokens(); n > 0 {
		t.Errorf("%d grant tokens live", n)
	}
	if r := f.stored(id); r.Claim != nil || r.Holding() {
		t.Errorf("on record is the claim %v", r.Claim)
	}
	if got := <-claim; got.err == nil || got.made.Data != nil {
		t.Errorf("the claim gave %v, %v", got.made, got.err)
	}
	upstream.goOn()
	f.wantNothingLives()
}

// The next instance must know that the grant is over, and does not have to wait for its window.
func TestClosingBreaksOffAnEndAndRecordsHowFarItGot(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	upstream := f.stopAt("/sys/leases/revoke")
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- f.EndLease(ctx, f.storage, r.ID, r.Handles()) }()
	<-upstream.reached
	f.Close()
	if left := f.stored(r.ID); left.End == nil || left.End.Confirmed() || len(left.Handles()) != 1 || left.Attempts["lease"].Problem == "" {
		t.Errorf("on record is the end %+v, held %v", left.End, left.Held)
	}
	if err := <-done; err == nil {
		t.Error("the end reports success")
	}
	upstream.goOn()
	f.restart()
	f.work()
	f.wantEnded(r.ID, approval.LeaseRevoked)
	f.wantNothingLives()
}

// A process may serve an old and a new instance of the engine over the same storage.
func TestAClosedInstanceWritesNothingWhileANewOneWorks(t *testing.T) {
	f := newVaultFixture(t)
	pending, approved, active := f.ask("alice"), f.approved(), f.active()
	expired := f.askRole("alice", "otp", time.Second).ID
	f.approve(expired, "bob")
	f.claim(expired)
	f.clock.advance(2 * time.Second)
	f.Close()
	f.forget()
	ctx, closed := t.Context(), errClosed.Error()

	wantFault(t, f.tryDecide(ctx, pending, "bob", approval.Approve), closed)
	_, _, err := f.tryClaim(approved, "alice")
	wantFault(t, err, closed)
	_, err = f.tryRevoke(ctx, active.ID, "bob")
	wantFault(t, err, closed)
	wantFault(t, f.EndLease(ctx, f.storage, active.ID, active.Handles()), closed)
	_, err = f.Settle(ctx, f.storage, expired)
	wantFault(t, err, closed)
	wantFault(t, f.Work(ctx, f.storage), closed)
	alice := f.call("alice")
	_, err = f.Ask(ctx, f.storage, "alice", func(id string, waiting int) (approval.Record, error) {
		made := f.stored(pending).Ask
		return approval.New(id, approval.Question{
			Role: f.role(), Policy: made.Policy, Requester: alice.who.Standing, Reason: "x", MaxWindow: time.Hour, MaxWaiting: waiting + 1,
		}, f.clock.read())
	})
	wantFault(t, err, closed)
	if taken := append(append(f.list("http"), f.list("storage put")...), f.list("storage delete")...); len(taken) > 0 {
		t.Errorf("the closed instance took %q", taken)
	}
	if r, err := f.Read(ctx, f.storage, pending, alice.who); r == nil || err != nil {
		t.Errorf("it reads %v, %v", r, err)
	}

	old := f.Ledger
	f.restart()
	f.approve(pending, "bob")
	f.claim(approved)
	f.revoke(active.ID, "bob")
	f.work()
	f.wantEnded(active.ID, approval.Revoked)
	f.wantEnded(expired, approval.WindowEnd)
	old.Close() // once more
	f.revoke(approved, "alice")
	f.wantNothingLives()
}

// What a closed instance could not take back any more is on record, so that the next one does.
func TestANewInstanceEndsWhatAClosedOneLeft(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	mend := f.breakAt("/auth/token/revoke-accessor", refuses)
	upstream := f.stopAt("/creds/otp")
	claim := f.startClaim(id)
	<-upstream.reached
	f.Close()
	if got := <-claim; got.err == nil {
		t.Error("the claim reports success")
	}
	mend()
	upstream.goOn()
	f.restart()
	f.work()
	f.wantNothingLives()
	f.claim(id)
}

func TestASessionThatIsReplacedUnderAClaimIsUsedToItsEnd(t *testing.T) {
	f := newVaultFixture(t)
	for _, at := range []string{"storage put open/", "/creds/otp"} {
		id := f.approved()
		stopped := f.stopAt(at)
		claim := f.startClaim(id)
		<-stopped.reached
		f.connect(f.connection)
		replaced, err := f.mount.EngineTokens(t.Context())
		must(t, err)
		if len(replaced) != 1 {
			t.Fatalf("%d logins live under the claim", len(replaced))
		}
		f.forget()
		stopped.goOn()
		must(t, (<-claim).err)
		if n := f.count("/login"); n > 0 {
			t.Errorf("the claim logged in %d times more", n)
		}
		vaulttest.Eventually(t, "the replaced login to end", func(ctx context.Context) error {
			live, err := f.mount.EngineTokens(ctx)
			if err == nil && len(live) > 0 {
				err = fmt.Errorf("%d logins live", len(live))
			}
			return err
		})
		f.revoke(id, "alice") // with a login of the other session's
	}
	f.wantNothingLives()
}
