package wire

// RuleTable describes a rule of a policy.
var RuleTable = Table{
	Name: "Rule", Description: "is one condition of a policy: so many distinct people out of these approver groups.",
	Fields: []Field{
		{Name: "name", Type: String, Required: true, Description: "Name of the rule, for people to read; unique in the policy."},
		{Name: "approver_groups", Type: Strings, Required: true, Description: "Names of the approver groups whose members can approve, up to 32."},
		{Name: "approvals", Type: Int, Required: true, Description: "How many distinct people of these groups must approve, 1 to 100."},
	},
}

// PolicyTable describes an approval policy.
var PolicyTable = Table{
	Name: "Policy", Description: "is an approval policy: who must agree to a request, and within which limits.",
	Embeds: []Table{RevisionTable},
	Fields: []Field{
		{Name: "rules", Type: Objects, Of: &RuleTable, Required: true, Listed: true, Description: "Who must approve, up to 32 rules. Every rule must be met, and one " +
			"person counts for at most one of them."},
		{Name: "deny_threshold", Type: Int, Default: 1, Description: "How many eligible people must deny to refuse a request for good."},
		{Name: "allow_self_approval", Type: Bool, Default: false, Description: "Whether the requester may count as an approver."},
		{Name: "require_reason", Type: Bool, Default: true, Description: "Whether a request must give a reason."},
		{Name: "reason_pattern", Type: String, DefaultSaid: "any reason", Description: "Regular expression " +
			"([RE2](https://github.com/google/re2/wiki/Syntax)) that the whole reason must match."},
		{Name: "request_ttl", Type: Int, Unit: InSeconds, Default: "8h", Description: "How long a request waits for its quorum."},
		{Name: "claim_ttl", Type: Int, Unit: InSeconds, Default: "1h", Description: "How long an approval waits to be claimed."},
		{Name: "default_ttl", Type: Int, Unit: InSeconds, Zero: true, DefaultSaid: "the smaller of `1h` and `max_ttl`",
			Description: "The window of a request that names none."},
		{Name: "max_ttl", Type: Int, Unit: InSeconds, Default: "8h", Listed: true, Description: "The longest window that can be asked for."},
		{Name: "description", Type: String, Listed: true, Description: "What the policy is for."},
	},
}

// RuleOutlookTable describes whether a rule can be met.
var RuleOutlookTable = Table{
	Name: "RuleOutlook", Description: "says whether there are enough people for one rule.",
	Fields: []Field{
		{Name: "name", Type: String, Computed: true, Description: "Name of the rule."},
		{Name: "approver_groups", Type: Strings, Computed: true, Description: "Approver groups whose members can approve."},
		{Name: "approvals_required", Type: Int, Computed: true, Description: "How many must approve."},
		{Name: "satisfiable", Type: Bool, Computed: true, Description: "Whether there are enough people for it."},
		{Name: "known", Type: Bool, Computed: true, Description: "Whether all who could count for it are known."},
		{Name: "candidates", Type: Objects, Of: &PersonTable, Computed: true, Description: "Who could count for it."},
		{Name: "spare", Type: Int, Computed: true, Description: "How many more people than needed it could have while every other rule is met; " +
			"negative when some are lacking."},
	},
}

// PolicyCheckTable describes whether a policy can be met.
var PolicyCheckTable = Table{
	Name: "PolicyCheck", Description: "says whether a policy can be met by the people there are now.",
	Fields: []Field{
		{Name: "satisfiable", Type: Bool, Computed: true, Description: "Whether all rules can be met at once by distinct people who are known."},
		{Name: "known", Type: Bool, Computed: true, Description: "False where the members of some group are not known: the engine may not read an identity group, " +
			"or the group has more than 200 people. Then there may be more people than shown, and `satisfiable = false` means that it cannot be told."},
		{Name: "depends_on", Type: Objects, Of: &PersonTable, Computed: true, Description: "The people without whom the policy could not be met."},
		{Name: "rules", Type: Objects, Of: &RuleOutlookTable, Computed: true, Description: "The outlook of each rule."},
	},
}
