package approval

import "time"

// State is what a request's events amount to at a moment. It is computed, never stored.
type State string

const (
	StatePending   State = "pending"
	StateApproved  State = "approved"
	StateDenied    State = "denied"
	StateCancelled State = "cancelled"
	StateExpired   State = "expired"
	// StateClaiming is an approved request with a claim that has not produced a grant: under way, dead half-way, or failed
	// with something left that has not ended.
	StateClaiming State = "claiming"
	StateActive   State = "active"
	StateEnded    State = "ended"
)

// States lists every state, in the order of a request's life.
func States() []State {
	return []State{StatePending, StateApproved, StateClaiming, StateActive, StateDenied, StateCancelled, StateExpired, StateEnded}
}

// Open reports whether the state can still change by anybody's doing.
func (s State) Open() bool {
	return s == StatePending || s == StateApproved || s == StateClaiming || s == StateActive
}

// Undecided reports whether a request in this state still takes decisions, and depends on who is an approver now:
// until a claim has granted, and not after a final end.
func (s State) Undecided() bool { return s == StatePending || s == StateApproved || s == StateClaiming }

// at is the state when the deadline may have passed.
func (s State) at(deadline, now time.Time) State {
	switch {
	case !s.Open() || now.Before(deadline):
		return s
	case s == StateActive:
		return StateEnded
	}
	return StateExpired
}

// State is the request's state at the given time.
func (r Request) State(now time.Time) State { return r.phase().at(r.Deadline(), now) }

// phase is the state without regard to the time.
func (r Request) phase() State {
	switch {
	case r.End != nil:
		return StateEnded
	case r.Grant != nil:
		return StateActive
	case !r.CancelledAt.IsZero():
		return StateCancelled
	case r.Counted.Denied:
		return StateDenied
	case r.QuorumAt.IsZero():
		return StatePending
	case r.Holding():
		return StateClaiming
	}
	return StateApproved
}

// Deadline is when the request expires unless something happens: the quorum for a pending one, the claim for an
// approved one, the end of the window for an active one.
func (r Request) Deadline() time.Time {
	if r.Grant != nil {
		return r.Grant.Until
	}
	deadline := r.Ask.At.Add(r.Ask.Policy.RequestTTL)
	if r.QuorumAt.IsZero() {
		return deadline
	}
	// An approver who approves anew, in other words, makes the quorum younger; but not so that it came after request_ttl.
	if r.QuorumAt.Before(deadline) {
		deadline = r.QuorumAt
	}
	return deadline.Add(r.Ask.Policy.ClaimTTL)
}

// Ending is how the grant ended as of now, recorded or not: a window that has passed is an end by itself. Nil while there is none.
func (r Request) Ending(now time.Time) *End {
	if r.End == nil && r.Grant != nil && !now.Before(r.Grant.Until) {
		return &End{At: r.Grant.Until, Reason: WindowEnd}
	}
	return r.End
}

// Holding reports whether something may exist that has to be ended: what a grant consists of, or the token of a claim.
func (r Request) Holding() bool {
	return len(r.Handles()) > 0
}

// Finished reports whether nothing will ever be done about the request again, so that it can be filed away.
func (r Request) Finished(now time.Time) bool {
	return !r.State(now).Open() && !r.Holding() && (r.Grant == nil || r.End != nil)
}

// FinishedAt is when the request's life was over, for its retention.
func (r Request) FinishedAt() time.Time {
	switch {
	case r.End != nil && r.End.Confirmed():
		return r.End.ConfirmedAt
	case !r.CancelledAt.IsZero():
		return r.CancelledAt
	case r.Grant == nil && r.Counted.Denied && len(r.Decisions) > 0:
		return r.Decisions[len(r.Decisions)-1].At
	}
	return r.Deadline()
}
