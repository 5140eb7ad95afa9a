package grant

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/refusal/refusaltest"
)

func TestSecretThatCouldGiveNothingOrSomethingElseIsRefusedAtItsField(t *testing.T) {
	parameter := func(name string, p Parameter) func(*Secret) {
		return func(s *Secret) { s.Parameters = Parameters{name: p} }
	}
	path := func(path string) func(*Secret) { return func(s *Secret) { s.Path = path } }
	policies := func(names ...string) func(*Secret) { return func(s *Secret) { s.GrantPolicies = names } }
	data := func(data map[string]any) func(*Secret) {
		return func(s *Secret) { s.Operation, s.Data = Write, data }
	}
	for _, c := range []struct {
		name    string
		change  func(*Secret)
		refusal string
	}{
		{"as it is", func(*Secret) {}, ""},
		{"the zero secret", func(s *Secret) { *s = Secret{} }, `operation: it is ""`},
		{"no operation", func(s *Secret) { s.Operation = "" }, `operation: it is ""; accepted are "read" and "write"`},
		{"another operation", func(s *Secret) { s.Operation = "delete" }, `operation: it is "delete"`},
		{"a write", func(s *Secret) { s.Operation = Write }, ""},
		{"data with a read", func(s *Secret) { s.Data = map[string]any{"a": "b"} }, `data: it is given, but operation is "read", which sends none; leave it out, or let operation be "write"`},
		{"empty data with a read", func(s *Secret) { s.Data = map[string]any{} }, ""},

		{"no grant_policies", policies(), "grant_policies: it is empty, and a grant token asked for without policies would get every policy of its token role; name at least one policy"},
		{"an empty policy", policies("a", ""), `grant_policies[1]: it is "", which is not a policy name; accepted is lower case, without surrounding space`},
		{"a policy in upper case", policies("Jit"), `grant_policies[0]: it is "Jit", which is not a policy name`},
		{"a policy with space around", policies("a "), `grant_policies[0]: it is "a ", which is not a policy name`},
		{"root with a newline", policies("root\n"), `grant_policies[0]: it is "root\n", which is not a policy name`},
		{"root", policies("a", "root"), `grant_policies[1]: it is "root", which a grant may not have`},
		{"Root", policies("Root"), `grant_policies[0]: it is "Root", which is not a policy name`},
		{"default", policies("default"), `grant_policies[0]: it is "default", which a grant may not have`},
		{"a policy twice", policies("a", "b", "a"), `grant_policies[2]: it is "a", which is there twice`},
		{"two policies", policies("a", "b"), ""},

		{"a parameter", parameter("db", Parameter{Pattern: "[a-z]+"}), ""},
		{"a parameter with a default", parameter("db", Parameter{Pattern: "[a-z]+", Default: "orders"}), ""},
		{"a parameter without name", parameter("", Parameter{Pattern: "a"}), `parameters[""]: it is not a parameter's name; accepted are 1 to 64 letters, digits, _ and -`},
		{"a parameter with a dot", parameter("a.b", Parameter{Pattern: "a"}), `parameters["a.b"]: it is not a parameter's name`},
		{"a parameter's name with a newline", parameter("a\n", Parameter{Pattern: "a"}), `parameters["a\n"]: it is not a parameter's name`},
		{"a parameter's longest name", parameter(strings.Repeat("a", 64), Parameter{Pattern: "a"}), ""},
		{"a parameter's name too long", parameter(strings.Repeat("a", 65), Parameter{Pattern: "a"}), "parameters." + strings.Repeat("a", 65) + ": it is not a parameter's name"},
		{"a parameter without pattern", parameter("db", Parameter{Required: true}), `parameters.db.pattern: it is empty; every parameter needs one`},
		{"a parameter with a bad pattern", parameter("db", Parameter{Pattern: "a)|(b"}), `parameters.db.pattern: "a)|(b" is not a regular expression`},
		{"required with a default", parameter("db", Parameter{Pattern: "a", Required: true, Default: "a"}), "parameters.db.default: it is given, but the parameter is required; choose one"},
		{"a default that does not match", parameter("db", Parameter{Pattern: "a|b", Default: "ab"}), `parameters.db.default: it is "ab", which does not match the pattern "a|b"`},
		{"a default with a control character", parameter("db", Parameter{Pattern: ".*", Default: "a\x1b[2J"}), `parameters.db.default: it holds the control character U+001B`},

		{"no path", path(""), `path: "" is not a clean path; accepted is, for example, database/creds/readonly, without a leading or trailing slash and without empty, . or .. segments`},
		{"a path of one segment", path("x"), ""},
		{"every accepted character", path("AZaz09_.@:=+~,-/x"), ""},
		{"an absolute path", path("/database/creds/x"), `path: "/database/creds/x" is not a clean path`},
		{"a trailing slash", path("database/creds/"), `path: "database/creds/" is not a clean path`},
		{"an empty segment", path("database//x"), `path: "database//x" is not a clean path`},
		{"a dot", path("."), `path: "." is not a clean path`},
		{"dots", path(".."), `path: ".." is not a clean path`},
		{"climbing at the start", path("../x"), `path: "../x" is not a clean path`},
		{"climbing inside", path("database/../sys/raw"), `path: "database/../sys/raw" is not a clean path`},
		{"climbing at the end", path("database/.."), `path: "database/.." is not a clean path`},
		{"a dot inside", path("database/./x"), `path: "database/./x" is not a clean path`},
		{"three dots", path("database/.../x"), ""},
		{"a space", path("database/creds/a b"), `path: the segment "a b" of "database/creds/a b" has characters that are not accepted; accepted are letters, digits and _.@:=+~,-`},
		{"an escaped dot", path("database/%2e%2e/x"), `path: the segment "%2e%2e"`},
		{"a newline", path("database/x\n"), `path: the segment "x\n"`},
		{"a query", path("database/x?y=z"), `path: the segment "x?y=z"`},
		{"a wildcard", path("database/*"), `path: the segment "*"`},
		{"a look-alike slash", path("database\u2215x"), "path: the segment "},
		{"a look-alike dot", path("database/\u2024\u2024/x"), "path: the segment "},
		{"invalid UTF-8", path("database/\xff"), "path: the segment "},
		{"a template function", path("database/{{print .TTL}}"), "path: \"database/{{print .TTL}}\" holds something that is no reference; " + "accepted are {{.Request.ID}}"},
		{"an unknown reference", path("database/{{.Foo}}"), "path: {{.Foo}} is not known; accepted are {{.Request.ID}}, {{.Parameters.NAME}}"},
		{"a parameter the role lacks", path("database/{{.Parameters.db}}"), "path: {{.Parameters.db}} names a parameter that the role does not have"},
		{"a reference as the whole path", path("{{.Requester.Name}}"), ""},
		{"a reference after dots", path("a/..{{.TTL}}"), ""},
		{"a reference after dots at the start", path("..{{.TTL}}"), `path: "..{{.TTL}}" is not a clean path`},

		{"data of every kind", data(map[string]any{"a": "{{.TTL}}", "b": []any{"x", 1.5, true, nil}, "c": map[string]any{"d": json.Number("7")}}), ""},
		{"a bad template in data", data(map[string]any{"a": "{{.Foo}}"}), "data.a: {{.Foo}} is not known"},
		{"a bad template in a list", data(map[string]any{"a": []any{"x", "{{"}}), `data.a[1]: "{{" holds something`},
		{"a bad template under a key with a dot", data(map[string]any{"a.b": "{{"}), `data["a.b"]: "{{" holds something`},
		{"a bad template further in", data(map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": "}}"}}}}), `data.a.b[0].c: "}}" holds something`},
		{"a reference that might be empty", func(s *Secret) {
			s.Operation, s.Data = Write, map[string]any{"a": "{{.Parameters.db}}"}
			s.Parameters = Parameters{"db": {Pattern: ".*"}}
		}, "data.a: {{.Parameters.db}} might have no value; make the parameter required or give it a default"},
		{"a reference to a required parameter", func(s *Secret) {
			s.Path = "database/creds/{{.Parameters.db}}"
			s.Parameters = Parameters{"db": {Pattern: ".*", Required: true}}
		}, ""},
		{"a reference to a parameter with a default", func(s *Secret) {
			s.Path = "database/creds/{{.Parameters.db}}"
			s.Parameters = Parameters{"db": {Pattern: ".*", Default: "x"}}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := secret()
			c.change(&s)
			err := s.Validate()
			if c.refusal != "" {
				refusaltest.WantAt(t, err, c.refusal)
			} else if err != nil {
				t.Fatalf("refused: %v", err)
			}
		})
	}
}

