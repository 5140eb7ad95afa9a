package approval

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// DecisionVerdict is what an approver says: Approve or Deny. The zero value is neither and is refused.
type DecisionVerdict string

const (
	Approve DecisionVerdict = "approve"
	Deny    DecisionVerdict = "deny"
)

// Decision is one approver's current word on a request.
type Decision struct {
	// Approver is frozen as of the decision.
	Approver Person
	// Groups are the approver groups of the policy that the approver was in then.
	Groups  []string
	Verdict DecisionVerdict
	Comment string
	At      time.Time
}

// Tally is the outcome of counting decisions against a policy, with the reasons.
type Tally struct {
	// Quorum is true when every rule has its number of distinct people.
	Quorum bool
	// Denied is true when as many eligible people deny as the policy's threshold asks for.
	Denied        bool
	Denials       int
	DenyThreshold int
	Rules         []RuleTally
	// Decisions tells of each decision, in the order given, whether it counts and why.
	Decisions []DecisionCount
}

// RuleTally is what one rule has and still needs.
type RuleTally struct {
	Rule
	Counted   int
	Satisfied bool
	CountedBy []Person
}

// DecisionCount says whether a decision counts, and why.
type DecisionCount struct {
	Counts bool
	Why    string
}

// Count counts decisions on a request of the given person. It looks at all of them, so that the reasons are
// complete, and takes nobody's standing for granted: who is absent from the roster counts for nothing.
//
// One human being counts once, with the latest word, under whatever entities; the requester only if the policy allows it.
func Count(policy Policy, requester Person, decisions []Decision, roster Roster) Tally {
	tally := Tally{DenyThreshold: max(1, policy.DenyThreshold), Decisions: make([]DecisionCount, len(decisions))}
	approvals := tally.sift(policy, requester, decisions, roster)
	can := make([][]int, len(approvals))
	for n, i := range approvals {
		can[n] = policy.eligible(roster[decisions[i].Approver.EntityID].Groups)
	}
	seats := assign(policy.room(), can)
	for i, rule := range policy.Rules {
		rt := RuleTally{Rule: rule}
		for n, seat := range seats {
			if seat == i {
				rt.CountedBy = append(rt.CountedBy, decisions[approvals[n]].Approver)
			}
		}
		rt.Counted = len(rt.CountedBy)
		rt.Satisfied = rule.Approvals > 0 && rt.Counted >= rule.Approvals
		tally.Rules = append(tally.Rules, rt)
	}
	for n, i := range approvals {
		if seats[n] < 0 {
			tally.Decisions[i].Why = "the rules this approver can count for have enough without"
			continue
		}
		tally.Decisions[i] = DecisionCount{Counts: true, Why: fmt.Sprintf("counts for rule %q", policy.Rules[seats[n]].Name)}
	}
	tally.Quorum = len(tally.Rules) > 0 && !slices.ContainsFunc(tally.Rules, func(r RuleTally) bool { return !r.Satisfied })
	tally.Denied = tally.Denials >= tally.DenyThreshold
	return tally
}

// sift counts the denials, says why other decisions do not count, and returns which of them are approvals that may.
func (t *Tally) sift(policy Policy, requester Person, decisions []Decision, roster Roster) (approvals []int) {
	humans := people{}
	humans.add(requester, roster[requester.EntityID].Person)
	for _, d := range decisions {
		humans.add(d.Approver, roster[d.Approver.EntityID].Person)
	}
	latest := map[string]int{}
	for i, d := range decisions {
		if j, ok := latest[humans.of(d.Approver)]; !ok || !d.At.Before(decisions[j].At) {
			latest[humans.of(d.Approver)] = i
		}
	}
	for i, d := range decisions {
		standing := roster[d.Approver.EntityID]
		why := ""
		switch {
		case latest[humans.of(d.Approver)] != i:
			why = "replaced by a later decision of the same person"
		case standing.problem() != "":
			why = "the approver " + standing.problem()
		case humans.of(d.Approver) == humans.of(requester) && !policy.AllowSelfApproval:
			why = "the approver is the requester"
		case len(policy.eligible(standing.Groups)) == 0:
			why = "the approver is in none of the policy's approver groups"
		case d.Verdict == Deny:
			t.Denials++
			t.Decisions[i].Counts = true
			why = "denies"
		case d.Verdict == Approve:
			approvals = append(approvals, i)
		default:
			why = fmt.Sprintf("%q is neither approve nor deny", string(d.Verdict))
		}
		t.Decisions[i].Why = why
	}
	// By entity id, so that the same set of approvals gives the same answer in whatever order they came.
	slices.SortFunc(approvals, func(a, b int) int {
		return strings.Compare(decisions[a].Approver.EntityID, decisions[b].Approver.EntityID)
	})
	return approvals
}

// room is how many people each rule takes.
func (p Policy) room() []int {
	room := make([]int, len(p.Rules))
	for i, rule := range p.Rules {
		room[i] = rule.Approvals
	}
	return room
}

// Missing says in a sentence what an unmet rule needs and who can give it; "" for a rule that is met.
func (r RuleTally) Missing(candidates []Person) string {
	if r.Satisfied {
		return ""
	}
	text := fmt.Sprintf("rule %q has %d of %d approvals; it needs %d more from approver group %s",
		r.Name, r.Counted, r.Approvals, max(1, r.Approvals-r.Counted), quoteOr(r.ApproverGroups))
	if len(candidates) > 0 {
		text += " (" + joinNames(candidates) + " can approve)"
	}
	return text
}

// shownNames bounds how many people a sentence lists.
const shownNames = 10

func joinNames(people []Person) string {
	var shown []string
	for _, person := range people[:min(len(people), shownNames)] {
		shown = append(shown, person.Name)
	}
	if more := len(people) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return strings.Join(shown, ", ")
}

func quoteOr(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	return strings.Join(quoted, " or ")
}
