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
	"github.com/vault-jit/vault-jit/plugin/issuer"
)

// claimed is what came of a claim.
type claimed struct {
	request approval.Request
	made    issuer.Made
	err     error
}

// startClaim claims in the background.
func (f *fixture) startClaim(id string) <-chan claimed {
	f.t.Helper()
	done := make(chan claimed, 1)
	ctx, c := f.t.Context(), f.call("alice")
	ledger, storage := f.Ledger, f.storage
	go func() {
		r, made, err := ledger.Claim(ctx, storage, id, c.who, func(r approval.Request) (approval.World, error) { return c.who.WorldNow(ctx, r) })
		done <- claimed{r, made, err}
	}()
	return done
}

func TestSecondClaimAtOnceIsRefused(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	upstream := f.stopAt("/creds/otp")
	first := f.startClaim(id)
	<-upstream.reached
	_, made, err := f.tryClaim(id, "alice")
	wantRefusal(t, err, "a claim of this request is under way")
	if made.Data != nil || made.Handles != nil {
		t.Errorf("the refused claim made %v", made)
	}
	upstream.goOn()
	got := <-first
	must(t, got.err)
	if n := f.count("/auth/token/create/"); n != 1 {
		t.Errorf("%d grant tokens were made", n)
	}
	f.wantState(id, approval.StateActive)
	_, _, err = f.tryClaim(id, "alice")
	wantRefusal(t, err, "the request is active")
	f.wantState(id, approval.StateActive)
}

// A claim is repeated by an impatient client, or by Vault: what the first one gave must go on to work.
func TestAClaimThatComesTooLateLeavesTheGrantOfTheOtherAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		// seen is where the first claim stands when the second one loads the request; "" before it began.
		seen string
	}{{"which began after it had looked", ""}, {"which was under way when it looked", "/creds/otp"}} {
		t.Run(c.name, func(t *testing.T) {
			f := newVaultFixture(t)
			id := f.approved()
			var first <-chan claimed
			goOn := func() {}
			if c.seen != "" {
				at := f.stopAt(c.seen)
				first, goOn = f.startClaim(id), at.goOn
				<-at.reached
			}
			alice := f.call("alice")
			again := false
			_, _, err := f.Claim(t.Context(), f.storage, id, alice.who, func(r approval.Request) (approval.World, error) {
				if !again {
					again = true
					if first == nil {
						first = f.startClaim(id)
					}
					goOn()
					must(t, (<-first).err)
				}
				return alice.who.WorldNow(t.Context(), r)
			})
			wantRefusal(t, err, "the request is active")
			f.wantState(id, approval.StateActive)
			if n := f.liveTokens(); n != 1 {
				t.Errorf("%d grant tokens live, it should be that of the first claim", n)
			}
			f.revoke(id, "alice")
			f.wantNothingLives()
		})
	}
}

func TestSettleThatWaitedLeavesAClaimThatBeganMeanwhileAlone(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	ending := f.settling.join(id)
	must(t, ending.acquire(t.Context()))
	settled := make(chan error, 1)
	go func() {
		_, err := f.Settle(t.Context(), f.storage, id)
		settled <- err
	}()
	await(t, func() bool { return f.settling.usersOf(id) == 2 })
	at := f.stopAt("/creds/otp")
	claimed := f.startClaim(id)
	<-at.reached
	ending.release()
	ending.leave()
	must(t, <-settled)
	at.goOn()
	must(t, (<-claimed).err)
	f.wantState(id, approval.StateActive)
}

func TestSettleLeavesAClaimUnderWayAlone(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	upstream := f.stopAt("/creds/otp")
	done := f.startClaim(id)
	<-upstream.reached
	f.forget()
	for range 2 {
		r, err := f.Settle(t.Context(), f.storage, id)
		must(t, err)
		if r.State(f.clock.read()) != approval.StateClaiming || !r.Holding() {
			t.Errorf("settling answers with a request that is %s", r.State(f.clock.read()))
		}
		f.work()
		counts, err := f.Count(t.Context(), f.storage)
		must(t, err)
		if len(counts.Unconfirmed) > 0 {
			t.Errorf("of a claim under way it is said that its end is not confirmed: %v", counts.Unconfirmed)
		}
		f.clock.advance(inFlightAtMost - 10*time.Second - time.Second)
	}
	if taken := f.list("revoke"); len(taken) > 0 {
		t.Errorf("it took %q", taken)
	}
	upstream.goOn()
	must(t, (<-done).err)
}

