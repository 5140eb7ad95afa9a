package wire

import "github.com/vault-jit/vault-jit/plugin/approval"

// AskTable describes what a requester gives.
var AskTable = Table{
	Name: "Ask", Description: "is what a requester asks for.",
	Fields: []Field{
		{Name: "role", Type: String, Required: true, Replaces: true, Description: "The role to ask for."},
		{Name: "reason", Type: String, Replaces: true, Description: "Why, for the approvers and the record. Required unless the policy says otherwise. Up to 4 KiB."},
		{Name: "ttl", Type: Int, Unit: InSeconds, Replaces: true, DefaultSaid: "the `default_ttl` of the role's policy, or the mount's longest lease if that is shorter",
			Description: "For how long, from the claim on. What is longer than the policy's `max_ttl` or the mount's longest lease is refused."},
		{Name: "parameters", Type: Pairs, Replaces: true, Description: "The role's parameters, strings by name. Up to 16 KiB together."},
	},
}

// SummaryTable describes a request as lists show it.
var SummaryTable = Table{
	Name: "Summary", Description: "is what a detailed list shows of a request: enough to decide whether to read it.",
	Embeds: []Table{AskTable, SpecificationTable.ReadOnly()},
	Fields: []Field{
		{Name: "state", Type: String, Computed: true, OneOf: StateNames(), Description: "What the request amounts to now: `pending`, `approved`, `claiming`, `active`, " +
			"`denied`, `cancelled`, `expired` or `ended`."},
		{Name: "requester", Type: String, Computed: true, Description: "Login name of who asked."},
		{Name: "created_at", Type: Moment, Computed: true, Description: "When it was made, RFC 3339."},
		{Name: "expires_at", Type: Moment, Computed: true, Description: "When it expires unless something happens, RFC 3339: for its quorum, for its claim, or the end of the window."},
		{Name: "cannot_be_taken_back", Type: Bool, Computed: true, Description: "Whether what is given may outlive its window: the role's `allow_unleased`."},
		{Name: "digest", Type: String, Computed: true, Description: "Hex SHA-256 over the stored bytes of what was asked, which hold the id and everything that was frozen. " +
			"It never changes."},
	},
}

// DecisionTable describes somebody's decision.
var DecisionTable = Table{
	Name: "Decision", Description: "is an approver's current decision on a request.",
	Fields: []Field{
		{Name: "approver", Type: Object, Of: &PersonTable, Computed: true, Description: "Who decided."},
		{Name: "verdict", Type: String, Computed: true, Description: "`approve` or `deny`."},
		{Name: "comment", Type: String, Computed: true, Description: "The approver's comment."},
		{Name: "at", Type: Moment, Computed: true, Description: "When, RFC 3339."},
		{Name: "counts", Type: Bool, Computed: true, Description: "Whether it counts."},
		{Name: "why", Type: String, Computed: true, Description: "Why it counts, or does not."},
	},
}

// RuleCountTable describes how far a rule is met.
var RuleCountTable = Table{
	Name: "RuleCount", Description: "says how far a rule is met.",
	Fields: []Field{
		{Name: "name", Type: String, Computed: true, Description: "Name of the rule."},
		{Name: "approver_groups", Type: Strings, Computed: true, Description: "Approver groups whose members can approve."},
		{Name: "approvals_required", Type: Int, Computed: true, Description: "How many must approve."},
		{Name: "approvals_counted", Type: Int, Computed: true, Description: "How many approvals count."},
		{Name: "satisfied", Type: Bool, Computed: true, Description: "Whether that is enough."},
		{Name: "counted", Type: Strings, Ordered: true, Computed: true, Description: "Names of those who count."},
		{Name: "can_approve", Type: Strings, Ordered: true, Null: true, Computed: true, Description: "Names of those who can still approve, as far as the engine knows them; null in other " +
			"answers than that to a read."},
	},
}

// GrantTable describes a grant and its end.
var GrantTable = Table{
	Name: "Grant", Description: "is what a claim produced, and its end.",
	Fields: []Field{
		{Name: "claimed_at", Type: Moment, Computed: true, Description: "When it was claimed, RFC 3339."},
		{Name: "expires_at", Type: Moment, Computed: true, Description: "The end of its window, RFC 3339."},
		{Name: "ended_at", Type: Moment, Computed: true, Description: "When it ended, RFC 3339; empty while it lives."},
		{Name: "end_reason", Type: String, Computed: true, Description: "`window_end`, `revoked`, `lease_revoked`, or `claim_failed` for a grant that nobody got."},
		{Name: "ended_by", Type: Object, Of: &PersonTable, Null: true, Computed: true, Description: "Who revoked it through the engine, for the end reason `revoked`."},
		{Name: "revocation", Type: String, Computed: true, Description: "`confirmed` once nothing of the grant is left, `pending` until then; empty while it lives."},
		{Name: "confirmed_at", Type: Moment, Computed: true, Description: "When the end was confirmed, RFC 3339; empty while it is not."},
		{Name: "last_error", Type: String, Computed: true, Description: "What stood in the way of the end at the last attempt."},
	},
}

