package approval

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestRoleThatCouldGiveNothingOrSomethingElseIsRefused(t *testing.T) {
	parameter := func(name string, p Parameter) func(*Role) {
		return func(r *Role) { r.Parameters = map[string]Parameter{name: p} }
	}
	path := func(path string) func(*Role) { return func(r *Role) { r.Path = path } }
	policies := func(names ...string) func(*Role) { return func(r *Role) { r.GrantPolicies = names } }
	data := func(data map[string]any) func(*Role) {
		return func(r *Role) { r.Operation, r.Data = Write, data }
	}
	for _, c := range []struct {
		name    string
		change  func(*Role)
		refusal string
	}{
		{"as it is", func(*Role) {}, ""},
		{"the zero role", func(r *Role) { *r = Role{} }, "policy is empty; name the policy that guards this role"},
		{"no policy", func(r *Role) { r.Policy = "" }, "policy is empty"},
		{"no grant", func(r *Role) { r.GrantSpec = GrantSpec{} }, `grant_type is ""; accepted is "secret"`},
		{"another grant_type", func(r *Role) { r.GrantType = "membership" }, `grant_type is "membership"; accepted is "secret"`},
		{"no operation", func(r *Role) { r.Operation = "" }, `operation is ""; accepted are "read" and "write"`},
		{"another operation", func(r *Role) { r.Operation = "delete" }, `operation is "delete"`},
		{"a write", func(r *Role) { r.Operation = Write }, ""},
		{"data with a read", func(r *Role) { r.Data = map[string]any{"a": "b"} }, `data is given, but operation is "read"`},
		{"empty data with a read", func(r *Role) { r.Data = map[string]any{} }, ""},

		{"no requesters", func(r *Role) { r.RequesterEntityIDs = []string{} }, ""},
		{"a requester without id", func(r *Role) { r.RequesterEntityIDs = []string{"a", ""} }, "requester_entity_ids[1] is empty"},
		{"a requester group without id", func(r *Role) { r.RequesterIdentityGroupIDs = []string{""} }, "requester_identity_group_ids[0] is empty"},

		{"no grant_policies", policies(), "grant_policies is empty"},
		{"an empty policy", policies("a", ""), `grant_policies[1] is "", which is not a policy name`},
		{"a policy in upper case", policies("Jit"), `grant_policies[0] is "Jit", which is not a policy name`},
		{"a policy with space around", policies("a "), `grant_policies[0] is "a ", which is not a policy name`},
		{"root with a newline", policies("root\n"), `grant_policies[0] is "root\n", which is not a policy name`},
		{"root", policies("a", "root"), `grant_policies names "root", which a grant may not have`},
		{"Root", policies("Root"), "which is not a policy name"},
		{"default", policies("default"), `grant_policies names "default", which a grant may not have`},
		{"a policy twice", policies("a", "b", "a"), `grant_policies names "a" twice`},
		{"two policies", policies("a", "b"), ""},

		{"a parameter", parameter("db", Parameter{Pattern: "[a-z]+"}), ""},
		{"a parameter with a default", parameter("db", Parameter{Pattern: "[a-z]+", Default: "orders"}), ""},
		{"a parameter without name", parameter("", Parameter{Pattern: "a"}), "a parameter's name is 1 to 64 letters, digits, _ and -"},
		{"a parameter with a dot", parameter("a.b", Parameter{Pattern: "a"}), "a parameter's name is"},
		{"a parameter's name with a newline", parameter("a\n", Parameter{Pattern: "a"}), "a parameter's name is"},
		{"a parameter's longest name", parameter(strings.Repeat("a", 64), Parameter{Pattern: "a"}), ""},
		{"a parameter's name too long", parameter(strings.Repeat("a", 65), Parameter{Pattern: "a"}), "a parameter's name is"},
		{"a parameter without pattern", parameter("db", Parameter{Required: true}), `parameters: "db": pattern is empty; every parameter needs one`},
		{"a parameter with a bad pattern", parameter("db", Parameter{Pattern: "a)|(b"}), `parameters: "db": pattern: "a)|(b" is not a regular expression`},
		{"required with a default", parameter("db", Parameter{Pattern: "a", Required: true, Default: "a"}), "it is required and has a default; choose one"},
		{"a default that does not match", parameter("db", Parameter{Pattern: "a|b", Default: "ab"}), `the default "ab" does not match the pattern "a|b"`},
		{"a default with a control character", parameter("db", Parameter{Pattern: ".*", Default: "a\x1b[2J"}), "the default: it holds the control character U+001B"},

		{"no path", path(""), `path: "" is not a clean path`},
		{"a path of one segment", path("x"), ""},
		{"every accepted character", path("AZaz09_.@:=+~,-/x"), ""},
		{"an absolute path", path("/database/creds/x"), "is not a clean path"},
		{"a trailing slash", path("database/creds/"), "is not a clean path"},
		{"an empty segment", path("database//x"), "is not a clean path"},
		{"a dot", path("."), "is not a clean path"},
		{"dots", path(".."), "is not a clean path"},
		{"climbing at the start", path("../x"), "is not a clean path"},
		{"climbing inside", path("database/../sys/raw"), "is not a clean path"},
		{"climbing at the end", path("database/.."), "is not a clean path"},
		{"a dot inside", path("database/./x"), "is not a clean path"},
		{"three dots", path("database/.../x"), ""},
		{"a space", path("database/creds/a b"), `the segment "a b"`},
		{"an escaped dot", path("database/%2e%2e/x"), `the segment "%2e%2e"`},
		{"a newline", path("database/x\n"), `the segment "x\n"`},
		{"a query", path("database/x?y=z"), `the segment "x?y=z"`},
		{"a wildcard", path("database/*"), `the segment "*"`},
		{"a look-alike slash", path("database\u2215x"), "has characters that are not accepted"},
		{"a look-alike dot", path("database/\u2024\u2024/x"), "has characters that are not accepted"},
		{"invalid UTF-8", path("database/\xff"), "has characters that are not accepted"},
		{"a template function", path("database/{{print .TTL}}"), "holds something that is no reference"},
		{"an unknown reference", path("database/{{.Foo}}"), "{{.Foo}} is not known"},
		{"a parameter the role lacks", path("database/{{.Parameters.db}}"), "path: {{.Parameters.db}} names a parameter that the role does not have"},
		{"a reference as the whole path", path("{{.Requester.Name}}"), ""},
		{"a reference after dots", path("a/..{{.TTL}}"), ""},
		{"a reference after dots at the start", path("..{{.TTL}}"), "is not a clean path"},

		{"data of every kind", data(map[string]any{"a": "{{.TTL}}", "b": []any{"x", 1.5, true, nil}, "c": map[string]any{"d": json.Number("7")}}), ""},
		{"a bad template in data", data(map[string]any{"a": "{{.Foo}}"}), "data.a: {{.Foo}} is not known"},
		{"a bad template in a list", data(map[string]any{"a": []any{"x", "{{"}}), "data.a[1]: "},
		{"a bad template further in", data(map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": "}}"}}}}), "data.a.b[0].c: "},
		{"a reference that might be empty", func(r *Role) {
			r.Operation, r.Data = Write, map[string]any{"a": "{{.Parameters.db}}"}
			r.Parameters = map[string]Parameter{"db": {Pattern: ".*"}}
		}, "data.a: {{.Parameters.db}} might have no value; make the parameter required or give it a default"},
		{"a reference to a required parameter", func(r *Role) {
			r.Path = "database/creds/{{.Parameters.db}}"
			r.Parameters = map[string]Parameter{"db": {Pattern: ".*", Required: true}}
		}, ""},
		{"a reference to a parameter with a default", func(r *Role) {
			r.Path = "database/creds/{{.Parameters.db}}"
			r.Parameters = map[string]Parameter{"db": {Pattern: ".*", Default: "x"}}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			role := dba()
			c.change(&role)
			err := role.Validate()
			if c.refusal != "" {
				wantRefusal(t, err, c.refusal)
			} else if err != nil {
				t.Fatalf("refused: %v", err)
			}
		})
	}
}

