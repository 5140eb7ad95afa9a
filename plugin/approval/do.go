package approval

import (
	"fmt"
	"strings"
	"time"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// Bounds on what one request may hold. Past MaxEvents only what ends something is accepted.
const (
	MaxEvents           = 256
	MaxDecisionsAPerson = 16
	MaxClaims           = 32
	// eventsOfAClaim has room for its beginning, the grant, its end, and the end of each handle: one of each of four kinds
	// at most.
	eventsOfAClaim = 2 + 2*4
)

// Do answers with the events that a command gives, none where what it wants is so already. Otherwise the error is a
// refusal, in words for whoever wants it. The request given is not changed.
func Do(r Request, c Command, now time.Time) ([]Event, error) {
	now = now.UTC().Round(0)
	switch c := c.(type) {
	case Decide:
		return r.decide(c, now)
	case Withdraw:
		return r.withdraw(c, now)
	case Cancel:
		return r.cancel(c, now)
	case BeginClaim:
		return r.beginClaim(c, now)
	case GiveGrant:
		return r.giveGrant(c, now)
	case AbortClaim:
		return r.abortClaim(c, now)
	case Revoke:
		return r.revoke(c, now)
	case LeaseEnded:
		return r.endLease(now)
	case Gone:
		return r.loseHandle(c, now)
	}
	return nil, refusal.Newf("", "%T is no command for a request", c)
}

func (r Request) refuse(what string, now time.Time) error {
	return refusal.Newf("", "cannot %s a request that is %s", what, r.State(now))
}

// MayClaim says why somebody cannot claim the request now, or nil.
func MayClaim(r Request, claimer Standing, v Verdict) error {
	if problem := claimer.problem(); problem != "" {
		return refusal.New("", "your entity "+problem, "")
	}
	if claimer.EntityID != r.Ask.Requester.EntityID {
		return refusal.New("", "only its requester can claim a request", "")
	}
	if !v.Claimable {
		return refusal.New("", strings.Join(v.Obstacles, "; "), "")
	}
	return r.checkRoomToClaim()
}

// checkRoomToClaim refuses a claim whose end might not fit into the record.
func (r Request) checkRoomToClaim() error {
	claims := 0
	for _, event := range r.Events {
		if _, began := event.(ClaimBegan); began {
			claims++
		}
	}
	if claims >= MaxClaims {
		return refusal.New("", fmt.Sprintf("%d claims of this request failed, which is as often as one request may be claimed", claims), "ask again")
	}
	return r.checkRoom(eventsOfAClaim)
}

func (r Request) beginClaim(c BeginClaim, now time.Time) ([]Event, error) {
	if err := MayClaim(r, c.Claimer, Judge(r, c.World, now)); err != nil {
		return nil, err
	}
	if r.Holding() {
		return nil, refusal.New("", "what an earlier claim left behind has to be revoked first", "try again")
	}
	if c.Token.Accessor == "" {
		return nil, r.refuse("claim without a grant token", now)
	}
	return []Event{ClaimBegan{Stamp: stampOf(c.Claimer, now), Token: c.Token}}, nil
}

func (r Request) giveGrant(c GiveGrant, now time.Time) ([]Event, error) {
	if r.Claim == nil {
		return nil, r.refuse("grant", now)
	}
	if v := Judge(r, c.World, now); !v.Claimable {
		return nil, refusal.New("", strings.Join(v.Obstacles, "; "), "")
	}
	if !isGrantOf(c.Handles, r.Claim.Token) || !now.Before(c.Until) || c.Until.After(r.Claim.At.Add(r.Ask.TTL)) {
		return nil, r.refuse("grant", now)
	}
	return []Event{Granted{Stamp: Stamp{At: now}, Until: c.Until.UTC().Round(0), Handles: c.Handles}}, nil
}

// beginEnd ends a grant that has not ended. What comes after its window finds it ended by that.
func (r Request) beginEnd(reason EndReason, stamp Stamp) []Event {
	switch {
	case r.Grant == nil || r.End != nil:
		return nil
	case !stamp.At.Before(r.Grant.Until):
		return []Event{EndBegan{Stamp: Stamp{At: r.Grant.Until}, Reason: WindowEnd}}
	}
	return []Event{EndBegan{Stamp: stamp, Reason: reason}}
}

// abortClaim ends the claim, or the grant that was recorded although the claim that made it does not know of that and
// gave nothing out. Another claim and its grant are none of its business.
func (r Request) abortClaim(c AbortClaim, now time.Time) ([]Event, error) {
	switch {
	case r.Claim != nil && r.Claim.Token == c.Token:
		return []Event{ClaimEnded{Stamp: Stamp{At: now}, NothingSent: c.NothingSent, Left: c.Left}}, nil
	case !r.Knows(c.Token):
		return nil, nil
	}
	return r.beginEnd(ClaimFailed, Stamp{At: now}), nil
}

// mayRevoke says why somebody may not end the grant, or nil: its requester, whoever counts as its approver now, auditors
// and operators may.
func (r Request) mayRevoke(c Revoke) error {
	if c.Operator && c.By.Name == "" {
		return refusal.New("", "whoever ends a grant as an operator needs a name, so that somebody is answerable", "")
	}
	if c.Operator {
		return nil
	}
	if problem := c.By.problem(); problem != "" {
		return refusal.New("", "your entity "+problem, "")
	}
	if c.Auditor || isSamePerson(c.By.Person, r.Ask.Requester) || len(r.Ask.Policy.eligible(c.By.Groups)) > 0 {
		return nil
	}
	return refusal.Newf("", "you may not end this grant: its requester may, whoever is in an approver group of policy %q now, and auditors", r.Ask.Policy.Name)
}

func (r Request) revoke(c Revoke, now time.Time) ([]Event, error) {
	if err := r.mayRevoke(c); err != nil {
		return nil, err
	}
	if r.Grant == nil {
		return nil, r.refuse("end", now)
	}
	if r.End != nil && r.End.Confirmed() {
		return nil, refusal.Newf("", "the grant has ended already, at %s (%s)", r.End.At.Format("2006-01-02T15:04:05.000Z07:00"), r.End.Reason)
	}
	return r.beginEnd(Revoked, stampOf(c.By, now)), nil
}

// windowSlack is how early a lease may end and still count as ended by its window: leases are whole seconds.
const windowSlack = 2 * time.Second

func (r Request) endLease(now time.Time) ([]Event, error) {
	reason := LeaseRevoked
	if r.Grant != nil && !now.Before(r.Grant.Until.Add(-windowSlack)) {
		reason = WindowEnd
	}
	return r.beginEnd(reason, Stamp{At: now}), nil
}

func (r Request) loseHandle(c Gone, now time.Time) ([]Event, error) {
	if r.Claim != nil {
		if c.Handle == r.Claim.Token.Key() {
			return []Event{ClaimEnded{Stamp: Stamp{At: now}}}, nil
		}
		return nil, nil
	}
	if r.Handles().Find(c.Handle) == nil {
		return nil, nil
	}
	if r.Grant != nil && r.Ending(now) == nil {
		return nil, r.refuse("end what is held by", now)
	}
	return append(r.beginEnd(WindowEnd, Stamp{At: now}), Ended{Stamp: Stamp{At: now}, Handle: c.Handle}), nil
}
