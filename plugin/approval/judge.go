package approval

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// World is everything that a claim, and the verdict on it, depends on now. The zero World allows nothing.
type World struct {
	// Requester is the requester's standing now.
	Requester Standing
	// Role and Policy are as they are now; nil if deleted.
	Role   *RoleNow
	Policy *Policy
	// Roster holds everyone who decided.
	Roster Roster
	// Census, if known, lets a verdict say who could still approve. It decides nothing.
	Census Census
	// MaxWindow is the longest lease that the mount allows now.
	MaxWindow time.Duration
}

// RoleNow is what a claim has to know of the role as it is now.
type RoleNow struct {
	Policy, Fingerprint string
	// MayAsk says whether the requester is among the role's requesters.
	MayAsk bool
}

// Verdict says whether a request can be claimed now, and why not. The zero Verdict says no.
type Verdict struct {
	Claimable bool
	// Obstacles are sentences: everything that stands in the way.
	Obstacles []string
	// Tally counts under the policy frozen in the request: with today's membership while the request takes decisions,
	// and as it was counted once it is over.
	Tally Tally
	// Candidates are, for each rule, the known people who could count for it and have not approved.
	Candidates [][]Person
}

// Judge asks whether the request can be claimed now. The quorum must hold under the policy frozen in the request and
// under the policy as it is now, and so must their limits: the strictest of both wins.
func Judge(r Request, w World, now time.Time) Verdict {
	state := r.State(now)
	if !state.Undecided() {
		return Verdict{Tally: r.Counted, Obstacles: []string{fmt.Sprintf("the request is %s", state)}}
	}
	// The requester's logins of now tell who that is.
	roster := Roster{w.Requester.EntityID: w.Requester}
	maps.Copy(roster, w.Roster)
	v := Verdict{
		Tally:      Count(r.Ask.Policy, r.Ask.Requester, r.Decisions, roster),
		Candidates: r.candidates(r.Ask.Policy, w.Census),
	}
	if problem := w.Requester.problem(); problem != "" {
		v.object("the requester %s", problem)
	}
	switch {
	case w.Role == nil:
		v.object("role %q has been deleted", r.Ask.Role)
	case w.Role.Fingerprint != r.Ask.RoleFingerprint || w.Role.Policy != r.Ask.Policy.Name:
		v.object("role %q changed since the request was made: ask again", r.Ask.Role)
	case !w.Role.MayAsk:
		v.object("the requester is no longer among the requesters of role %q", r.Ask.Role)
	}
	v.Obstacles = append(v.Obstacles, listShortcomings(r.Ask.Policy, v.Tally, v.Candidates)...)
	if v.Tally.Quorum && state == StatePending {
		v.object("the request is pending: its approvals made no quorum when they were given; whoever joined an approver group since has to approve again")
	}
	for i, d := range r.Decisions {
		if count := v.Tally.Decisions[i]; d.Verdict == Approve && !count.Counts && !v.Tally.Quorum {
			v.object("the approval of %s does not count: %s", d.Approver.Name, count.Why)
		}
	}
	if r.Ask.TTL > w.MaxWindow {
		v.object("its ttl (%s) is longer than the longest lease of this mount now (%s)", r.Ask.TTL, w.MaxWindow)
	}
	if r.Ask.Grant.CannotBeUndone() && r.mayHaveSent() {
		v.object("an earlier claim may have made what cannot be taken back, so it is not made again: ask again")
	}
	v.Obstacles = append(v.Obstacles, r.listPolicyObstacles(w, roster, now)...)
	v.Claimable = len(v.Obstacles) == 0 && v.Tally.Quorum && !v.Tally.Denied
	return v
}

// mayHaveSent reports whether a claim that has ended may have made something.
func (r Request) mayHaveSent() bool {
	return slices.ContainsFunc(r.Events, func(event Event) bool {
		ended, ok := event.(ClaimEnded)
		return ok && !ended.NothingSent
	})
}

func (v *Verdict) object(format string, args ...any) {
	v.Obstacles = append(v.Obstacles, fmt.Sprintf(format, args...))
}

// listPolicyObstacles says what stands in the way under the policy as it is now, unless that is the frozen one.
func (r Request) listPolicyObstacles(w World, roster Roster, now time.Time) []string {
	if w.Policy == nil {
		return []string{fmt.Sprintf("policy %q has been deleted", r.Ask.Policy.Name)}
	}
	current := *w.Policy
	if current.Version == r.Ask.Policy.Version && current.UpdatedAt.Equal(r.Ask.Policy.UpdatedAt) {
		return nil
	}
	tally := Count(current, r.Ask.Requester, r.Decisions, roster)
	// A denial stands even if its approver has left the group.
	tally.Denials = max(tally.Denials, r.Counted.Denials)
	tally.Denied = tally.Denials >= tally.DenyThreshold
	sentences := listShortcomings(current, tally, r.candidates(current, w.Census))
	if r.Ask.TTL > current.MaxTTL {
		sentences = append(sentences, fmt.Sprintf("its ttl (%s) is longer than max_ttl (%s)", r.Ask.TTL, current.MaxTTL))
	}
	if !r.QuorumAt.IsZero() {
		if !r.QuorumAt.Before(r.Ask.At.Add(current.RequestTTL)) {
			sentences = append(sentences, fmt.Sprintf("its quorum came later than request_ttl (%s)", current.RequestTTL))
		}
		if !now.Before(r.QuorumAt.Add(current.ClaimTTL)) {
			sentences = append(sentences, fmt.Sprintf("its approval waited longer than claim_ttl (%s)", current.ClaimTTL))
		}
	}
	for i, sentence := range sentences {
		sentences[i] = fmt.Sprintf("under policy %q as it is now (version %d): %s", current.Name, current.Version, sentence)
	}
	return sentences
}

// listShortcomings says in sentences why a tally is no quorum.
func listShortcomings(policy Policy, tally Tally, candidates [][]Person) []string {
	var sentences []string
	if tally.Denied {
		sentences = append(sentences, fmt.Sprintf("%d denied it, which is final from %d", tally.Denials, tally.DenyThreshold))
	}
	if len(tally.Rules) == 0 {
		sentences = append(sentences, fmt.Sprintf("policy %q has no rules", policy.Name))
	}
	for i, rule := range tally.Rules {
		if sentence := rule.Missing(candidates[i]); sentence != "" {
			sentences = append(sentences, sentence)
		}
	}
	return sentences
}

// candidates lists for each rule of the policy the known people who could count for it and have not approved.
func (r Request) candidates(policy Policy, census Census) [][]Person {
	left := make([][]Person, len(policy.Rules))
	people, can := census.candidates(policy, r.Ask.Requester)
	for n, person := range people {
		if r.hasWordOf(person, Approve) {
			continue
		}
		for _, rule := range can[n] {
			left[rule] = append(left[rule], person)
		}
	}
	return left
}
