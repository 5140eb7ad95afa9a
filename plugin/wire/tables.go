package wire

// NameField is the name of a definition, which stands in its path.
func NameField(kind string) Field {
	return Field{Name: "name", Type: String, Required: true, Replaces: true,
		Description: "Name of the " + kind + ", in the path: letters, digits, `_`, `-` and `.`, with a letter, a digit or `_` at both ends."}
}

// RevisionTable describes which write of a definition this is.
var RevisionTable = Table{
	Name: "Revision", Description: "tells which write of a definition this is.",
	Fields: []Field{
		{Name: "version", Type: Int, Computed: true, Description: "How often it was written, from 1."},
		{Name: "updated_at", Type: Moment, Computed: true, Description: "When it was written last, RFC 3339."},
		{Name: "updated_by", Type: String, Computed: true, Description: "Display name of the token that wrote it last."},
	},
}

// PersonTable describes somebody.
var PersonTable = Table{
	Name: "Person", Description: "is somebody: a Vault entity.",
	Fields: []Field{
		{Name: "entity_id", Type: String, Computed: true, Description: "Id of the Vault entity."},
		{Name: "name", Type: String, Computed: true, Description: "Login name."},
	},
}

// Tables are all that have a struct in types.go.
var Tables = []Table{
	RevisionTable, PersonTable,
	ApproverGroupTable, ApproverGroupTable.Summary(),
	RuleTable, PolicyTable, PolicyTable.Summary(), RuleOutlookTable, PolicyCheckTable,
	SpecificationTable, ParameterTable, RoleTable, RoleTable.Summary(),
	ConfigTable, StatusTable,
	AskTable, SummaryTable, DecisionTable, RuleCountTable, GrantTable, RequestTable,
	NameRequestTable, DecideTable, RevokedTable, PageTable, QueryTable, TidiedTable,
}
