package approval

import (
	"slices"
	"time"
)

// Listing is what is kept in memory of an open request: few bytes, from which it answers by itself what lists and the
// periodic work ask. The zero Listing concerns nobody.
type Listing struct {
	// Requester is the entity id of who asked, Role what was asked for.
	Requester, Role string
	// Groups are the approver groups of the frozen policy, Deciders the entity ids of whose decision stands.
	Groups, Deciders []string

	phase State
	// Unix nanoseconds: the deadline, until when the periodic work has nothing to do in any case, the next try of something,
	// and the last one, which another clock may have dated into the future.
	deadline, idle, next, tried int64
	holding, self, unreadable   bool
}

// Listing is what is kept in memory of the request.
func (r Request) Listing() Listing {
	l := Listing{
		Requester: r.Ask.Requester.EntityID, Role: r.Ask.Role, Groups: r.Ask.Policy.Groups(),
		phase: r.phase(), deadline: nanoseconds(r.Deadline()), idle: nanoseconds(r.idleUntil()),
		holding: r.Holding(), self: r.Ask.Policy.AllowSelfApproval,
	}
	for _, d := range r.Decisions {
		l.Deciders = append(l.Deciders, d.Approver.EntityID)
	}
	for i, handle := range r.Handles() {
		attempt := r.Attempts[handle.Key()]
		if next := nanoseconds(attempt.Next); i == 0 || next < l.next {
			l.next = next
		}
		l.tried = max(l.tried, nanoseconds(attempt.At))
	}
	return l
}

// nanoseconds is a time as a listing keeps it; what is at no time is at once.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// UnreadableListing stands for a record that is there and not understood. As it may be that of a live grant, something
// is held by it, and it is always due, so that the periodic work reports it. It is shown to nobody.
func UnreadableListing() Listing { return Listing{phase: StateEnded, holding: true, unreadable: true} }

// Unreadable reports whether the record is there and not understood.
func (l Listing) Unreadable() bool { return l.unreadable }

// State is the request's state at the given time.
func (l Listing) State(now time.Time) State { return l.phase.at(time.Unix(0, l.deadline), now) }

// Due reports whether the periodic work has something to do about the request.
func (l Listing) Due(now time.Time) bool {
	at := now.UnixNano()
	return at >= l.idle && (at >= l.next || at < l.tried)
}

// Holding reports whether something may exist that has to be ended.
func (l Listing) Holding() bool { return l.holding }

// Waiting reports whether the request counts towards what its requester may have waiting.
func (l Listing) Waiting(now time.Time) bool { return l.State(now).Undecided() }

// Concerns reports whether somebody may see the request: its requester, whoever can decide on it or has, and auditors.
func (l Listing) Concerns(who Standing, auditor bool) bool {
	if who.problem() != "" || l.unreadable {
		return false
	}
	return auditor || who.EntityID == l.Requester || shareAny(l.Groups, who.Groups) ||
		slices.Contains(l.Deciders, who.EntityID) // to take it back
}

// Awaits reports whether the request may be in somebody's inbox; [Request.Decidable] decides.
func (l Listing) Awaits(who Standing, now time.Time) bool {
	state := l.State(now)
	return (state == StatePending || state == StateApproved) && shareAny(l.Groups, who.Groups) &&
		(l.self || who.EntityID != l.Requester) && !slices.Contains(l.Deciders, who.EntityID)
}

func shareAny(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// MaySee reports whether somebody may see the request: its requester, whoever can decide on it or has, and auditors.
func (r Request) MaySee(who Standing, auditor bool) bool { return r.Listing().Concerns(who, auditor) }