func TestParametersOtherThanDeclaredAreRefusedAtTheirField(t *testing.T) {
	spec := Secret{Parameters: Parameters{
		"db":    {Pattern: "orders|users", Required: true},
		"table": {Pattern: "(?m)^[a-z]+$", Default: "all"},
		"note":  {Pattern: "(?s).*"},
	}}
	withTable := func(given map[string]string) map[string]string {
		given["table"] = "all"
		return given
	}
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
		{"none", nil, nil, `parameters.db: it is required; it must match "orders|users"`},
		{"a name that is no word", map[string]string{"db": "orders", "a b": "x"}, nil, `parameters["a b"]: there is no such parameter`},
		{"an unknown one", map[string]string{"db": "orders", "dbs": "x"}, nil, `parameters.dbs: there is no such parameter; this role accepts db, note, table`},
		{"empty where a default is", map[string]string{"db": "orders", "table": ""}, nil, `parameters.table: it is "", which does not match "(?m)^[a-z]+$"`},
		{"more than the pattern", map[string]string{"db": "orders; drop"}, nil, `parameters.db: it is "orders; drop", which does not match "orders|users"`},
		{"a line of the pattern among others", map[string]string{"db": "orders", "table": "a\nB"}, nil, `parameters.table: it is "a\nB", which does not match`},
		{"as many bytes as are accepted", big(MaxParametersBytes), withTable(big(MaxParametersBytes)), ""},
		{"one byte more", big(MaxParametersBytes + 1), nil, "parameters: they have 16385 bytes together; at most 16384 are accepted"},
		{"a megabyte", big(1 << 20), nil, "parameters: they have 1048576 bytes together"},
		{"a terminal's escape", map[string]string{"db": "orders", "note": "a\x1b[2J"}, nil, `parameters.note: it holds the control character U+001B`},
		{"a direction override", map[string]string{"db": "orders", "note": "\u202e"}, nil, `parameters.note: it holds the control character U+202E`},
		{"invalid UTF-8", map[string]string{"db": "orders", "note": "\xff"}, nil, `parameters.note: it is not valid UTF-8`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := spec.Fill(c.given)
			if c.refusal != "" {
				refusaltest.WantAt(t, err, c.refusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, "parameters", got, c.want)
		})
	}

	_, err := Secret{}.Fill(map[string]string{"db": "orders"})
	refusaltest.WantAt(t, err, "parameters.db: there is no such parameter; this role accepts none")
	// A pattern that got past Validate accepts nothing.
	_, err = Secret{Parameters: Parameters{"db": {Pattern: "(", Default: "x"}}}.Fill(nil)
	refusaltest.WantAt(t, err, `parameters.db: "(" is not a regular expression`)
}