func TestParametersAreExactlyWhatTheRoleDeclares(t *testing.T) {
	spec := GrantSpec{Parameters: map[string]Parameter{
		"db":    {Pattern: "orders|users", Required: true},
		"table": {Pattern: "(?m)^[a-z]+$", Default: "all"},
		"note":  {Pattern: "(?s).*"},
	}}
	big := func(n int) map[string]string {
		return map[string]string{"db": "orders", "note": strings.Repeat("x", n-len("db")-len("orders")-len("note"))}
	}
	for _, c := range []struct {
		name    string
		given   map[string]string
		want    map[string]string
		refusal string
	}{
		{"the least", map[string]string{"db": "orders"}, map[string]string{"db": "orders", "table": "all"}, ""},
		{"all", map[string]string{"db": "users", "table": "t", "note": "<b>\n\t{{.TTL}}"}, map[string]string{"db": "users", "table": "t", "note": "<b>\n\t{{.TTL}}"}, ""},
		{"given empty is not left out", map[string]string{"db": "users", "note": ""}, map[string]string{"db": "users", "table": "all", "note": ""}, ""},
		{"none", nil, nil, `parameters: "db" is required; it must match "orders|users"`},
		{"an unknown one", map[string]string{"db": "orders", "dbs": "x"}, nil, `parameters: "dbs" is not known; this role accepts db, note, table`},
		{"empty where a default is", map[string]string{"db": "orders", "table": ""}, nil, `parameters: "table" is "", which does not match "(?m)^[a-z]+$"`},
		{"more than the pattern", map[string]string{"db": "orders; drop"}, nil, `"db" is "orders; drop", which does not match "orders|users"`},
		{"a line of the pattern among others", map[string]string{"db": "orders", "table": "a\nB"}, nil, `"table" is "a\nB", which does not match`},
		{"as many bytes as are accepted", big(MaxParametersBytes), with(big(MaxParametersBytes), "table", "all"), ""},
		{"one byte more", big(MaxParametersBytes + 1), nil, "parameters have 16385 bytes together; at most 16384 are accepted"},
		{"a megabyte", big(1 << 20), nil, "at most 16384 are accepted"},
		{"a terminal's escape", map[string]string{"db": "orders", "note": "a\x1b[2J"}, nil, `parameters: "note": it holds the control character U+001B`},
		{"a direction override", map[string]string{"db": "orders", "note": "\u202e"}, nil, `parameters: "note": it holds the control character U+202E`},
		{"invalid UTF-8", map[string]string{"db": "orders", "note": "\xff"}, nil, `parameters: "note": it is not valid UTF-8`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := spec.Parametrise(c.given)
			if c.refusal != "" {
				wantRefusal(t, err, c.refusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, "parameters", got, c.want)
		})
	}

	_, err := GrantSpec{}.Parametrise(map[string]string{"db": "orders"})
	wantRefusal(t, err, "this role accepts none")
	// A pattern that got past Validate accepts nothing.
	_, err = GrantSpec{Parameters: map[string]Parameter{"db": {Pattern: "(", Default: "x"}}}.Parametrise(nil)
	wantRefusal(t, err, `parameters: "db": "(" is not a regular expression`)
}

