package approval

import (
	"testing"
	"time"
)

func TestStatesAreDistinctAndOpenUntilSomethingEndsThem(t *testing.T) {
	wantEqual(t, "states", States(), []State{"pending", "approved", "claiming", "active", "denied", "cancelled", "expired", "ended"})
	var open []State
	for _, state := range States() {
		if state.Open() {
			open = append(open, state)
		}
	}
	wantEqual(t, "open states", open, []State{StatePending, StateApproved, StateClaiming, StateActive})
	if State("").Open() {
		t.Error("no state is open")
	}
}

func TestPendingExpiresAfterRequestTTL(t *testing.T) {
	r := newRequest(t, prod(rule("dba", 1, "dbas")))
	wantEqual(t, "deadline", r.Deadline(), after(8*time.Hour))
	wantState(t, r, after(8*time.Hour-1), StatePending)
	wantState(t, r, after(8*time.Hour), StateExpired)
	wantState(t, r, after(9000*time.Hour), StateExpired)
	_, err := do(r, approve(standing("bob", "dbas")), after(8*time.Hour))
	wantRefusal(t, err, "cannot decide on a request that is expired")
}

func TestClaimTTLRunsFromTheQuorum(t *testing.T) {
	bob, carol, dave := standing("bob", "dbas"), standing("carol", "dbas"), standing("dave", "dbas")
	type step struct {
		at    time.Duration
		event Command
	}
	for _, c := range []struct {
		name   string
		steps  []step
		quorum time.Duration // -1 stands for none
	}{
		{"no approvals", nil, -1},
		{"one too few", []step{{0, approve(bob)}}, -1},
		{"the second makes it", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}}, 5 * time.Minute},
		{"a third changes nothing", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, approve(dave)}}, 5 * time.Minute},
		{"saying it again changes nothing", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, approve(bob)}, {10 * time.Minute, approve(carol)}}, 5 * time.Minute},
		{"lost by a withdrawal", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, Withdraw{bob}}}, -1},
		{"lost by a denial that is not final", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, deny(bob)}}, -1},
		{"regained by the same", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, Withdraw{bob}}, {20 * time.Minute, approve(bob)}}, 20 * time.Minute},
		{"regained by another", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, Withdraw{carol}}, {20 * time.Minute, approve(dave)}}, 20 * time.Minute},
		{"kept by the third when the first withdraws", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, approve(dave)}, {20 * time.Minute, Withdraw{bob}}}, 9 * time.Minute},
		{"kept when the third withdraws", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, approve(dave)}, {20 * time.Minute, Withdraw{dave}}}, 5 * time.Minute},
		{"a denial that is not final moves nothing", []step{{0, approve(bob)}, {5 * time.Minute, approve(carol)}, {9 * time.Minute, deny(dave)}}, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			policy := prod(rule("dba", 2, "dbas"))
			policy.DenyThreshold = 2
			r := newRequest(t, policy)
			for _, step := range c.steps {
				r = mustDo(t, r, after(step.at), step.event)
			}
			if c.quorum < 0 {
				wantEqual(t, "quorum", r.QuorumAt, time.Time{})
				wantEqual(t, "deadline", r.Deadline(), after(8*time.Hour))
				wantState(t, r, after(20*time.Minute), StatePending)
				return
			}
			wantEqual(t, "quorum", r.QuorumAt, after(c.quorum))
			wantEqual(t, "deadline", r.Deadline(), after(c.quorum+time.Hour))
			wantState(t, r, after(c.quorum+time.Hour-1), StateApproved)
			wantState(t, r, after(c.quorum+time.Hour), StateExpired)
		})
	}
}

func TestNobodyRenewsAnApprovalWithoutEnd(t *testing.T) {
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := mustDo(t, newRequest(t, prod(rule("dba", 2, "dbas"))), start, approve(bob), approve(carol))
	// carol says yes again and again, each time in other words, so that it is no mere repetition.
	for at := 50 * time.Minute; ; at += 50 * time.Minute {
		event := approve(carol)
		event.Comment = at.String()
		next, err := do(r, event, after(at))
		if err != nil {
			wantRefusal(t, err, "a request that is expired")
			break
		}
		r = next
		if r.Deadline().After(after(9 * time.Hour)) {
			t.Fatalf("approved at %s, it can be claimed until %s; request_ttl and claim_ttl together are 9h", at, r.Deadline().Sub(start))
		}
	}
	wantState(t, r, after(9*time.Hour), StateExpired)
}

func TestWithdrawingAfterRequestTTLIsTheEnd(t *testing.T) {
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := mustDo(t, newRequest(t, prod(rule("dba", 2, "dbas"))), start, approve(bob))
	r = mustDo(t, r, after(7*time.Hour+50*time.Minute), approve(carol))
	at := after(8*time.Hour + 10*time.Minute)
	wantState(t, r, at, StateApproved)
	r = mustDo(t, r, at, Withdraw{carol})
	wantState(t, r, at, StateExpired)
	_, err := do(r, approve(carol), at)
	wantRefusal(t, err, "a request that is expired")
}

func TestStateCountsApproversWhoAreGone(t *testing.T) {
	// State asks what was decided, not who is still here: that is the claim's verdict.
	bob := standing("bob", "dbas")
	r := mustDo(t, newRequest(t, prod(rule("dba", 1, "dbas"))), start, approve(bob))
	wantState(t, r, start, StateApproved)
	wantObstacle(t, Judge(r, worldOf(r), start), "the approval of bob does not count")
}

