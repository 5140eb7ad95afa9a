package ledger

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// Each test here is one way in which somebody might get a credential that the quorum does not stand behind, keep one past
// its end, or keep others from theirs.

func TestClaimIsRefusedIfTheWorldChangedWhileVaultWasAsked(t *testing.T) {
	for name, change := range map[string]func(f *fixture, id string){
		"the policy was tightened":       func(f *fixture, _ string) { f.setPolicy(2) },
		"the role was deleted":           func(f *fixture, _ string) { must(f.t, f.store.Roles.Delete(f.t.Context(), f.storage, "otp")) },
		"the requester was disabled":     func(f *fixture, _ string) { f.directory.Entities["alice"].Disabled = true },
		"the only approver was disabled": func(f *fixture, _ string) { f.directory.Entities["bob"].Disabled = true },
		"the approver was disabled and the record grew": func(f *fixture, id string) {
			f.directory.Entities["bob"].Disabled = true
			f.approve(id, "carol")
			f.withdraw(id, "carol")
		},
	} {
		for _, at := range []string{"/auth/token/create/", "/creds/otp"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				f := newVaultFixture(t)
				id := f.approved()
				stopped := f.stopAt(at)
				done := f.startClaim(id)
				<-stopped.reached
				change(f, id)
				stopped.goOn()
				if got := <-done; refusal.Of(got.err) == nil {
					t.Errorf("the claim answers %v", got.err)
				}
				f.wantNothingLives()
			})
		}
	}
}

func TestDenialThatAnotherNodeRecordedStopsTheClaim(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	stopped := f.stopAt("/creds/otp")
	done := f.startClaim(id)
	<-stopped.reached
	f.restart() // another instance over the same storage
	f.deny(id, "carol")
	stopped.goOn()
	if got := <-done; got.err == nil {
		t.Error("the claim succeeds")
	}
	f.wantState(id, approval.StateDenied)
	f.wantNothingLives()
}

// What cannot be taken back is made only if nobody denied it meanwhile, on whatever node.
func TestDenialThatAnotherNodeRecordedStopsAnUnleasedGrantBeforeItIsMade(t *testing.T) {
	f := newVaultFixture(t)
	f.setRole(grant.Secret{Path: f.ssh.Path, Operation: grant.Write, Data: map[string]any{"ip": "127.0.0.1"}, GrantPolicies: []string{f.ssh.Policy}, AllowUnleased: true})
	id := f.approved()
	stopped := f.stopAt("/auth/token/create/")
	done := f.startClaim(id)
	<-stopped.reached
	f.restart() // another instance over the same storage
	f.deny(id, "carol")
	stopped.goOn()
	if got := <-done; got.err == nil {
		t.Error("the claim succeeds")
	}
	if n := f.count("/creds/otp"); n > 0 {
		t.Errorf("upstream was called %d times", n)
	}
	f.wantState(id, approval.StateDenied)
	f.wantNothingLives()
}

func TestUnleasedGrantIsMadeOnceForOneApproval(t *testing.T) {
	f := newVaultFixture(t)
	f.setRole(grant.Secret{Path: f.ssh.Path, Operation: grant.Write, Data: map[string]any{"ip": "127.0.0.1"}, GrantPolicies: []string{f.ssh.Policy}, AllowUnleased: true})
	id := f.approved()
	// A claim that sent nothing may be repeated.
	f.breakOnce("/auth/token/create/", 0, refuses)
	if _, _, err := f.tryClaim(id, "alice"); err == nil {
		t.Fatal("a claim without a token succeeds")
	}
	written := 0
	for range 3 {
		ctx, hangUp := context.WithCancel(t.Context())
		f.add(&rule{text: "/creds/otp", once: true, play: func(do func() error) error { err := do(); written++; hangUp(); return err }})
		who := f.call("alice").who
		if _, _, err := f.Claim(ctx, f.storage, id, who, func(r approval.Request) (approval.World, error) { return who.WorldNow(ctx, r) }); err == nil {
			t.Error("a claim whose caller hung up succeeds")
		}
	}
	if written != 1 {
		t.Errorf("upstream was written %d times for one approval", written)
	}
	_, _, err := f.tryClaim(id, "alice")
	wantRefusal(t, err, "an earlier claim may have made what cannot be taken back")
}