// RequestTable describes a request with all that is known of it.
var RequestTable = Table{
	Name: "Request", Description: "is a request with all that is known of it.",
	Embeds: []Table{SummaryTable},
	Fields: []Field{
		{Name: "id", Type: String, Computed: true, Description: "The request's id."},
		{Name: "requester", Type: Object, Of: &PersonTable, Computed: true, Description: "Who asked."},
		{Name: "policy", Type: String, Computed: true, Description: "The policy that was frozen with the request."},
		{Name: "policy_version", Type: Int, Computed: true, Description: "Which version of it."},
		{Name: "decisions", Type: Objects, Of: &DecisionTable, Computed: true, Description: "Each approver's current decision."},
		{Name: "denials", Type: Int, Computed: true, Description: "How many denials count."},
		{Name: "deny_threshold", Type: Int, Computed: true, Description: "How many make the denial final."},
		{Name: "rules", Type: Objects, Of: &RuleCountTable, Computed: true, Description: "How far each rule of the policy is met."},
		{Name: "claimable", Type: Bool, Computed: true, Description: "Whether the requester can claim now."},
		{Name: "obstacles", Type: Strings, Ordered: true, Computed: true, Description: "Each thing that stands in the way of a claim, in a sentence."},
		{Name: "grant", Type: Object, Of: &GrantTable, Null: true, Computed: true, Description: "What the claim produced, and its end; null before the claim."},
	},
}

// NameRequestTable describes how a request is named.
var NameRequestTable = Table{
	Name: "NameRequest", Description: "names a request.",
	Fields: []Field{{Name: "id", Type: String, Required: true, Description: "The request's id."}},
}

// DecideTable describes what an approver gives.
var DecideTable = Table{
	Name: "Decide", Description: "is what an approver gives.",
	Embeds: []Table{NameRequestTable},
	Fields: []Field{{Name: "comment", Type: String, Description: "A comment, for the record. Up to 4 KiB."}},
}

// RevokedTable describes the answer to a revocation.
var RevokedTable = Table{
	Name: "Revoked", Description: "is the answer to a revocation.",
	Fields: []Field{
		{Name: "id", Type: String, Computed: true, Description: "The request's id."},
		{Name: "state", Type: String, Computed: true, Description: "The state of the request: `ended`."},
		{Name: "grant", Type: Object, Of: &GrantTable, Computed: true, Description: "The grant, and how far its end is confirmed."},
	},
}

// PageTable describes which part of a list is wanted.
var PageTable = Table{
	Name: "Page", Description: "says which part of a list is wanted.",
	Fields: []Field{
		{Name: "after", Type: String, Description: "List only what comes after this id: requests that are older."},
		{Name: "limit", Type: Int, Default: 100, Description: "List at most so many, 1 to 1000. Where there may be more, the answer has `next`, which is the `after` to go on with."},
	},
}

// QueryTable describes which requests are wanted.
var QueryTable = Table{
	Name: "Query", Description: "says which requests are wanted.",
	Embeds: []Table{PageTable},
	Fields: []Field{
		{Name: "state", Type: Strings, OneOf: append(StateNames(), "open", "all"), DefaultSaid: "`open`", Description: "List only requests in these states, `open` for those that " +
			"wait or are active, or `all`."},
		{Name: "role", Type: String, Description: "List only requests for this role."},
	},
}

// TidiedTable describes the answer to a tidy.
var TidiedTable = Table{
	Name: "Tidied", Description: "is the answer to a tidy.",
	Fields: []Field{{Name: "removed", Type: Int, Computed: true, Description: "How many requests were removed."}},
}

// StateNames are the states of a request, in the order of its life.
func StateNames() []string {
	var names []string
	for _, state := range approval.States() {
		names = append(names, string(state))
	}
	return names
}

// IsOver reports whether nothing will come of the request any more.
func (s Summary) IsOver() bool { return !approval.State(s.State).Open() }

// IsActive reports whether the request is granted and its grant lives.
func (s Summary) IsActive() bool { return s.State == string(approval.StateActive) }
