package approval

import (
	"slices"
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
	wantEqual(t, "open states", open, []State{Pending, Approved, Claiming, Active})
	if State("").Open() {
		t.Error("no state is open")
	}
}

func TestPendingExpiresAfterRequestTTL(t *testing.T) {
	r := asked(t, prod(rule("dba", 1, "dbas")))
	wantEqual(t, "deadline", r.Deadline(), after(8*time.Hour))
	wantState(t, r, after(8*time.Hour-1), Pending)
	wantState(t, r, after(8*time.Hour), Expired)
	wantState(t, r, after(9000*time.Hour), Expired)
	_, err := Apply(r, approve(standing("bob", "dbas")), after(8*time.Hour))
	wantRefusal(t, err, "cannot decide on a request that is expired")
}

func TestClaimTTLRunsFromTheQuorum(t *testing.T) {
	bob, carol, dave := standing("bob", "dbas"), standing("carol", "dbas"), standing("dave", "dbas")
	type step struct {
		at    time.Duration
		event Event
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
			r := asked(t, policy)
			for _, step := range c.steps {
				r = applied(t, r, after(step.at), step.event)
			}
			if c.quorum < 0 {
				wantEqual(t, "quorum", r.QuorumAt(), time.Time{})
				wantEqual(t, "deadline", r.Deadline(), after(8*time.Hour))
				wantState(t, r, after(20*time.Minute), Pending)
				return
			}
			wantEqual(t, "quorum", r.QuorumAt(), after(c.quorum))
			wantEqual(t, "deadline", r.Deadline(), after(c.quorum+time.Hour))
			wantState(t, r, after(c.quorum+time.Hour-1), Approved)
			wantState(t, r, after(c.quorum+time.Hour), Expired)
			// However many decisions, in whatever order they are kept.
			slices.Reverse(r.Decisions)
			wantEqual(t, "quorum of the decisions in reverse", r.QuorumAt(), after(c.quorum))
		})
	}
}

func TestNobodyRenewsAnApprovalWithoutEnd(t *testing.T) {
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := applied(t, asked(t, prod(rule("dba", 2, "dbas"))), start, approve(bob), approve(carol))
	// carol says yes again and again, each time in other words, so that it is no mere repetition.
	for at := 50 * time.Minute; ; at += 50 * time.Minute {
		event := approve(carol)
		event.Comment = at.String()
		next, err := Apply(r, event, after(at))
		if err != nil {
			wantRefusal(t, err, "a request that is expired")
			break
		}
		r = next
		if r.Deadline().After(after(9 * time.Hour)) {
			t.Fatalf("approved at %s, it can be claimed until %s; request_ttl and claim_ttl together are 9h", at, r.Deadline().Sub(start))
		}
	}
	wantState(t, r, after(9*time.Hour), Expired)
}

func TestWithdrawingAfterRequestTTLIsTheEnd(t *testing.T) {
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := applied(t, asked(t, prod(rule("dba", 2, "dbas"))), start, approve(bob))
	r = applied(t, r, after(7*time.Hour+50*time.Minute), approve(carol))
	at := after(8*time.Hour + 10*time.Minute)
	wantState(t, r, at, Approved)
	r = applied(t, r, at, Withdraw{carol})
	wantState(t, r, at, Expired)
	_, err := Apply(r, approve(carol), at)
	wantRefusal(t, err, "a request that is expired")
}

func TestDeadApproversQuorumCountsAsItStood(t *testing.T) {
	// State asks what was decided, not who is still here: that is the claim's verdict.
	bob := standing("bob", "dbas")
	r := applied(t, asked(t, prod(rule("dba", 1, "dbas"))), start, approve(bob))
	wantState(t, r, start, Approved)
	wantObstacle(t, r.Claimable(factsOf(r), start), "the approval of bob does not count")
}

func TestActiveEndsWithItsWindowByItself(t *testing.T) {
	quorum, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(time.Minute)
	r := applied(t, quorum, at, StartClaim{person("alice"), facts}, KeepToken{"accessor-1"}, Succeed{grantUntil(after(30 * time.Minute))})
	end := after(30 * time.Minute)
	wantEqual(t, "deadline", r.Deadline(), end)
	wantState(t, r, end.Add(-1), Active)
	wantEqual(t, "ending before", r.Ending(end.Add(-1)), nil)
	wantState(t, r, end, Ended)
	wantEqual(t, "ending", r.Ending(end), &End{At: end, Reason: WindowEnd})
	wantEqual(t, "finished", r.Finished(end), false)
	wantEqual(t, "ending of a request without grant", quorum.Ending(end), nil)
	wantEqual(t, "ending of an expired request without grant", quorum.Ending(after(24*time.Hour)), nil)

	ending := applied(t, r, at, BeginEnd{Reason: LeaseRevoked})
	wantEqual(t, "ending as recorded", ending.Ending(after(time.Hour)), ending.End)
	wantState(t, ending, start, Ended)
}