func TestEndIsTriedWhateverAnotherNodesClockSaid(t *testing.T) {
	for name, end := range map[string]func(f *fixture, r approval.Request) error{
		"revoke": func(f *fixture, r approval.Request) error {
			_, err := f.tryRevoke(f.t.Context(), r.ID, "alice")
			return err
		},
		"lease": func(f *fixture, r approval.Request) error {
			return f.EndLease(f.t.Context(), f.storage, r.ID, r.Handles())
		},
		"periodic work": func(f *fixture, _ approval.Request) error { return f.Work(f.t.Context(), f.storage) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newVaultFixture(t)
			r := f.active()
			f.clock.advance(30 * time.Minute) // this node's clock is ahead
			mend := f.breakAt("revoke", refuses)
			_, err := f.tryRevoke(t.Context(), r.ID, "alice")
			must(t, err)
			mend()
			f.clock.advance(-29 * time.Minute) // the next active node's is right
			must(t, end(f, r))
			f.wantNothingLives()
		})
	}
}

func TestLeaseOfAClaimThatIsStillOnRecordCanBeEnded(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	stopped := f.stopAt("/creds/otp")
	done := f.startClaim(id)
	<-stopped.reached
	token := f.stored(id).Claim.Token
	mend := f.breakAt("revoke", refuses)
	if err := f.EndLease(t.Context(), f.storage, id, grant.Handles{token}); err == nil || !strings.Contains(err.Error(), errFault.Error()) && !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("it answers %v", err)
	}
	mend()
	stopped.goOn()
	<-done
}

func TestRevokeWhoseRecordCannotBeReadAnyMoreIsAnError(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	f.add(&rule{text: "storage put open/", once: true, play: func(func() error) error {
		must(t, f.disk.Put(t.Context(), &logical.StorageEntry{Key: "open/" + r.ID, Value: []byte("{torn")}))
		return errFault
	}})
	if _, err := f.tryRevoke(t.Context(), r.ID, "alice"); err == nil || refusal.Of(err) != nil {
		t.Errorf("it answers %v", err)
	}
	f.wantNothingLives()
}

func TestLeaseThatCarriesAnotherTokenThanTheRecordEndsIt(t *testing.T) {
	f := newVaultFixture(t)
	r, other := f.active(), f.active()
	f.revoke(r.ID, "alice")
	must(t, f.EndLease(t.Context(), f.storage, r.ID, other.Handles()))
	f.wantNothingLives()
}

func TestOneRequestThatCannotBeReadKeepsNoGrantAlive(t *testing.T) {
	f := newVaultFixture(t)
	f.active()
	unreadable := f.ask("alice")
	f.restart()
	f.breakAt("storage get open/"+unreadable, refuses)
	f.clock.advance(3 * time.Hour)
	if err := f.Work(t.Context(), f.storage); err == nil {
		t.Error("the work says nothing of what it cannot read")
	}
	f.wantNothingLives()
}

func TestListOnASlowStorageCanBeGoneOnWith(t *testing.T) {
	f := newFixture(t)
	want := map[string]bool{}
	for range 20 {
		id := f.ask("alice")
		f.cancel(id, "alice")
		want[id] = true
	}
	// The time of each page is up after some reads.
	q := Query{States: approval.States(), Limit: 100}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		reads := 0
		remove := f.add(&rule{text: "storage get", play: func(do func() error) error {
			if reads++; reads > 12 {
				cancel()
				return ctx.Err()
			}
			return do()
		}})
		page, err := f.List(ctx, f.storage, f.call("alice").who, q)
		remove()
		cancel()
		must(t, err)
		for _, r := range page.Requests {
			delete(want, r.ID)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
		if !page.Stopped {
			t.Error("it does not say that it stopped")
		}
	}
	if len(want) > 0 {
		t.Errorf("%d requests were never shown", len(want))
	}
}

