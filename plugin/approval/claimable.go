package approval

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// ClaimFacts is everything that decides whether a request can be claimed now.
type ClaimFacts struct {
	// Requester is the requester's standing now, IdentityGroupIDs their identity groups.
	Requester        Standing
	IdentityGroupIDs []string
	// Role and Policy are as they are now; nil if deleted.
	Role   *Role
	Policy *Policy
	// Roster holds everyone who decided.
	Roster Roster
	// MaxWindow is the longest lease the mount allows now.
	MaxWindow time.Duration
	// Census, if known, lets a refusal say who could still approve. It decides nothing.
	Census Census
}

// everyone is the roster with the requester in it, whose logins of now tell who that is.
func (f ClaimFacts) everyone() Roster {
	roster := Roster{f.Requester.EntityID: f.Requester}
	maps.Copy(roster, f.Roster)
	return roster
}

// Claimability is the verdict as of now and what stands in the way of a claim.
type Claimability struct {
	// Verdict counts under the policy frozen in the request, with today's membership.
	Verdict Verdict
	// Obstacles are sentences; none means claimable.
	Obstacles []string
}

// Claimable asks whether the request can be claimed now. The quorum must hold under the policy frozen in the request
// and under the policy as it is now, and so must their limits: the strictest of both wins.
func (r Request) Claimable(facts ClaimFacts, now time.Time) Claimability {
	roster := facts.everyone()
	c := Claimability{Verdict: Evaluate(r.Ask.Policy, r.Ask.Requester, r.Decisions, roster)}
	obstacle := func(format string, args ...any) { c.Obstacles = append(c.Obstacles, fmt.Sprintf(format, args...)) }

	state := r.State(now)
	if !r.undecided(now) {
		obstacle("the request is %s", state)
		return c
	}
	if problem := facts.Requester.problem(); problem != "" {
		obstacle("the requester %s", problem)
	}
	switch {
	case facts.Role == nil:
		obstacle("role %q has been deleted", r.Ask.Role)
	case facts.Role.Fingerprint() != r.Ask.RoleFingerprint:
		obstacle("role %q changed since the request was made: ask again", r.Ask.Role)
	case !facts.Role.MayBeAskedBy(r.Ask.Requester.EntityID, facts.IdentityGroupIDs):
		obstacle("the requester is no longer among the requesters of role %q", r.Ask.Role)
	}
	for _, sentence := range r.shortcomings(r.Ask.Policy, c.Verdict, facts.Census) {
		obstacle("%s", sentence)
	}
	if c.Verdict.Quorum && state == Pending {
		obstacle("the request is pending: its approvals made no quorum when they were given; whoever joined an approver group since has to approve again")
	}
	for i, d := range r.Decisions {
		if count := c.Verdict.Decisions[i]; d.Verdict == Approve && !count.Counts && !c.Verdict.Quorum {
			obstacle("the approval of %s does not count: %s", d.Approver.Name, count.Why)
		}
	}
	if r.Ask.TTL > facts.MaxWindow {
		obstacle("its ttl (%s) is longer than the longest lease of this mount now (%s)", r.Ask.TTL, facts.MaxWindow)
	}
	if facts.Policy == nil {
		obstacle("policy %q has been deleted", r.Ask.Policy.Name)
		return c
	}
	if facts.Policy.Version == r.Ask.Policy.Version && facts.Policy.UpdatedAt.Equal(r.Ask.Policy.UpdatedAt) {
		return c
	}
	current := *facts.Policy
	verdict := Evaluate(current, r.Ask.Requester, r.Decisions, roster)
	// Whoever denied as one of the approvers and has left since denied all the same.
	verdict.Denials = max(verdict.Denials, r.Counted().Denials)
	verdict.Denied = verdict.Denials >= verdict.DenyThreshold
	sentences := r.shortcomings(current, verdict, facts.Census)
	if r.Ask.TTL > current.MaxTTL {
		sentences = append(sentences, fmt.Sprintf("its ttl (%s) is longer than max_ttl (%s)", r.Ask.TTL, current.MaxTTL))
	}
	if at := r.QuorumAt(); !at.IsZero() {
		if !at.Before(r.Ask.At.Add(current.RequestTTL)) {
			sentences = append(sentences, fmt.Sprintf("its quorum came later than request_ttl (%s)", current.RequestTTL))
		}
		if !now.Before(at.Add(current.ClaimTTL)) {
			sentences = append(sentences, fmt.Sprintf("its approval waited longer than claim_ttl (%s)", current.ClaimTTL))
		}
	}
	for _, sentence := range sentences {
		obstacle("under policy %q as it is now (version %d): %s", current.Name, current.Version, sentence)
	}
	return c
}

// MayClaim says why somebody cannot claim the request now, or nil.
func (r Request) MayClaim(claimer Person, facts ClaimFacts, now time.Time) error {
	if claimer.EntityID == "" || claimer.EntityID != r.Ask.Requester.EntityID {
		return errors.New("only its requester can claim a request")
	}
	if obstacles := r.Claimable(facts, now).Obstacles; len(obstacles) > 0 {
		return errors.New(strings.Join(obstacles, "; "))
	}
	return nil
}

// shortcomings says in sentences why a verdict is no quorum.
func (r Request) shortcomings(policy Policy, verdict Verdict, census Census) []string {
	var sentences []string
	if verdict.Denied {
		sentences = append(sentences, fmt.Sprintf("%d denied it, which is final from %d", verdict.Denials, verdict.DenyThreshold))
	}
	if len(verdict.Rules) == 0 {
		sentences = append(sentences, fmt.Sprintf("policy %q has no rules", policy.Name))
	}
	candidates := r.CanStillApprove(policy, census)
	for i, rule := range verdict.Rules {
		if sentence := rule.Missing(candidates[i]); sentence != "" {
			sentences = append(sentences, sentence)
		}
	}
	return sentences
}

// CanStillApprove lists for each rule of the policy the known people who could count for it and have not approved.
func (r Request) CanStillApprove(policy Policy, census Census) [][]Person {
	left := make([][]Person, len(policy.Rules))
	people, can := census.candidates(policy, r.Ask.Requester)
	for n, person := range people {
		if r.approvedBy(person) {
			continue
		}
		for _, rule := range can[n] {
			left[rule] = append(left[rule], person)
		}
	}
	return left
}

func (r Request) approvedBy(person Person) bool {
	for _, d := range r.Decisions {
		if d.Verdict == Approve && samePerson(d.Approver, person) {
			return true
		}
	}
	return false
}