func TestRenderFillsInEveryStringAndNothingElse(t *testing.T) {
	spec := secretWith("pki/issue/{{.Parameters.db}}", map[string]any{
		"ttl":    "{{.TTL}}s",
		"n":      1.5,
		"exact":  json.Number("12345678901234567890"),
		"yes":    true,
		"none":   nil,
		"list":   []any{"{{.Requester.Name}}", "{{.Request.ID}}", []any{}, map[string]any{"{{.TTL}}": "{{.Requester.EntityID}}"}},
		"nested": map[string]any{},
	}, "db")
	spec.AllowUnleased = true
	before := asText(t, spec)
	v := values(map[string]string{"db": "orders"})
	v.TTL = 90*time.Minute + 999*time.Millisecond

	rendered, err := spec.Render(v)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "grant", rendered, Rendered{
		Kind:      KindSecret,
		Path:      "pki/issue/orders",
		Operation: Write,
		Data: map[string]any{
			"ttl":    "5400s",
			"n":      1.5,
			"exact":  json.Number("12345678901234567890"),
			"yes":    true,
			"none":   nil,
			"list":   []any{"alice", values(nil).RequestID, []any{}, map[string]any{"{{.TTL}}": "entity-alice"}},
			"nested": map[string]any{},
		},
		GrantPolicies: []string{"jit-dba"},
		AllowUnleased: true,
	})

	wantEqual(t, "cannot be undone", rendered.CannotBeUndone(), true)

	rendered.GrantPolicies[0] = "changed"
	rendered.Data["list"].([]any)[3].(map[string]any)["more"] = "changed"
	wantEqual(t, "the role's own grant", asText(t, spec), before)
}