// A claim cannot take so long, unless the whole process stood still; then others need not wait for it.
func TestAClaimIsInFlightForAMinuteAtMost(t *testing.T) {
	for name, settle := range map[string]func(f *fixture, id string){
		"settling": func(f *fixture, id string) {
			_, err := f.Settle(f.t.Context(), f.storage, id)
			must(f.t, err)
		},
		"the work":      func(f *fixture, _ string) { f.work() },
		"another claim": func(f *fixture, id string) { f.claim(id) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newVaultFixture(t)
			id := f.approved()
			upstream := f.stopAt("/creds/otp")
			done := f.startClaim(id)
			<-upstream.reached
			f.clock.advance(inFlightAtMost + time.Second)
			settle(f, id)
			if r := f.stored(id); r.Claim != nil {
				t.Error("the claim is still on record")
			}
			upstream.goOn() // with a token that is revoked
			if got := <-done; got.err == nil {
				t.Error("the claim that took too long reports success")
			}
			if name != "another claim" {
				f.wantNothingLives()
				f.claim(id)
			}
			f.wantState(id, approval.StateActive)
			if f.flights.has(id, f.clock.read()) {
				t.Error("a claim is still in flight")
			}
			if n := f.liveTokens(); n != 1 {
				t.Errorf("%d grant tokens live", n)
			}
		})
	}
}

func TestAClaimThatTookTooLongLeavesTheOneInItsPlaceAlone(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	late := f.stopAt("/creds/otp")
	first := f.startClaim(id)
	<-late.reached
	f.clock.advance(inFlightAtMost + time.Second)
	upstream := f.stopAt("/creds/otp")
	second := f.startClaim(id)
	<-upstream.reached
	late.goOn()
	if got := <-first; got.err == nil {
		t.Error("the claim that took too long reports success")
	}
	_, _, err := f.tryClaim(id, "alice")
	wantRefusal(t, err, "a claim of this request is under way")
	if n := f.liveTokens(); n != 1 {
		t.Errorf("%d grant tokens live", n)
	}
	upstream.goOn()
	must(t, (<-second).err)
	f.wantState(id, approval.StateActive)
}

// What nobody takes must not live, nor use the request up.
func TestAClaimWhoseCallerHasGoneIsTakenBack(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	upstream := f.stopAt("/creds/otp")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan claimed, 1)
	alice := f.call("alice")
	go func() {
		r, made, err := f.Claim(ctx, f.storage, id, alice.who, func(r approval.Request) (approval.World, error) { return alice.who.WorldNow(ctx, r) })
		done <- claimed{r, made, err}
	}()
	<-upstream.reached
	cancel()
	upstream.goOn() // and it answers in time
	if got := <-done; !errors.Is(got.err, context.Canceled) || got.made.Data != nil || got.request.Holding() {
		t.Errorf("the claim answers %v and gave %v", got.err, got.made)
	}
	f.wantNothingLives()
	f.wantState(id, approval.StateApproved)
	f.claim(id)
}

// While upstream makes the credential, people go on deciding.
func TestAClaimIsRefusedIfTheRequestCannotBeClaimedAnyMore(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(f *fixture, id string)
		words     string
		state     approval.State
	}{
		{"a denial", func(f *fixture, id string) { f.deny(id, "carol") }, "the request is denied", approval.StateDenied},
		{"a cancellation", func(f *fixture, id string) { f.cancel(id, "alice") }, "the request is cancelled", approval.StateCancelled},
		{"the last approval taken back", func(f *fixture, id string) {
			f.withdraw(id, "bob")
		}, "0 of 1 approvals", approval.StatePending},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newVaultFixture(t)
			id := f.approved()
			upstream := f.stopAt("/creds/otp")
			done := f.startClaim(id)
			<-upstream.reached
			c.meanwhile(f, id)
			upstream.goOn()
			got := <-done
			wantRefusal(t, got.err, c.words)
			if got.made.Data != nil || got.request.Holding() {
				t.Errorf("it gave %v, and the request holds %v", got.made, got.request.Held)
			}
			f.wantState(id, c.state)
			f.wantNothingLives()
			if r := f.stored(id); r.Claim != nil || r.Holding() || r.Grant != nil {
				t.Errorf("on record is claim %v, grant %v, held %v", r.Claim, r.Grant, r.Held)
			}
			if kept, _ := f.disk.List(t.Context(), "open/"); (len(kept) > 0) != c.state.Open() {
				t.Errorf("among the open ones there is %v", kept)
			}
		})
	}
}