func TestRenderFillsInEveryStringAndNothingElse(t *testing.T) {
	spec := specWith("pki/issue/{{.Parameters.db}}", map[string]any{
		"ttl":    "{{.TTL}}s",
		"n":      1.5,
		"exact":  json.Number("12345678901234567890"),
		"yes":    true,
		"none":   nil,
		"list":   []any{"{{.Requester.Name}}", []any{}, map[string]any{"{{.TTL}}": "{{.Requester.EntityID}}"}},
		"nested": map[string]any{},
	}, "db")
	spec.AllowUnleased = true
	before := asText(t, spec)

	rendered, err := spec.Render(standing("alice"), map[string]string{"db": "orders"}, 90*time.Minute+999*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "grant", rendered, Rendered{
		GrantType: Secret,
		Path:      "pki/issue/orders",
		Operation: Write,
		Data: map[string]any{
			"ttl":    "5400s",
			"n":      1.5,
			"exact":  json.Number("12345678901234567890"),
			"yes":    true,
			"none":   nil,
			"list":   []any{"alice", []any{}, map[string]any{"{{.TTL}}": "entity-alice"}},
			"nested": map[string]any{},
		},
		GrantPolicies: []string{"jit-dba"},
		AllowUnleased: true,
	})

	rendered.GrantPolicies[0] = "changed"
	rendered.Data["list"].([]any)[2].(map[string]any)["more"] = "changed"
	wantEqual(t, "the role's own grant", asText(t, spec), before)
}

