package approval

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
)

// mayDecide says why somebody can not decide on the request, or nil.
func (r Request) mayDecide(approver, requester Standing) error {
	if problem := approver.problem(); problem != "" {
		return refusal.New("", "your entity "+problem, "")
	}
	if len(r.Ask.Policy.eligible(approver.Groups)) == 0 {
		return refusal.Newf("", "you are in none of the approver groups of policy %q", r.Ask.Policy.Name)
	}
	if !r.Ask.Policy.AllowSelfApproval &&
		(isSamePerson(approver.Person, r.Ask.Requester) || isSamePerson(approver.Person, requester.Person)) {
		return refusal.New("", "you made this request, and its policy does not count its requester", "cancel it if it is not needed")
	}
	return nil
}

// Decidable reports whether somebody can usefully decide on the request now: what an inbox holds.
func (r Request) Decidable(approver, requester Standing, now time.Time) bool {
	return r.Listing().Awaits(approver, now) && requester.problem() == "" && r.mayDecide(approver, requester) == nil &&
		!r.hasWordOf(approver.Person, Approve, Deny)
}

// hasWordOf reports whether one of these verdicts of a person stands, under whatever entity it was given.
func (r Request) hasWordOf(person Person, verdicts ...DecisionVerdict) bool {
	return slices.ContainsFunc(r.Decisions, func(d Decision) bool {
		return slices.Contains(verdicts, d.Verdict) && isSamePerson(d.Approver, person)
	})
}

func (r Request) decide(c Decide, now time.Time) ([]Event, error) {
	if err := cmp.Or(r.mayDecide(c.Approver, c.Requester), r.checkUndecided("decide on", now)); err != nil {
		return nil, err
	}
	if c.Verdict != Approve && c.Verdict != Deny {
		return nil, refusal.Newf("", "%q is neither %q nor %q", string(c.Verdict), string(Approve), string(Deny))
	}
	if problem := c.Requester.problem(); problem != "" && c.Verdict == Approve {
		return nil, refusal.New("", "the requester "+problem, "")
	}
	if err := text.CheckProse(c.Comment); err != nil {
		return nil, refusal.In("comment", err)
	}
	decided := Decided{
		Stamp:   stampOf(c.Approver, now),
		Verdict: c.Verdict,
		Comment: c.Comment,
		Groups:  slices.DeleteFunc(r.Ask.Policy.Groups(), func(g string) bool { return !slices.Contains(c.Approver.Groups, g) }),
	}
	if slices.ContainsFunc(r.Decisions, decided.repeats) {
		// A repetition must not move the time from which claim_ttl runs.
		return nil, nil
	}
	// A denial of whoever does not deny yet always has room.
	if c.Verdict != Deny || r.hasWordOf(c.Approver.Person, Deny) {
		if err := r.checkRoomForAWordOf(c.Approver.Person); err != nil {
			return nil, err
		}
	}
	return []Event{decided}, nil
}

func stampOf(who Standing, now time.Time) Stamp { return Stamp{At: now, By: &who.Person} }

func (d Decided) repeats(other Decision) bool {
	return d.By.EntityID == other.Approver.EntityID && slices.Equal(d.By.Aliases, other.Approver.Aliases) &&
		d.Verdict == other.Verdict && d.Comment == other.Comment && slices.Equal(d.Groups, other.Groups)
}

// checkUndecided refuses to change who decided what once that is final. What a running claim makes and nobody can take
// back must not be stopped half-way either.
func (r Request) checkUndecided(what string, now time.Time) error {
	if !r.State(now).Undecided() {
		return r.refuse(what, now)
	}
	if r.Claim != nil && r.Ask.Grant.CannotBeUndone() {
		return refusal.Newf("", "cannot %s the request now: it is being run, and what it gives cannot be taken back", what)
	}
	return nil
}

// checkRoomForAWordOf refuses words without end.
func (r Request) checkRoomForAWordOf(person Person) error {
	words := 0
	for _, event := range r.Events {
		_, decided := event.(Decided)
		_, withdrew := event.(Withdrew)
		if (decided || withdrew) && isSamePerson(*event.stamp().By, person) {
			words++
		}
	}
	if words >= MaxDecisionsAPerson {
		return refusal.Newf("", "you have decided and withdrawn %d times on this request, which is as often as one person may", words)
	}
	return r.checkRoom(1)
}

// checkRoom refuses what adds to a full record and ends nothing. The room that a claim under way needs is taken.
func (r Request) checkRoom(events int) error {
	if r.Claim != nil {
		events += eventsOfAClaim
	}
	if len(r.Events)+events <= MaxEvents {
		return nil
	}
	return refusal.New("", fmt.Sprintf("this request is full: it has %d events, and accepts at most %d", len(r.Events), MaxEvents),
		"only what ends it is still accepted: a denial, its cancellation, and the end of its grant")
}

func (r Request) withdraw(c Withdraw, now time.Time) ([]Event, error) {
	if problem := c.Approver.problem(); problem != "" {
		return nil, refusal.New("", "your entity "+problem, "")
	}
	if !r.hasWordOf(c.Approver.Person, Approve, Deny) {
		return nil, refusal.New("", "you have no decision on this request to withdraw", "")
	}
	if err := cmp.Or(r.checkUndecided("withdraw a decision on", now), r.checkRoomForAWordOf(c.Approver.Person)); err != nil {
		return nil, err
	}
	return []Event{Withdrew{stampOf(c.Approver, now)}}, nil
}

func (r Request) cancel(c Cancel, now time.Time) ([]Event, error) {
	if c.Requester.EntityID != r.Ask.Requester.EntityID {
		return nil, refusal.New("", "only its requester can cancel a request", "deny it instead")
	}
	if problem := c.Requester.problem(); problem != "" {
		return nil, refusal.New("", "your entity "+problem, "")
	}
	if r.State(now) == StateActive {
		return nil, refusal.New("", "the request is active", "end it with jit/revoke")
	}
	if err := r.checkUndecided("cancel", now); err != nil {
		return nil, err
	}
	return []Event{Cancelled{stampOf(c.Requester, now)}}, nil
}