func TestActiveEndsWithItsWindowByItself(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(time.Minute)
	r := mustDo(t, quorum, at, claim(world), give(world, after(30*time.Minute)))
	end := after(30 * time.Minute)
	wantEqual(t, "deadline", r.Deadline(), end)
	wantState(t, r, end.Add(-1), StateActive)
	wantEqual(t, "ending before", r.Ending(end.Add(-1)), nil)
	wantState(t, r, end, StateEnded)
	wantEqual(t, "ending", r.Ending(end), &End{At: end, Reason: WindowEnd})
	wantEqual(t, "finished", r.Finished(end), false)
	wantEqual(t, "ending of a request without grant", quorum.Ending(end), nil)
	wantEqual(t, "ending of an expired request without grant", quorum.Ending(after(24*time.Hour)), nil)

	ending := mustDo(t, r, at, LeaseEnded{})
	wantEqual(t, "ending as recorded", ending.Ending(after(time.Hour)), ending.End)
	wantState(t, ending, start, StateEnded)
}

func TestDeadlineThatPassesDuringAClaimLeavesATokenToRevoke(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	r := mustDo(t, quorum, after(time.Hour), claim(world))
	late := after(time.Hour + time.Minute)
	_, err := do(r, give(world, late.Add(time.Minute)), late)
	wantRefusal(t, err, "the request is expired")
	wantEqual(t, "finished", r.Finished(late), false)
	wantEqual(t, "tasks", Next(r, late), []Task{EndHandle{theToken}})
	r = mustDo(t, r, late, Gone{Handle: "token"})
	wantEqual(t, "finished", r.Finished(late), true)
	wantEqual(t, "tasks", Next(r, late), []Task{File{}})
}

func TestRequestIsFiledAwayOnlyWhenNothingIsLeftToDo(t *testing.T) {
	alice := standing("alice")
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(time.Minute)
	claiming := mustDo(t, quorum, at, claim(world))
	active := mustDo(t, claiming, at, give(world, after(30*time.Minute)))
	ending := mustDo(t, active, after(2*time.Minute), LeaseEnded{})
	dave := deny(standing("dave", "dbas"))
	atOnce := time.Unix(1, 0)
	for _, c := range []struct {
		name     string
		request  Request
		now      time.Time
		finished bool
		due      time.Time
		over     time.Time // FinishedAt, where finished
	}{
		{"pending", newRequest(t, prod(rule("dba", 2, "dbas"))), at, false, after(8 * time.Hour), atOnce},
		{"approved", quorum, at, false, after(61 * time.Minute), atOnce},
		{"claiming", claiming, at, false, atOnce, atOnce},
		{"pending, with a token", mustDo(t, claiming, at, Withdraw{standing("bob", "dbas")}), at, false, atOnce, atOnce},
		{"active", active, at, false, after(30 * time.Minute), atOnce},
		{"window over", active, after(30 * time.Minute), false, after(30 * time.Minute), atOnce},
		{"ended, not confirmed", ending, at, false, atOnce, atOnce},
		{"ended, half of it gone", mustDo(t, ending, after(9*time.Minute), Gone{Handle: "token"}), at, false, atOnce, atOnce},
		{"ended, confirmed", mustDo(t, ending, after(9*time.Minute), Gone{Handle: "token"}, Gone{Handle: "lease"}), after(9 * time.Minute), true, atOnce, after(9 * time.Minute)},
		{"expired", quorum, after(61 * time.Minute), true, after(61 * time.Minute), after(61 * time.Minute)},
		{"expired without quorum", newRequest(t, prod(rule("dba", 2, "dbas"))), after(8 * time.Hour), true, after(8 * time.Hour), after(8 * time.Hour)},
		{"expired with a token", claiming, after(61 * time.Minute), false, atOnce, atOnce},
		{"cancelled", mustDo(t, quorum, after(2*time.Minute), Cancel{alice}), after(3 * time.Minute), true, atOnce, after(2 * time.Minute)},
		{"cancelled with a token", mustDo(t, claiming, after(2*time.Minute), Cancel{alice}), after(3 * time.Minute), false, atOnce, atOnce},
		{"cancelled, and the token gone", mustDo(t, claiming, after(2*time.Minute), Cancel{alice}, Gone{Handle: "token"}), after(3 * time.Minute), true, atOnce, after(2 * time.Minute)},
		{"denied", mustDo(t, quorum, after(3*time.Minute), dave), after(4 * time.Minute), true, atOnce, after(3 * time.Minute)},
		{"denied with a token", mustDo(t, claiming, after(3*time.Minute), dave), after(4 * time.Minute), false, atOnce, atOnce},
		{"nothing", Request{}, at, true, atOnce, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantEqual(t, "finished", c.request.Finished(c.now), c.finished)
			listing := c.request.Listing()
			wantEqual(t, "due", listing.Due(c.due), true)
			wantEqual(t, "due before", listing.Due(c.due.Add(-1)), c.due.Equal(atOnce))
			if c.finished {
				wantEqual(t, "finished at", c.request.FinishedAt(), c.over)
			}
		})
	}
	// While its end is not confirmed it is at least not taken for something that was over long ago.
	wantEqual(t, "finished at, without confirmation", ending.FinishedAt(), ending.Grant.Until)
}