func TestRenderRefusesDataItCannotFillIn(t *testing.T) {
	for name, data := range map[string]map[string]any{
		"data.a":      {"a": "{{.Parameters.db}}"},
		"data.a[1]":   {"a": []any{"x", "{{.Parameters.db}}"}},
		"data.a.b[0]": {"a": map[string]any{"b": []any{"{{.Parameters.db}}"}}},
	} {
		_, err := specWith("x/y", data).Render(standing("alice"), nil, time.Hour)
		wantRefusal(t, err, name+`: the parameter "db" is not given`)
	}
}

// A login name is often what a directory says, and so somebody else's text.
func TestRenderRefusesRequestersTextThatApproversCouldNotRead(t *testing.T) {
	alice := standing("alice")
	alice.Metadata = map[string]string{"team": "orders\u202e"}
	_, err := specWith("x/y", map[string]any{"a": "{{.Requester.Metadata.team}}"}).Render(alice, nil, time.Hour)
	wantRefusal(t, err, "data.a: {{.Requester.Metadata.team}}: it holds the control character U+202E")
}

func TestRenderKeepsDataAbsentWhereItIs(t *testing.T) {
	rendered, err := dba().Render(standing("alice"), nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "data", rendered.Data, map[string]any(nil))
}

func TestFingerprintChangesWithWhatTheRoleGives(t *testing.T) {
	base := dba().Fingerprint()
	for name, change := range map[string]func(*Role){
		"policy":         func(r *Role) { r.Policy = "lax" },
		"grant_type":     func(r *Role) { r.GrantType = "action" },
		"path":           func(r *Role) { r.Path = "database/creds/root" },
		"operation":      func(r *Role) { r.Operation = Write },
		"data":           func(r *Role) { r.Data = map[string]any{"a": 1} },
		"parameters":     func(r *Role) { r.Parameters = map[string]Parameter{"a": {}} },
		"grant_policies": func(r *Role) { r.GrantPolicies = append(r.GrantPolicies, "more") },
		"allow_unleased": func(r *Role) { r.AllowUnleased = true },
	} {
		role := dba()
		change(&role)
		if role.Fingerprint() == base {
			t.Errorf("it is the same with another %s", name)
		}
	}
	for name, change := range map[string]func(*Role){
		"requesters":  func(r *Role) { r.RequesterEntityIDs = []string{"x"} },
		"description": func(r *Role) { r.Description = "x" },
		"revision":    func(r *Role) { r.Version = 2 },
	} {
		role := dba()
		change(&role)
		if role.Fingerprint() != base {
			t.Errorf("it is another with another %s, which gives nothing", name)
		}
	}
}

func TestDigestOfWhatIsNoJSONIsAFaultInTheProgram(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two values without JSON would have had the same digest")
		}
	}()
	digestOf(map[string]any{"f": func() {}})
}

func TestRoleMayBeAskedByItsRequestersOrByAnyoneIfItNamesNone(t *testing.T) {
	open, closed := dba(), dba()
	closed.RequesterEntityIDs, closed.RequesterIdentityGroupIDs = []string{"alice"}, []string{"g1"}
	onlyGroups := dba()
	onlyGroups.RequesterIdentityGroupIDs = []string{"g1"}
	onlyEntities := dba()
	onlyEntities.RequesterEntityIDs = []string{"alice"}
	for _, c := range []struct {
		name   string
		role   Role
		entity string
		groups []string
		want   bool
	}{
		{"open", open, "mallory", nil, true},
		{"named", closed, "alice", nil, true},
		{"by group", closed, "bob", []string{"g0", "g1"}, true},
		{"stranger", closed, "mallory", []string{"g0"}, false},
		{"nobody", closed, "", nil, false},
		{"only groups, stranger", onlyGroups, "alice", nil, false},
		{"only groups, member", onlyGroups, "alice", []string{"g1"}, true},
		{"only entities, stranger", onlyEntities, "bob", []string{"alice"}, false},
		{"only entities, named", onlyEntities, "alice", nil, true},
	} {
		if got := c.role.MayBeAskedBy(c.entity, c.groups); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	for name, c := range map[string]struct {
		role Role
		want bool
	}{"open": {open, true}, "closed": {closed, false}, "only groups": {onlyGroups, false}, "only entities": {onlyEntities, false}} {
		wantEqual(t, "open to all: "+name, c.role.OpenToAll(), c.want)
	}
}