func TestDeadlinePassedBeforeTheGrantLeavesATokenToRevoke(t *testing.T) {
	quorum, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	r := applied(t, quorum, after(time.Hour), StartClaim{person("alice"), facts}, KeepToken{"accessor-1"})
	late := after(time.Hour + time.Minute)
	_, err := Apply(r, Succeed{grantUntil(late.Add(time.Hour))}, late)
	wantRefusal(t, err, "cannot grant a request that is expired")
	wantEqual(t, "finished", r.Finished(late), false)
	wantEqual(t, "due", r.Due(), late)
	r = applied(t, r, late, AbandonClaim{})
	wantEqual(t, "finished", r.Finished(late), true)
}

func TestFiledAwayOnlyWhenNothingIsLeftToDo(t *testing.T) {
	alice := standing("alice")
	quorum, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(time.Minute)
	claiming := applied(t, quorum, at, StartClaim{person("alice"), facts})
	holding := applied(t, claiming, at, KeepToken{"accessor-1"})
	active := applied(t, holding, at, Succeed{grantUntil(after(30 * time.Minute))})
	ending := applied(t, active, after(2*time.Minute), BeginEnd{Reason: LeaseRevoked})
	denied := applied(t, quorum, after(3*time.Minute), deny(standing("dave", "dbas")))
	for _, c := range []struct {
		name     string
		request  Request
		now      time.Time
		finished bool
		due      time.Time
		over     time.Time // FinishedAt, where finished
	}{
		{"pending", asked(t, prod(rule("dba", 2, "dbas"))), at, false, after(8 * time.Hour), time.Time{}},
		{"approved", quorum, at, false, after(61 * time.Minute), time.Time{}},
		{"claiming", holding, at, false, after(61 * time.Minute), time.Time{}},
		{"active", active, at, false, after(30 * time.Minute), time.Time{}},
		{"window over", active, after(30 * time.Minute), false, after(30 * time.Minute), time.Time{}},
		{"ended, not confirmed", ending, at, false, time.Time{}, time.Time{}},
		{"ended, confirmed", applied(t, ending, after(9*time.Minute), ConfirmEnd{}), after(9 * time.Minute), true, time.Time{}, after(9 * time.Minute)},
		{"expired", quorum, after(61 * time.Minute), true, after(61 * time.Minute), after(61 * time.Minute)},
		{"expired without quorum", asked(t, prod(rule("dba", 2, "dbas"))), after(8 * time.Hour), true, after(8 * time.Hour), after(8 * time.Hour)},
		{"expired with a token", holding, after(61 * time.Minute), false, after(61 * time.Minute), time.Time{}},
		{"cancelled", applied(t, quorum, after(2*time.Minute), Cancel{alice}), after(3 * time.Minute), true, time.Time{}, after(2 * time.Minute)},
		{"cancelled while claiming", applied(t, claiming, after(2*time.Minute), Cancel{alice}), after(3 * time.Minute), true, time.Time{}, after(2 * time.Minute)},
		{"cancelled with a token", applied(t, holding, after(2*time.Minute), Cancel{alice}), after(3 * time.Minute), false, time.Time{}, time.Time{}},
		{"denied", denied, after(4 * time.Minute), true, time.Time{}, after(3 * time.Minute)},
		{"denied with a token", applied(t, holding, after(3*time.Minute), deny(standing("dave", "dbas"))), after(4 * time.Minute), false, time.Time{}, time.Time{}},
		{"nothing", Request{}, at, true, time.Time{}, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantEqual(t, "finished", c.request.Finished(c.now), c.finished)
			wantEqual(t, "due", c.request.Due(), c.due)
			if c.finished {
				wantEqual(t, "finished at", c.request.FinishedAt(), c.over)
			}
		})
	}
	// While its end is not confirmed it is at least not taken for something that was over long ago.
	wantEqual(t, "finished at, without confirmation", ending.FinishedAt(), ending.Grant.ExpiresAt)
	// A denial from before does not make a grant that came about look denied.
	strange := active
	strange.Decisions = append(slices.Clone(active.Decisions), decided(standing("dave", "dbas"), Deny, at))
	wantState(t, strange, at, Active)
	wantEqual(t, "due", strange.Due(), after(30*time.Minute))
	wantEqual(t, "finished at", strange.FinishedAt(), after(30*time.Minute))
	// The order in which decisions are kept does not matter for when it was over.
	slices.Reverse(denied.Decisions)
	wantEqual(t, "finished at", denied.FinishedAt(), after(3*time.Minute))
}
