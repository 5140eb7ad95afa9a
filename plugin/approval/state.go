package approval

import (
	"slices"
	"time"
)

// State is what a request's facts amount to at a moment. It is computed, never stored.
type State string

const (
	Pending   State = "pending"
	Approved  State = "approved"
	Denied    State = "denied"
	Cancelled State = "cancelled"
	Expired   State = "expired"
	// Claiming is an approved request with a claim that has not produced a grant: under way, or dead half-way.
	Claiming State = "claiming"
	Active   State = "active"
	Ended    State = "ended"
)

// States lists every state, in the order of a request's life.
func States() []State {
	return []State{Pending, Approved, Claiming, Active, Denied, Cancelled, Expired, Ended}
}

// Open reports whether the state can still change by anybody's doing.
func (s State) Open() bool { return s == Pending || s == Approved || s == Claiming || s == Active }

// State is the request's state at the given time.
func (r Request) State(now time.Time) State {
	switch {
	case r.End != nil:
		return Ended
	case r.Grant != nil:
		if now.Before(r.Grant.ExpiresAt) {
			return Active
		}
		return Ended
	case r.Cancelled != nil:
		return Cancelled
	case r.Counted().Denied:
		return Denied
	case !now.Before(r.Deadline()):
		return Expired
	case r.QuorumAt().IsZero():
		return Pending
	case r.Claim != nil:
		return Claiming
	}
	return Approved
}

// Counted is the verdict that stood when the decisions were made: who was in which group then, under the frozen policy.
func (r Request) Counted() Verdict { return r.counted(r.Decisions) }

func (r Request) counted(decisions []Decision) Verdict {
	roster := Roster{}
	for _, d := range decisions {
		roster[d.Approver.EntityID] = Standing{Person: d.Approver, Exists: true, Groups: d.Groups}
	}
	return Evaluate(r.Ask.Policy, r.Ask.Requester, decisions, roster)
}

// QuorumAt is when the quorum that stands came to stand; zero while there is none.
func (r Request) QuorumAt() time.Time {
	inOrder := slices.SortedStableFunc(slices.Values(r.Decisions), func(a, b Decision) int { return a.At.Compare(b.At) })
	var at time.Time
	for n := len(inOrder); n > 0 && r.counted(inOrder[:n]).Quorum; n-- {
		at = inOrder[n-1].At
	}
	return at
}

// Deadline is when the request expires unless something happens: the quorum for a pending one, the claim for an
// approved one, the end of the window for an active one.
func (r Request) Deadline() time.Time {
	if r.Grant != nil {
		return r.Grant.ExpiresAt
	}
	deadline := r.Ask.At.Add(r.Ask.Policy.RequestTTL)
	if quorum := r.QuorumAt(); quorum.IsZero() {
		return deadline
	} else if quorum.Before(deadline) {
		deadline = quorum
	}
	// An approver who approves anew, in other words, makes the quorum younger; but not so that it came after request_ttl.
	return deadline.Add(r.Ask.Policy.ClaimTTL)
}

// Ending is how the grant ended as of now, recorded or not: a window that has passed is an end by itself. Nil while there is none.
func (r Request) Ending(now time.Time) *End {
	if r.End != nil {
		return r.End
	}
	if r.State(now) == Ended {
		return &End{At: r.Grant.ExpiresAt, Reason: WindowEnd}
	}
	return nil
}

// Leftover is the accessor of a grant token that a dead claim left behind; "" if there is none.
func (r Request) Leftover() string {
	if r.Grant == nil && r.Claim != nil {
		return r.Claim.Accessor
	}
	return ""
}

// Finished reports whether nothing will ever be done about the request again, so that it can be filed away.
func (r Request) Finished(now time.Time) bool {
	if r.State(now).Open() || r.Leftover() != "" {
		return false
	}
	return r.Grant == nil || (r.End != nil && r.End.Confirmed())
}

// Due is when the periodic work has to look at the request next: the zero time means at once.
func (r Request) Due() time.Time {
	if r.End != nil || r.Cancelled != nil || (r.Grant == nil && r.Counted().Denied) {
		return time.Time{}
	}
	return r.Deadline()
}

// FinishedAt is when the request's life was over, for its retention.
func (r Request) FinishedAt() time.Time {
	switch {
	case r.End != nil && r.End.Confirmed():
		return r.End.ConfirmedAt
	case r.Cancelled != nil:
		return r.Cancelled.At
	case r.Grant == nil && r.Counted().Denied:
		last := r.Ask.At
		for _, d := range r.Decisions {
			if d.At.After(last) {
				last = d.At
			}
		}
		return last
	}
	return r.Deadline()
}
