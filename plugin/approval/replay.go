package approval

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// Replay computes what a record amounts to. It refuses one that is damaged: an ask that is not the one that was made, or
// events in an order in which nothing happens.
func Replay(record Record) (Request, error) {
	if record.V != RecordVersion {
		return Request{}, fmt.Errorf("it has version %d, this release knows %d", record.V, RecordVersion)
	}
	if record.Digest == "" || digestOf(record.Asked) != record.Digest {
		return Request{}, errors.New("its digest does not match what was asked")
	}
	ask, err := grant.DecodeStrictly[Ask](record.Asked)
	if err != nil {
		return Request{}, fmt.Errorf("what was asked: %w", err)
	}
	if ask.ID != record.ID {
		return Request{}, fmt.Errorf("it holds the ask of request %q", ask.ID)
	}
	r := Request{Record: record, Ask: ask}
	r.Events, r.Attempts = nil, nil
	if r, err = r.With(record.Events...); err != nil {
		return Request{}, err
	}
	for _, handle := range r.Handles() {
		if attempt, failed := record.Attempts[handle.Key()]; failed {
			r = r.withAttempt(handle.Key(), attempt)
		}
	}
	return r, nil
}

// With is the request with more events; the request given is not changed. It counts the quorum again only if a decision
// is among them.
func (r Request) With(events ...Event) (Request, error) {
	r.Events = slices.Clip(r.Events)
	r.Decisions, r.Held, r.Attempts = slices.Clone(r.Decisions), slices.Clone(r.Held), maps.Clone(r.Attempts)
	for _, event := range events {
		if event == nil {
			return Request{}, errors.New("an event is nothing")
		}
		after, err := add(r, event)
		if err != nil {
			return Request{}, fmt.Errorf("event %d, %s: %w", len(r.Events), event.kind(), err)
		}
		r = after
		r.Events = append(r.Events, event)
	}
	if r.Counted.Rules == nil { // never counted, or no longer
		r = recount(r)
	}
	return r, nil
}

var errOutOfOrder = errors.New("nothing before it leads there")

// add lets one event happen. The order of events was decided by [Do]; here only what cannot be is refused.
func add(r Request, event Event) (Request, error) {
	if event.stamp().At.IsZero() {
		return r, errors.New("it has no time")
	}
	open := r.Grant == nil && r.CancelledAt.IsZero()
	switch event := event.(type) {
	case Decided:
		if event.By == nil || !open || (event.Verdict != Approve && event.Verdict != Deny) {
			return r, errOutOfOrder
		}
		r.Decisions = append(r.decisionsOfOthers(*event.By), Decision{
			Approver: *event.By, Groups: event.Groups, Verdict: event.Verdict, Comment: event.Comment, At: event.At,
		})
		r.Counted = Tally{}
	case Withdrew:
		if event.By == nil || !open {
			return r, errOutOfOrder
		}
		r.Decisions = r.decisionsOfOthers(*event.By)
		r.Counted = Tally{}
	case Cancelled:
		if !open {
			return r, errOutOfOrder
		}
		r.CancelledAt = event.At
	case ClaimBegan:
		if r.Holding() || !open || event.Token.Accessor == "" {
			return r, errOutOfOrder
		}
		r.Claim, r.Held = &event, []Held{{Handle: event.Token}}
	case ClaimEnded:
		if r.Claim == nil || !areDistinct(event.Left) {
			return r, errOutOfOrder
		}
		r.Claim, r.Held, r.Attempts = nil, hold(event.Left), nil
	case Granted:
		if r.Claim == nil || !open || !isGrantOf(event.Handles, r.Claim.Token) {
			return r, errOutOfOrder
		}
		r.Grant = &Grant{ClaimedAt: r.Claim.At, Until: event.Until}
		r.Claim, r.Held, r.Attempts = nil, hold(event.Handles), nil
	case EndBegan:
		if r.Grant == nil || r.End != nil || !slices.Contains(endReasons, event.Reason) {
			return r, errOutOfOrder
		}
		r.End = &End{At: event.At, Reason: event.Reason, By: event.By}
	case Ended:
		i := slices.IndexFunc(r.Held, func(h Held) bool { return h.Handle.Key() == event.Handle })
		if r.Claim != nil || (r.Grant != nil && r.End == nil) || i < 0 || !r.Held[i].Gone.IsZero() {
			return r, errOutOfOrder
		}
		r.Held[i].Gone = event.At
		delete(r.Attempts, event.Handle)
	default:
		return r, errors.New("it is no event of a request")
	}
	return finishEnd(r), nil
}

// isGrantOf reports whether handles are what a claim with this token can have made.
func isGrantOf(handles grant.Handles, token grant.Token) bool {
	return areDistinct(handles) && handles.Find(token.Key()) == token
}

// areDistinct reports whether there is at most one handle of each kind.
func areDistinct(handles grant.Handles) bool {
	for i, h := range handles {
		if handles[:i].Find(h.Key()) != nil {
			return false
		}
	}
	return true
}

func hold(handles grant.Handles) []Held {
	var held []Held
	for _, handle := range handles {
		held = append(held, Held{Handle: handle})
	}
	return held
}

// finishEnd keeps what is said of the end in step with what is held.
func finishEnd(r Request) Request {
	if r.End == nil {
		return r
	}
	end := *r.End
	end.LastError = r.Problem()
	if !r.Holding() {
		end.ConfirmedAt = r.Grant.ClaimedAt
		for _, held := range r.Held {
			if held.Gone.After(end.ConfirmedAt) {
				end.ConfirmedAt = held.Gone
			}
		}
	}
	r.End = &end
	return r
}

// recount counts what stood when the decisions were made: who was in which group then, under the frozen policy.
func recount(r Request) Request {
	r.Counted = r.countFrozen(r.Decisions)
	r.QuorumAt = time.Time{}
	// The quorum stands since the decision without which it did not.
	stood := r.Counted.Quorum
	for n := len(r.Decisions); n > 0 && stood; n-- {
		r.QuorumAt = r.Decisions[n-1].At
		stood = r.countFrozen(r.Decisions[:n-1]).Quorum
	}
	return r
}

func (r Request) countFrozen(decisions []Decision) Tally {
	roster := Roster{}
	for _, d := range decisions {
		roster[d.Approver.EntityID] = Standing{Person: d.Approver, Exists: true, Groups: d.Groups}
	}
	return Count(r.Ask.Policy, r.Ask.Requester, decisions, roster)
}

// decisionsOfOthers are the decisions without those of one person, under whatever entities they were made.
func (r Request) decisionsOfOthers(person Person) []Decision {
	return slices.DeleteFunc(slices.Clone(r.Decisions), func(d Decision) bool { return isSamePerson(d.Approver, person) })
}
