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
	Approver Person `json:"approver"`
	// Groups are the approver groups of the policy that the approver was in then.
	Groups  []string        `json:"groups"`
	Verdict DecisionVerdict `json:"verdict"`
	Comment string          `json:"comment,omitempty"`
	At      time.Time       `json:"at"`
}

// Verdict is the outcome of counting decisions against a policy, with the reasons.
type Verdict struct {
	// Quorum is true when every rule has its number of distinct people.
	Quorum bool
	// Denied is true when as many eligible people deny as the policy's threshold asks for.
	Denied        bool
	Denials       int
	DenyThreshold int
	Rules         []RuleVerdict
	// Decisions tells of each decision, in the order given, whether it counts and why.
	Decisions []DecisionCount
}

// RuleVerdict is what one rule still needs.
type RuleVerdict struct {
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

// Evaluate counts decisions on a request of the given person. It looks at all of them, so that the reasons are
// complete, and takes nobody's standing for granted: who is absent from the roster counts for nothing.
//
// One human being counts once, with the latest word, under whatever entities; the requester only if the policy allows it.
func Evaluate(policy Policy, requester Person, decisions []Decision, roster Roster) Verdict {
	verdict := Verdict{
		DenyThreshold: max(1, policy.DenyThreshold),
		Decisions:     make([]DecisionCount, len(decisions)),
	}
	humans := newPeople()
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

	var approvals []int
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
			verdict.Denials++
			verdict.Decisions[i] = DecisionCount{Counts: true, Why: "denies"}
		case d.Verdict == Approve:
			approvals = append(approvals, i)
		default:
			why = fmt.Sprintf("%q is neither approve nor deny", string(d.Verdict))
		}
		if why != "" {
			verdict.Decisions[i].Why = why
		}
	}
	// By entity id, so that the same set of approvals gives the same answer in whatever order they came.
	slices.SortFunc(approvals, func(a, b int) int {
		return strings.Compare(decisions[a].Approver.EntityID, decisions[b].Approver.EntityID)
	})

	can := make([][]int, len(approvals))
	for n, i := range approvals {
		can[n] = policy.eligible(roster[decisions[i].Approver.EntityID].Groups)
	}
	seats := assign(policy.room(), can)
	for i, rule := range policy.Rules {
		rv := RuleVerdict{Rule: rule}
		for n, seat := range seats {
			if seat == i {
				rv.CountedBy = append(rv.CountedBy, decisions[approvals[n]].Approver)
			}
		}
		rv.Counted = len(rv.CountedBy)
		rv.Satisfied = rule.Approvals > 0 && rv.Counted >= rule.Approvals
		verdict.Rules = append(verdict.Rules, rv)
	}
	for n, i := range approvals {
		if seats[n] < 0 {
			verdict.Decisions[i].Why = "the rules this approver can count for have enough without"
			continue
		}
		verdict.Decisions[i] = DecisionCount{Counts: true, Why: fmt.Sprintf("counts for rule %q", policy.Rules[seats[n]].Name)}
	}
	verdict.Quorum = len(verdict.Rules) > 0 && !slices.ContainsFunc(verdict.Rules, func(r RuleVerdict) bool { return !r.Satisfied })
	verdict.Denied = verdict.Denials >= verdict.DenyThreshold
	return verdict
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
func (r RuleVerdict) Missing(candidates []Person) string {
	if r.Satisfied {
		return ""
	}
	text := fmt.Sprintf("rule %q has %d of %d approvals; it needs %d more from approver group %s",
		r.Name, r.Counted, r.Approvals, max(1, r.Approvals-r.Counted), quotedOr(r.ApproverGroups))
	if len(candidates) > 0 {
		text += " (" + names(candidates) + " can approve)"
	}
	return text
}

// shownNames bounds how many people a sentence lists.
const shownNames = 10

func names(people []Person) string {
	var shown []string
	for _, person := range people[:min(len(people), shownNames)] {
		shown = append(shown, person.Name)
	}
	if more := len(people) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("%d more", more))
	}
	return strings.Join(shown, ", ")
}

func quotedOr(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	return strings.Join(quoted, " or ")
}
