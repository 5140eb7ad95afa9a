package approval

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Event is something that happens to a request. The cases are the types in this file.
//
//sumtype:decl
type Event interface{ event() }

// Decide is an approver's word. Standings are as of now.
type Decide struct {
	Approver, Requester Standing
	Verdict             DecisionVerdict
	Comment             string
}

// Withdraw takes the approver's own decision back.
type Withdraw struct{ Approver Standing }

// Cancel is the requester's end of a request that was not granted.
type Cancel struct{ Requester Standing }

// StartClaim begins to make the grant for the one who claims it; the facts say whether it may be made.
type StartClaim struct {
	Claimer Person
	Facts   ClaimFacts
}

// KeepToken notes the accessor of the grant token before anything is made with it.
type KeepToken struct{ Accessor string }

// AbandonClaim notes that nothing is left of a claim that failed.
type AbandonClaim struct{}

// Succeed notes the grant that the claim produced.
type Succeed struct{ Grant Grant }

// BeginEnd notes that the grant ends, before anything is revoked. By is nil where Vault did it.
type BeginEnd struct {
	Reason EndReason
	By     *Person
}

// ConfirmEnd notes that nothing of the grant is left.
type ConfirmEnd struct{}

// FailEnd notes what stood in the way of the end.
type FailEnd struct{ Problem string }

func (Decide) event()       {}
func (Withdraw) event()     {}
func (Cancel) event()       {}
func (StartClaim) event()   {}
func (KeepToken) event()    {}
func (AbandonClaim) event() {}
func (Succeed) event()      {}
func (BeginEnd) event()     {}
func (ConfirmEnd) event()   {}
func (FailEnd) event()      {}

// Apply returns the request with the event added, or the reason why it is refused, in words for whoever caused it.
// The request given is not changed.
func Apply(r Request, event Event, now time.Time) (Request, error) {
	now = now.UTC().Round(0)
	switch event := event.(type) {
	case Decide:
		return r.decide(event, now)
	case Withdraw:
		return r.withdraw(event, now)
	case Cancel:
		return r.cancel(event, now)
	case StartClaim:
		if err := r.MayClaim(event.Claimer, event.Facts, now); err != nil {
			return r, err
		}
		if r.Leftover() != "" {
			return r, errors.New("what an earlier claim left behind has to be revoked first")
		}
		r.Claim = &Claim{At: now}
		return r, nil
	case KeepToken:
		if r.State(now) != Claiming || r.Leftover() != "" || event.Accessor == "" {
			return r, r.refuse("keep a grant token of", now)
		}
		r.Claim = &Claim{At: r.Claim.At, Accessor: event.Accessor}
		return r, nil
	case AbandonClaim:
		if r.Claim == nil || r.Grant != nil {
			return r, r.refuse("abandon the claim of", now)
		}
		r.Claim = nil
		return r, nil
	case Succeed:
		if r.State(now) != Claiming || r.Leftover() == "" || r.Leftover() != event.Grant.Accessor ||
			!now.Before(event.Grant.ExpiresAt) || event.Grant.ExpiresAt.After(now.Add(r.Ask.TTL)) {
			return r, r.refuse("grant", now)
		}
		r.Grant = &event.Grant
		return r, nil
	case BeginEnd:
		return r.beginEnd(event, now)
	case ConfirmEnd:
		if r.End == nil || r.End.Confirmed() {
			return r, r.refuse("confirm the end of", now)
		}
		end := *r.End
		end.ConfirmedAt, end.LastError = now, ""
		r.End = &end
		return r, nil
	case FailEnd:
		if r.End == nil || r.End.Confirmed() {
			return r, r.refuse("note a failed end of", now)
		}
		end := *r.End
		end.LastError = event.Problem
		r.End = &end
		return r, nil
	}
	return r, fmt.Errorf("%T is no event of a request", event)
}

func (r Request) refuse(what string, now time.Time) error {
	return fmt.Errorf("cannot %s a request that is %s", what, r.State(now))
}

// undecided reports whether decisions are still accepted: until the claim has produced a grant, and not after a final end.
func (r Request) undecided(now time.Time) bool {
	state := r.State(now)
	return state == Pending || state == Approved || state == Claiming
}

