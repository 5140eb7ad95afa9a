package engine

import (
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// viewRequest is the one shape in which a request is shown: its summary, and all that is known of it.
func viewRequest(r approval.Request, v approval.Verdict, now time.Time) map[string]any {
	obstacles := []string{}
	if r.State(now).Undecided() {
		obstacles = append(obstacles, v.Obstacles...)
	}
	view := viewSummary(r, now)
	maps.Copy(view, map[string]any{
		"id":             r.ID,
		"requester":      viewPerson(r.Ask.Requester),
		"decisions":      viewDecisions(r, v.Tally),
		"denials":        v.Tally.Denials,
		"deny_threshold": v.Tally.DenyThreshold,
		"rules":          viewRules(v.Tally, v.Candidates),
		"grant":          viewGrant(r, now),
		"grant_type":     string(r.Ask.Grant.Kind),
		"policy":         r.Ask.Policy.Name,
		"policy_version": r.Ask.Policy.Version,
		"claimable":      v.Claimable,
		"obstacles":      obstacles,
	})
	return view
}

// viewSummary is what a detailed list shows of a request: enough to decide whether to read it.
func viewSummary(r approval.Request, now time.Time) map[string]any {
	return map[string]any{
		"role":                 r.Ask.Role,
		"state":                string(r.State(now)),
		"requester":            r.Ask.Requester.Name,
		"reason":               r.Ask.Reason,
		"ttl":                  toSeconds(r.Ask.TTL),
		"created_at":           formatTime(r.Ask.At),
		"expires_at":           formatTime(r.Deadline()),
		"operation":            string(r.Ask.Grant.Operation),
		"path":                 r.Ask.Grant.Path,
		"data":                 emptyIfNil(r.Ask.Grant.Data),
		"grant_policies":       r.Ask.Grant.GrantPolicies,
		"parameters":           emptyIfNil(r.Ask.Parameters),
		"cannot_be_taken_back": r.Ask.Grant.CannotBeUndone(),
		"digest":               r.Digest,
	}
}

func viewDecisions(r approval.Request, tally approval.Tally) []map[string]any {
	decisions := make([]map[string]any, len(r.Decisions))
	for i, d := range r.Decisions {
		decisions[i] = map[string]any{
			"approver": viewPerson(d.Approver),
			"verdict":  string(d.Verdict),
			"comment":  d.Comment,
			"at":       formatTime(d.At),
			"counts":   tally.Decisions[i].Counts,
			"why":      tally.Decisions[i].Why,
		}
	}
	return decisions
}

// viewRules shows what each rule has and needs. Candidates, by rule, are shown if given.
func viewRules(tally approval.Tally, candidates [][]approval.Person) []map[string]any {
	rules := make([]map[string]any, len(tally.Rules))
	for i, rule := range tally.Rules {
		rules[i] = map[string]any{
			"name":               rule.Name,
			"approver_groups":    rule.ApproverGroups,
			"approvals_required": rule.Approvals,
			"approvals_counted":  rule.Counted,
			"satisfied":          rule.Satisfied,
			"counted":            listNames(rule.CountedBy),
		}
		if i < len(candidates) {
			rules[i]["can_approve"] = listNames(candidates[i])
		}
	}
	return rules
}

// viewGrant is the grant and its end, without any handle on either; nil before there is one.
func viewGrant(r approval.Request, now time.Time) map[string]any {
	if r.Grant == nil {
		return nil
	}
	grant := map[string]any{
		"claimed_at": formatTime(r.Grant.ClaimedAt),
		"expires_at": formatTime(r.Grant.Until),
		"ended_at":   "", "end_reason": "", "ended_by": nil, "revocation": "", "last_error": "",
	}
	end := r.Ending(now)
	if end == nil {
		return grant
	}
	grant["ended_at"] = formatTime(end.At)
	grant["end_reason"] = string(end.Reason)
	grant["last_error"] = end.LastError
	grant["revocation"] = "pending"
	if end.Confirmed() {
		grant["revocation"] = "confirmed"
		grant["confirmed_at"] = formatTime(end.ConfirmedAt)
	}
	if end.By != nil {
		grant["ended_by"] = viewPerson(*end.By)
	}
	return grant
}

func viewPerson(p approval.Person) map[string]any {
	return map[string]any{"entity_id": p.EntityID, "name": p.Name}
}

func viewPeople(people []approval.Person) []map[string]any {
	list := make([]map[string]any, len(people))
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

// viewRevision adds which write of a definition this is.
func viewRevision(r approval.Revision, data map[string]any) map[string]any {
	data["version"] = r.Version
	data["updated_at"] = formatTime(r.UpdatedAt)
	data["updated_by"] = r.UpdatedBy
	return data
}

// answerWarnings is an answer without data; nil, that is status 204, if there are no warnings either.
func answerWarnings(warnings []string) *logical.Response {
	if len(warnings) == 0 {
		return nil
	}
	return &logical.Response{Warnings: warnings}
}

func toSeconds(d time.Duration) int64 { return int64(d / time.Second) }

// formatTime is RFC 3339 in UTC with milliseconds; "" for the zero time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func emptyIfNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