func TestRenderRefusesDataItCannotFillIn(t *testing.T) {
	for field, data := range map[string]map[string]any{
		"data.a":      {"a": "{{.Requester.Metadata.db}}"},
		"data.a[1]":   {"a": []any{"x", "{{.Requester.Metadata.db}}"}},
		"data.a.b[0]": {"a": map[string]any{"b": []any{"{{.Requester.Metadata.db}}"}}},
	} {
		_, err := secretWith("x/y", data).Render(values(nil))
		refusaltest.WantAt(t, err, "role: {{.Requester.Metadata.db}} in its "+field+` has no value: the requester's entity has no metadata "db"`)
	}
}

// Metadata is an operator's, and may still be somebody else's text.
func TestRenderRefusesRequestersTextThatApproversCouldNotRead(t *testing.T) {
	v := values(nil)
	v.Metadata = map[string]string{"team": "orders\u202e"}
	_, err := secretWith("x/y", map[string]any{"a": "{{.Requester.Metadata.team}}"}).Render(v)
	refusaltest.WantAt(t, err, "role: {{.Requester.Metadata.team}} in its data.a: it holds the control character U+202E")
}

func TestRenderKeepsAbsentDataAbsent(t *testing.T) {
	rendered, err := secret().Render(values(nil))
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "data", rendered.Data, map[string]any(nil))
	wantEqual(t, "cannot be undone", rendered.CannotBeUndone(), false)
}

func TestFingerprintChangesWithWhatIsGiven(t *testing.T) {
	fingerprint := func(change func(*Secret)) string {
		s := secret()
		s.Parameters = Parameters{"db": {Pattern: "a"}}
		change(&s)
		text, err := s.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	base := fingerprint(func(*Secret) {})
	for name, change := range map[string]func(*Secret){
		"path":           func(s *Secret) { s.Path = "database/creds/root" },
		"operation":      func(s *Secret) { s.Operation = Write },
		"data":           func(s *Secret) { s.Data = map[string]any{"a": 1} },
		"parameters":     func(s *Secret) { s.Parameters["a"] = Parameter{} },
		"a pattern":      func(s *Secret) { s.Parameters["db"] = Parameter{Pattern: "b"} },
		"a default":      func(s *Secret) { s.Parameters["db"] = Parameter{Pattern: "a", Default: "a"} },
		"a required":     func(s *Secret) { s.Parameters["db"] = Parameter{Pattern: "a", Required: true} },
		"grant_policies": func(s *Secret) { s.GrantPolicies = append(s.GrantPolicies, "more") },
		"allow_unleased": func(s *Secret) { s.AllowUnleased = true },
	} {
		if fingerprint(change) == base {
			t.Errorf("it is the same with another %s", name)
		}
	}
	if fingerprint(func(s *Secret) { s.Parameters["db"] = Parameter{Pattern: "a", Description: "which database"} }) != base {
		t.Error("it is another with another description, which gives nothing")
	}
	s := secret()
	s.Data = map[string]any{"a": func() {}}
	if text, err := s.Fingerprint(); err == nil || text != nil {
		t.Errorf("what has no JSON has the fingerprint %q", text)
	}
}

func TestFingerprintLeavesDescriptionsInTheRole(t *testing.T) {
	s := secret()
	s.Parameters = Parameters{"db": {Pattern: "a", Description: "which database"}}
	if _, err := s.Fingerprint(); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "description", s.Parameters["db"].Description, "which database")
}