func TestUnreachableVaultIsNamedWithoutItsAddress(t *testing.T) {
	f := newVaultFixture(t)
	id, r := f.approved(), f.active()
	c := f.connection
	c.Address = "http://127.0.0.1:9"
	f.connect(c)
	_, _, err := f.tryClaim(id, "alice")
	shown := fmt.Sprint(err, f.revoke(r.ID, "bob").End.LastError)
	if strings.Contains(shown, "127.0.0.1") || !strings.Contains(shown, "cannot be reached") {
		t.Errorf("it says %s", shown)
	}
}

// A claim writes over the record only what it has read: else a denial that came meanwhile would be gone.
func TestDecisionDuringAClaimSurvivesAFailedRead(t *testing.T) {
	for name, decide := range map[string]func(f *fixture, id string){
		"denied": func(f *fixture, id string) { f.deny(id, "carol") },
		"withdrawn": func(f *fixture, id string) {
			f.withdraw(id, "bob")
		},
	} {
		for _, why := range []string{"the storage fails", "the engine is closed"} {
			t.Run(name+", "+why, func(t *testing.T) {
				f := newVaultFixture(t)
				id := f.approved()
				stopped := f.stopAt("/creds/otp")
				done := f.startClaim(id)
				<-stopped.reached
				decide(f, id)
				before := f.stored(id)
				life := f.life.ctx
				f.add(&rule{text: "storage get open/" + id, once: true, play: func(func() error) error {
					if why == "the storage fails" {
						return errFault
					}
					go f.Close()
					<-life.Done()
					return context.Canceled // as Vault's storage answers then
				}})
				stopped.goOn()
				if got := <-done; got.err == nil || got.made.Data != nil {
					t.Errorf("the claim gives %v, %v", got.made, got.err)
				}
				f.restart()
				after := f.stored(id)
				if len(after.Events) < len(before.Events) || after.State(f.clock.peek()) == approval.StateApproved {
					t.Errorf("it is %s, after the events %v", after.State(f.clock.peek()), after.Events)
				}
				if _, _, err := f.tryClaim(id, "alice"); err == nil {
					t.Error("it can be claimed")
				}
				f.work()
				f.wantNothingLives()
			})
		}
	}
}

func TestEndThatSomebodyElseRecordedSurvivesAFailedRead(t *testing.T) {
	f := newVaultFixture(t)
	r := f.active()
	ended := false
	_, err := f.Revoke(t.Context(), f.storage, r.ID, f.call("bob").who, func(_ approval.Request, standing approval.Standing) (approval.Command, error) {
		if !ended {
			ended = true
			f.revoke(r.ID, "carol")
			f.breakOnce("storage get open/"+r.ID, 0, refuses)
		}
		return approval.Revoke{By: standing}, nil
	})
	if err != nil {
		wantFault(t, err, errFault.Error())
	}
	if end := f.stored(r.ID).End; end == nil || end.By == nil || end.By.EntityID != "carol" {
		t.Errorf("carol ended it, the record says %+v", end)
	}
}

// An end goes on when its caller hangs up in the middle of it. It is tried often, because a lock may be given by chance.
func TestEndGoesOnWhenItsCallerHangsUp(t *testing.T) {
	for name, written := range map[string]bool{"its start is written": true, "its start is not written": false} {
		t.Run(name, func(t *testing.T) {
			f := newVaultFixture(t)
			for range 12 {
				r := f.active()
				ctx, hangUp := context.WithCancel(t.Context())
				f.add(&rule{text: "storage put open/", once: true, play: func(do func() error) error {
					defer hangUp()
					if written {
						must(t, do())
					}
					return errFault
				}})
				_, _ = f.tryRevoke(ctx, r.ID, "bob") // what is recorded is another test's
				f.wantNothingLives()
			}
		})
	}
}