func (r Request) decide(event Decide, now time.Time) (Request, error) {
	if err := r.mayDecide(event.Approver, event.Requester); err != nil {
		return r, err
	}
	if !r.undecided(now) {
		return r, r.refuse("decide on", now)
	}
	if event.Verdict != Approve && event.Verdict != Deny {
		return r, fmt.Errorf("%q is neither %q nor %q", string(event.Verdict), string(Approve), string(Deny))
	}
	if problem := event.Requester.problem(); problem != "" && event.Verdict == Approve {
		return r, fmt.Errorf("the requester %s", problem)
	}
	if err := checkText(event.Comment); err != nil {
		return r, fmt.Errorf("comment: %w", err)
	}
	decision := Decision{
		Approver: event.Approver.Person,
		Groups:   slices.DeleteFunc(r.Ask.Policy.Groups(), func(g string) bool { return !slices.Contains(event.Approver.Groups, g) }),
		Verdict:  event.Verdict,
		Comment:  event.Comment,
		At:       now,
	}
	if slices.ContainsFunc(r.Decisions, decision.repeats) {
		// A repetition must not move the time from which claim_ttl runs.
		return r, nil
	}
	r.Decisions = append(r.decisionsOfOthers(decision.Approver), decision)
	return r, nil
}

// decisionsOfOthers is a copy of the decisions without those of one person, under whatever entities they were made.
func (r Request) decisionsOfOthers(person Person) []Decision {
	return slices.DeleteFunc(slices.Clone(r.Decisions), func(d Decision) bool { return samePerson(d.Approver, person) })
}

func (d Decision) repeats(other Decision) bool {
	return d.Approver.EntityID == other.Approver.EntityID && slices.Equal(d.Approver.Aliases, other.Approver.Aliases) &&
		d.Verdict == other.Verdict && d.Comment == other.Comment && slices.Equal(d.Groups, other.Groups)
}

func (r Request) withdraw(event Withdraw, now time.Time) (Request, error) {
	if problem := event.Approver.problem(); problem != "" {
		return r, fmt.Errorf("your entity %s", problem)
	}
	others := r.decisionsOfOthers(event.Approver.Person)
	if len(others) == len(r.Decisions) {
		return r, errors.New("you have no decision on this request to withdraw")
	}
	if !r.undecided(now) {
		return r, r.refuse("withdraw a decision on", now)
	}
	r.Decisions = others
	return r, nil
}

func (r Request) cancel(event Cancel, now time.Time) (Request, error) {
	if event.Requester.EntityID != r.Ask.Requester.EntityID {
		return r, errors.New("only its requester can cancel a request; deny it instead")
	}
	if problem := event.Requester.problem(); problem != "" {
		return r, fmt.Errorf("your entity %s", problem)
	}
	if r.State(now) == Active {
		return r, errors.New("the request is active; end it with jit/revoke")
	}
	if !r.undecided(now) {
		return r, r.refuse("cancel", now)
	}
	r.Cancelled = &Cancellation{At: now}
	return r, nil
}

// windowSlack is how early a lease may end and still count as ended by its window: leases are whole seconds.
const windowSlack = 2 * time.Second

func (r Request) beginEnd(event BeginEnd, now time.Time) (Request, error) {
	if r.Grant == nil || r.End != nil {
		return r, r.refuse("end", now)
	}
	end := End{At: now, Reason: event.Reason, By: event.By}
	if event.By == nil && !now.Before(r.Grant.ExpiresAt.Add(-windowSlack)) || !now.Before(r.Grant.ExpiresAt) {
		end.Reason, end.By = WindowEnd, nil
	}
	if now.After(r.Grant.ExpiresAt) {
		end.At = r.Grant.ExpiresAt
	}
	if end.Reason != WindowEnd && end.Reason != Revoked && end.Reason != LeaseRevoked || (end.Reason == Revoked) != (end.By != nil) {
		return r, fmt.Errorf("%q is no reason for this end", string(end.Reason))
	}
	r.End = &end
	return r, nil
}
