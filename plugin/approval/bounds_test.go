package approval

import (
	"fmt"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// lenient is a policy under which one denial is not final, so that one can go on.
func lenient() Policy {
	policy := prod(rule("dba", 2, "dbas"))
	policy.DenyThreshold = 2
	return policy
}

// filled is the request with so many events, by the words of people who all have some left.
func filled(t *testing.T, r Request, events int) Request {
	t.Helper()
	var more []Event
	for n := 0; len(r.Events)+len(more) < events; n++ {
		who := standing(fmt.Sprintf("filler-%d", n/8), "dbas")
		stamp := Stamp{At: after(time.Minute), By: &who.Person}
		if n%2 == 0 && len(r.Events)+len(more)+1 < events {
			more = append(more, Decided{Stamp: stamp, Verdict: Approve, Groups: who.Groups})
		} else {
			more = append(more, Withdrew{stamp})
		}
	}
	return mustAdd(t, r, more...)
}

func TestOnePersonDecidesAndWithdrawsSixteenTimes(t *testing.T) {
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := newRequest(t, lenient())
	for n := range MaxDecisionsAPerson / 2 {
		r = mustDo(t, r, after(time.Duration(n)*time.Minute), approve(bob), Withdraw{bob})
	}
	const want = "you have decided and withdrawn 16 times on this request, which is as often as one person may"
	_, err := Do(r, approve(bob), after(time.Hour))
	wantRefusal(t, err, want)
	// Neither under another entity with the same login.
	_, err = Do(r, approve(merged(carol, "bob")), after(time.Hour))
	wantRefusal(t, err, want)
	// Others have words left, and so has whoever wants to stop it: once.
	mustDo(t, r, after(time.Hour), approve(carol))
	denied := mustDo(t, r, after(time.Hour), deny(bob))
	wantEqual(t, "denials", denied.Counted.Denials, 1)
	_, err = Do(denied, Withdraw{bob}, after(time.Hour))
	wantRefusal(t, err, "you have decided and withdrawn 17 times")
	anew := deny(bob)
	anew.Comment = "in other words"
	_, err = Do(denied, anew, after(time.Hour))
	wantRefusal(t, err, "you have decided and withdrawn 17 times")
	// Saying the same again is no word more.
	if events, err := Do(denied, deny(bob), after(time.Hour)); err != nil || events != nil {
		t.Errorf("repeating gives %v, %v", events, err)
	}
}

func TestRequestIsClaimedThirtyTwoTimes(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(2 * time.Minute)
	for range MaxClaims {
		r = mustDo(t, r, at, claim(world), Gone{Handle: "token"})
	}
	_, err := Do(r, claim(world), at)
	wantRefusal(t, err, "32 claims of this request failed, which is as often as one request may be claimed; ask again")
	mustDo(t, r, at, Cancel{standing("alice")})
}

func TestFullRecordStillTakesWhatEndsIt(t *testing.T) {
	const full = "this request is full: it has 256 events, and accepts at most 256; " +
		"only what ends it is still accepted: a denial, its cancellation, and the end of its grant"
	quorum, _ := quorate(t, lenient())
	at := after(3 * time.Minute)
	bob, carol, dave := standing("bob", "dbas"), standing("carol", "dbas"), standing("dave", "dbas")
	world := worldOf(quorum, bob, carol)
	atBound := filled(t, quorum, MaxEvents)
	wantState(t, atBound, at, StateApproved)
	wantEqual(t, "events", len(atBound.Events), MaxEvents)

	for _, command := range []Command{approve(dave), Withdraw{bob}, claim(world)} {
		_, err := Do(atBound, command, at)
		wantRefusal(t, err, full)
	}
	wantState(t, mustDo(t, atBound, at, Cancel{standing("alice")}), at, StateCancelled)
	erin := standing("erin", "dbas")
	denied := mustDo(t, atBound, at, deny(dave), deny(erin))
	wantState(t, denied, at, StateDenied)
	replayed(t, denied)
	// One event is left to one who approves.
	last := mustDo(t, filled(t, quorum, MaxEvents-1), at, approve(dave))
	_, err := Do(last, approve(erin), at)
	wantRefusal(t, err, full)
}

func TestClaimBeginsOnlyWhereItsWholeEndFits(t *testing.T) {
	quorum, _ := quorate(t, lenient())
	world := worldOf(quorum, standing("bob", "dbas"), standing("carol", "dbas"))
	at := after(3 * time.Minute)
	_, err := Do(filled(t, quorum, MaxEvents-9), claim(world), at)
	wantRefusal(t, err, "this request is full: it has 247 events")

	claiming := mustDo(t, filled(t, quorum, MaxEvents-10), at, claim(world))
	whole := grant.Handles{theToken, grant.Lease{ID: "l"}, grant.Answer{}, grant.Member{}}
	ended := mustDo(t, claiming, at, GiveGrant{world, whole, after(30 * time.Minute)}, LeaseEnded{}, Gone{Handle: "token"}, Gone{Handle: "lease"}, Gone{Handle: "answer"}, Gone{Handle: "member"})
	if len(ended.Events) > MaxEvents {
		t.Errorf("the whole grant took %d events", len(ended.Events))
	}
	wantEqual(t, "finished", ended.Finished(at), true)
}

// Others may use up the room while a claim is under way. The claim still ends.
func TestClaimAndGrantEndInAFullRecord(t *testing.T) {
	quorum, _ := quorate(t, lenient())
	world := worldOf(quorum, standing("bob", "dbas"), standing("carol", "dbas"))
	at := after(3 * time.Minute)
	claiming := filled(t, mustDo(t, filled(t, quorum, 200), at, claim(world)), MaxEvents)
	wantState(t, claiming, at, StateClaiming)
	wantState(t, mustDo(t, claiming, at, Gone{Handle: "token"}), at, StateApproved)
	// What the claim needs is kept free, so that this many decisions are not accepted beside it; if they were there, it would end.
	_, err := Do(filled(t, claiming, 246), approve(standing("dave", "dbas")), at)
	wantRefusal(t, err, "this request is full")
	active := mustDo(t, claiming, at, give(world, after(30*time.Minute)))
	for _, end := range []Command{Revoke{By: standing("alice")}, LeaseEnded{}, AbortClaim{Token: theToken}} {
		ended := mustDo(t, active, at, end, Gone{Handle: "token"}, Gone{Handle: "lease"})
		wantEqual(t, "finished", ended.Finished(at), true)
		replayed(t, ended)
	}
}