// Without a change of the record, a claim of some seconds goes by what was so when it began.
func TestAClaimLooksAtTheWorldAgainIfTheRecordHasGrown(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(f *fixture)
		words     string
	}{
		{"the requester is disabled", func(f *fixture) {
			f.directory.Entities["alice"] = &logical.Entity{ID: "alice", Name: "alice", Disabled: true}
		}, "the requester is disabled"},
		{"the approver has left", func(f *fixture) {
			must(f.t, f.store.Groups.Put(f.t.Context(), f.storage, "dba", approval.ApproverGroup{Name: "dba", EntityIDs: []string{"dave"}}))
		}, "0 of 1 approvals"},
		{"the role gives something else", func(f *fixture) {
			f.setRole(grant.Secret{Path: "other/creds/app", Operation: grant.Read, GrantPolicies: []string{"app"}})
		}, `role "otp" changed`},
		{"the role is deleted", func(f *fixture) {
			must(f.t, f.store.Roles.Delete(f.t.Context(), f.storage, "otp"))
		}, `role "otp" has been deleted`},
		{"the policy asks for more", func(f *fixture) { f.setPolicy(3) }, "2 of 3 approvals"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newVaultFixture(t)
			id := f.approved()
			upstream := f.stopAt("/creds/otp")
			ctx := t.Context()
			done := make(chan claimed, 1)
			alice := f.call("alice")
			gathered := 0
			go func() {
				r, made, err := f.Claim(ctx, f.storage, id, alice.who, func(r approval.Request) (approval.World, error) {
					gathered++
					return f.call("audrey").lookup.World(ctx, r) // which knows nothing from before
				})
				done <- claimed{r, made, err}
			}()
			<-upstream.reached
			f.approve(id, "carol") // the record grows
			c.meanwhile(f)
			upstream.goOn()
			wantRefusal(t, (<-done).err, c.words)
			if gathered != 2 {
				t.Errorf("the world was gathered %d times", gathered)
			}
			f.wantNothingLives()
			f.wantState(id, approval.StateApproved)
		})
	}
}

func TestAFailedWriteOfAClaimLeavesWhatIsTrue(t *testing.T) {
	for _, c := range []struct {
		name string
		skip int
		how  fault
		// granted says that the record holds the grant, which nobody got.
		granted bool
	}{
		{"claim_began without effect", 0, refuses, false},
		{"claim_began with effect", 0, losesReply, false},
		{"granted without effect", 1, refuses, false},
		{"granted with effect", 1, losesReply, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newVaultFixture(t)
			id := f.approved()
			f.breakOnce("storage put open/"+id, c.skip, c.how)
			r, made, err := f.tryClaim(id, "alice")
			wantFault(t, err, errFault.Error())
			if made.Data != nil || r.Holding() {
				t.Errorf("it gave %v, and the request holds %v", made, r.Held)
			}
			f.wantNothingLives()
			if c.granted {
				f.wantEnded(id, approval.ClaimFailed)
				_, _, err = f.tryClaim(id, "alice")
				wantRefusal(t, err, "the request is ended")
				return
			}
			if r := f.stored(id); r.Claim != nil || r.Grant != nil || r.Holding() {
				t.Errorf("on record is claim %v, grant %v, held %v", r.Claim, r.Grant, r.Held)
			}
			f.wantState(id, approval.StateApproved)
			f.claim(id)
			f.wantState(id, approval.StateActive)
		})
	}
}

