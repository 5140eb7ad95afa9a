package engine

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// describeLive answers with a request as it stands now: who counts today, and whether it can be claimed.
func (b *backend) describeLive(ctx context.Context, people *lookup, r approval.Request, now time.Time) (*logical.Response, error) {
	if !waiting(r.State(now)) {
		return &logical.Response{Data: describe(r, approval.Claimability{Verdict: r.Counted()}, nil, now)}, nil
	}
	facts, err := people.claimFacts(ctx, r)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: describe(r, r.Claimable(facts, now), nil, now)}, nil
}

// waiting reports whether today's membership still matters to the request. Afterwards the count that stood when the
// decisions were made is the one to show.
func waiting(state approval.State) bool {
	return state == approval.Pending || state == approval.Approved || state == approval.Claiming
}

// describe is the one shape in which a request is shown. Candidates, by rule, are shown if given.
func describe(r approval.Request, c approval.Claimability, candidates [][]approval.Person, now time.Time) map[string]any {
	state := r.State(now)
	decisions := make([]map[string]any, len(r.Decisions))
	for i, d := range r.Decisions {
		decisions[i] = map[string]any{
			"approver": describePerson(d.Approver),
			"verdict":  string(d.Verdict),
			"comment":  d.Comment,
			"at":       timestamp(d.At),
			"counts":   c.Verdict.Decisions[i].Counts,
			"why":      c.Verdict.Decisions[i].Why,
		}
	}
	rules := make([]map[string]any, len(c.Verdict.Rules))
	for i, rule := range c.Verdict.Rules {
		rules[i] = map[string]any{
			"name":               rule.Name,
			"approver_groups":    rule.ApproverGroups,
			"approvals_required": rule.Approvals,
			"approvals_counted":  rule.Counted,
			"satisfied":          rule.Satisfied,
			"counted":            nameList(rule.CountedBy),
		}
		if i < len(candidates) {
			rules[i]["can_approve"] = nameList(candidates[i])
		}
	}
	obstacles := c.Obstacles
	if obstacles == nil {
		obstacles = []string{}
	}
	return map[string]any{
		"id":                   r.ID,
		"role":                 r.Ask.Role,
		"state":                string(state),
		"reason":               r.Ask.Reason,
		"ttl":                  seconds(r.Ask.TTL),
		"parameters":           orEmpty(r.Ask.Parameters),
		"requester":            describePerson(r.Ask.Requester),
		"created_at":           timestamp(r.Ask.At),
		"expires_at":           timestamp(r.Deadline()),
		"decisions":            decisions,
		"denials":              c.Verdict.Denials,
		"deny_threshold":       c.Verdict.DenyThreshold,
		"rules":                rules,
		"grant":                describeGrant(r, now),
		"grant_type":           string(r.Ask.Grant.GrantType),
		"path":                 r.Ask.Grant.Path,
		"operation":            string(r.Ask.Grant.Operation),
		"data":                 orEmpty(r.Ask.Grant.Data),
		"grant_policies":       r.Ask.Grant.GrantPolicies,
		"cannot_be_taken_back": r.Ask.Grant.AllowUnleased,
		"policy":               r.Ask.Policy.Name,
		"policy_version":       r.Ask.Policy.Version,
		"claimable":            waiting(state) && len(obstacles) == 0,
		"obstacles":            obstacles,
		"digest":               r.Digest,
	}
}

func describePerson(p approval.Person) map[string]any {
	return map[string]any{"entity_id": p.EntityID, "name": p.Name}
}

func nameList(people []approval.Person) []string {
	list := make([]string, len(people))
	for i, person := range people {
		list[i] = person.Name
	}
	slices.Sort(list)
	return list
}

// describeGrant is the grant and its end, without any handle on either; nil before there is one.
func describeGrant(r approval.Request, now time.Time) map[string]any {
	if r.Grant == nil {
		return nil
	}
	grant := map[string]any{
		"claimed_at": timestamp(r.Grant.ClaimedAt),
		"expires_at": timestamp(r.Grant.ExpiresAt),
		"ended_at":   "", "end_reason": "", "ended_by": nil, "revocation": "", "last_error": "",
	}
	end := r.Ending(now)
	if end == nil {
		return grant
	}
	grant["ended_at"] = timestamp(end.At)
	grant["end_reason"] = string(end.Reason)
	grant["last_error"] = end.LastError
	grant["revocation"] = "pending"
	if end.Confirmed() {
		grant["revocation"] = "confirmed"
		grant["confirmed_at"] = timestamp(end.ConfirmedAt)
	}
	if end.By != nil {
		grant["ended_by"] = describePerson(*end.By)
	}
	return grant
}
