package engine

import (
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// viewRequest is the one shape in which a request is shown: its summary, and all that is known of it.
func viewRequest(r approval.Request, v approval.Verdict, now time.Time) (wire.Request, error) {
	summary, err := viewSummary(r, now)
	obstacles := []string{}
	if r.State(now).Undecided() {
		obstacles = append(obstacles, v.Obstacles...)
	}
	return wire.Request{
		Summary:       summary,
		ID:            r.ID,
		Requester:     viewPerson(r.Ask.Requester),
		Decisions:     viewDecisions(r, v.Tally),
		Denials:       v.Tally.Denials,
		DenyThreshold: v.Tally.DenyThreshold,
		Rules:         viewRules(v.Tally, v.Candidates),
		Grant:         viewGrant(r, now),
		Policy:        r.Ask.Policy.Name,
		PolicyVersion: r.Ask.Policy.Version,
		Claimable:     v.Claimable,
		Obstacles:     obstacles,
	}, err
}

// viewSummary is what a detailed list shows of a request: enough to decide whether to read it.
func viewSummary(r approval.Request, now time.Time) (wire.Summary, error) {
	specification, err := wire.SpecificationOf(r.Ask.Grant)
	return wire.Summary{
		Ask:               wire.Ask{Role: r.Ask.Role, Reason: r.Ask.Reason, TTL: wire.ToSeconds(r.Ask.TTL), Parameters: emptyIfNil(r.Ask.Parameters)},
		Specification:     specification,
		State:             string(r.State(now)),
		Requester:         r.Ask.Requester.Name,
		CreatedAt:         wire.Time{Time: r.Ask.At},
		ExpiresAt:         wire.Time{Time: r.Deadline()},
		CannotBeTakenBack: r.Ask.Grant.CannotBeUndone(),
		Digest:            r.Digest,
	}, err
}

func viewDecisions(r approval.Request, tally approval.Tally) []wire.Decision {
	decisions := make([]wire.Decision, len(r.Decisions))
	for i, d := range r.Decisions {
		decisions[i] = wire.Decision{
			Approver: viewPerson(d.Approver), Verdict: string(d.Verdict), Comment: d.Comment, At: wire.Time{Time: d.At},
			Counts: tally.Decisions[i].Counts, Why: tally.Decisions[i].Why,
		}
	}
	return decisions
}

// viewRules shows what each rule has and needs. Candidates, by rule, are shown if given.
func viewRules(tally approval.Tally, candidates [][]approval.Person) []wire.RuleCount {
	rules := make([]wire.RuleCount, len(tally.Rules))
	for i, rule := range tally.Rules {
		rules[i] = wire.RuleCount{
			Name: rule.Name, ApproverGroups: rule.ApproverGroups, ApprovalsRequired: rule.Approvals, ApprovalsCounted: rule.Counted,
			Satisfied: rule.Satisfied, Counted: listNames(rule.CountedBy),
		}
		if i < len(candidates) {
			rules[i].CanApprove = listNames(candidates[i])
		}
	}
	return rules
}

// viewGrant is the grant and its end, without any handle on either; nil before there is one.
func viewGrant(r approval.Request, now time.Time) *wire.Grant {
	if r.Grant == nil {
		return nil
	}
	grant := &wire.Grant{ClaimedAt: wire.Time{Time: r.Grant.ClaimedAt}, ExpiresAt: wire.Time{Time: r.Grant.Until}}
	end := r.Ending(now)
	if end == nil {
		return grant
	}
	grant.EndedAt, grant.EndReason = wire.Time{Time: end.At}, string(end.Reason)
	grant.Revocation, grant.LastError = "pending", end.LastError
	if end.Confirmed() {
		grant.Revocation, grant.ConfirmedAt = "confirmed", wire.Time{Time: end.ConfirmedAt}
	}
	if end.By != nil {
		by := viewPerson(*end.By)
		grant.EndedBy = &by
	}
	return grant
}

func viewPerson(p approval.Person) wire.Person {
	return wire.Person{EntityID: p.EntityID, Name: p.Name}
}

func viewPeople(people []approval.Person) []wire.Person {
	list := make([]wire.Person, len(people))
	for i, person := range people {
		list[i] = viewPerson(person)
	}
	return list
}

func listNames(people []approval.Person) []string {
	list := make([]string, len(people))
	for i, person := range people {
		list[i] = person.Name
	}
	slices.Sort(list)
	return list
}

// answerWarnings is an answer without data; nil, that is status 204, if there are no warnings either.
func answerWarnings(warnings []string) *logical.Response {
	if len(warnings) == 0 {
		return nil
	}
	return &logical.Response{Warnings: warnings}
}

func emptyIfNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
