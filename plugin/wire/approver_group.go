package wire

// ApproverGroupTable describes an approver group.
var ApproverGroupTable = Table{
	Name: "ApproverGroup", Description: "is a named set of approvers: Vault entities, and members of Vault identity groups.",
	Embeds: []Table{RevisionTable},
	Fields: []Field{
		{Name: "entity_ids", Type: Strings, Listed: true, Description: "Ids of Vault entities that belong to the group."},
		{Name: "identity_group_ids", Type: Strings, Listed: true, Description: "Ids of Vault identity groups whose members, also through inner groups, " +
			"belong to the group. At least one entity or identity group is needed."},
		{Name: "description", Type: String, Listed: true, Description: "What the group is for."},
	},
}