// What the engine could not take back at once must not be forgotten.
func TestATokenThatAFailedClaimCouldNotRevokeIsRevokedLater(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	mendUpstream := f.breakAt("/creds/otp", refuses)
	mendRevoke := f.breakAt("/auth/token/revoke-accessor", refuses)
	r, made, err := f.tryClaim(id, "alice")
	wantFault(t, err, "could not be revoked yet")
	if made.Data != nil || !r.Holding() {
		t.Errorf("it gave %v and holds %v", made, r.Held)
	}
	left := f.stored(id)
	if len(left.Handles()) != 1 || left.Attempts["token"].Problem == "" || left.State(f.clock.read()) != approval.StateClaiming {
		t.Errorf("on record is %v with the attempts %v", left.Held, left.Attempts)
	}
	f.wantLeftover(id)
	f.work() // in vain
	if n := f.liveTokens(); n != 1 {
		t.Errorf("%d grant tokens live", n)
	}
	mendRevoke()
	f.work()
	f.wantNothingLives()
	if r := f.stored(id); r.Claim != nil || r.Holding() || len(r.Attempts) > 0 {
		t.Errorf("on record is claim %v, held %v, attempts %v", r.Claim, r.Held, r.Attempts)
	}
	mendUpstream()
	f.claim(id)
}

// wantLeftover checks that what a claim left is counted, and keeps the next claim from beginning.
func (f *fixture) wantLeftover(id string) {
	f.t.Helper()
	counts, err := f.Count(f.t.Context(), f.storage)
	must(f.t, err)
	if len(counts.Unconfirmed) != 1 {
		f.t.Errorf("not confirmed are %v", counts.Unconfirmed)
	}
	_, _, err = f.tryClaim(id, "alice")
	wantFault(f.t, err, "an earlier claim left something behind")
}

// Vault's own tries to revoke the lease of a revoked token come to an end, and nobody would know of it.
func TestALeaseThatAFailedClaimCouldNotRevokeIsRevokedLater(t *testing.T) {
	for name, token := range map[string]bool{"the token is revoked": false, "nor can the token be": true} {
		t.Run(name, func(t *testing.T) {
			f := newVaultFixture(t)
			id := f.approved()
			mend := f.breakAt("/sys/leases/revoke", refuses)
			mendToken := func() {}
			if token {
				mendToken = f.breakAt("/auth/token/revoke-accessor", refuses)
			}
			f.breakOnce("storage put open/"+id, 1, refuses) // what was granted
			_, made, err := f.tryClaim(id, "alice")
			wantFault(t, err, "could not be revoked yet; the engine tries again")
			left := f.stored(id)
			if made.Data != nil || left.Claim != nil || left.Handles().Find("lease") == nil || (left.Handles().Find("token") != nil) != token {
				t.Errorf("it gave %v; on record is %v", made, left.Held)
			}
			if left.Attempts["lease"].Problem == "" {
				t.Errorf("the attempts are %v", left.Attempts)
			}
			f.wantLeftover(id)
			f.restart() // which knows it from the record
			f.work()    // in vain
			mend()
			mendToken()
			f.forget()
			f.work()
			if n := f.count("/sys/leases/revoke"); n != 1 {
				t.Errorf("the lease was revoked %d times", n)
			}
			if r := f.stored(id); r.Holding() || r.State(f.clock.read()) != approval.StateApproved {
				t.Errorf("on record is %v", r.Held)
			}
			f.wantNothingLives()
			f.claim(id)
		})
	}
}

// The next claim does not wait for the periodic work.
func TestAClaimFirstEndsWhatADeadOneLeft(t *testing.T) {
	f := newVaultFixture(t)
	id := f.approved()
	mend := f.breakAt("/auth/token/revoke-accessor", refuses)
	f.breakOnce("/creds/otp", 0, losesReply) // upstream gave something whose lease nobody knows
	_, _, err := f.tryClaim(id, "alice")
	wantFault(t, err, "could not be revoked yet")
	mend()
	f.forget()
	f.claim(id)
	taken := strings.Join(f.list("http"), "\n")
	if revoke, create := strings.Index(taken, "revoke-accessor"), strings.Index(taken, "token/create"); revoke < 0 || create < revoke {
		t.Errorf("it took\n%s", taken)
	}
	f.revoke(id, "alice")
	f.wantNothingLives()
}
