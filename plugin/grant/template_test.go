package grant

import (
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/refusal/refusaltest"
)

// hostile are values that would change what a path means if they got into one.
var hostile = []string{
	"", ".", "..", "...", "../", "../root", "a/b", "/", "/a", "a/", "//", "./a", ".a", "@a", "..a",
	"%2e", "%2e%2e", "%2f", "a%2fb", "%00", "%",
	"a\n", "\na", "a\r", "a\x00", "a\tb", " ", " a", "a ", "a b", "\u200b", "a\u00a0b",
	"a?b", "a#b", "a;b", "a&b", "a=b", "a:b", "a~b", "a,b", "a+b", "a*", "*", "a$b", `a\b`, `a"b`, "a'b", "a`b", "a|b", "a<b>", "(a)", "[a]", "{a}",
	"{{.TTL}}", "{{", "}}",
	// Letters, dots and slashes that only look like the accepted ones.
	"\u0430dmin", "\uff41dmin", "a\u2024b", "a\u3002b", "\u2024\u2024", "\u2025", "\u2026", "a\u2215b", "a\u2044b", "a\uff0fb", "a\u202eb", "\ufb01", "\u00e9", "e\u0301", "\u0131", "\u212a",
	"\xff", "a\xc0\xafb", "\xed\xa0\x80",
}

// harmless are values that may be part of a path.
var harmless = []string{"a", "A", "0", "-", "_", "-a", "_a", "a.b", "a..b", "a.", "bob@example.com", "0192-ab_c.d", strings.Repeat("a", 5000)}

func TestValueCannotAddDropOrClimbAPathSegment(t *testing.T) {
	everywhere := map[string]func(value string) (Secret, Values){
		"parameter": func(value string) (Secret, Values) {
			return secretWith("database/{{.Parameters.role}}/x", nil, "role"), Values{Parameters: map[string]string{"role": value}}
		},
		"request id": func(value string) (Secret, Values) {
			return secretWith("database/{{.Request.ID}}/x", nil), Values{RequestID: value}
		},
		"entity id": func(value string) (Secret, Values) {
			return secretWith("database/{{.Requester.EntityID}}/x", nil), Values{EntityID: value}
		},
		"name": func(value string) (Secret, Values) {
			return secretWith("database/{{.Requester.Name}}/x", nil), Values{Name: value}
		},
		"metadata": func(value string) (Secret, Values) {
			return secretWith("database/{{.Requester.Metadata.team}}/x", nil), Values{Metadata: map[string]string{"team": value}}
		},
		"alias": func(value string) (Secret, Values) {
			return secretWith("database/{{.Requester.Alias.mount}}/x", nil), Values{Aliases: map[string]string{"mount": value}}
		},
	}
	for where, use := range everywhere {
		t.Run(where, func(t *testing.T) {
			for _, value := range hostile {
				spec, v := use(value)
				if rendered, err := spec.Render(v); err == nil {
					t.Errorf("%q made the path %q", value, rendered.Path)
				} else {
					wantRefusal(t, err, "cannot be part of a path")
				}
			}
			for _, value := range harmless {
				spec, v := use(value)
				rendered, err := spec.Render(v)
				if err != nil {
					t.Fatalf("%q is refused: %v", value, err)
				}
				wantEqual(t, "path", rendered.Path, "database/"+value+"/x")
			}
		})
	}
}

// Whoever asks can change a parameter. For anything else only another role helps.
func TestValueThatCannotBeUsedIsRefusedAtItsField(t *testing.T) {
	spec := secretWith("a/{{.Parameters.db}}/{{.Requester.Name}}/{{.Requester.Metadata.team}}", map[string]any{"who": []any{"{{.Requester.Alias.mount}}"}}, "db")
	for _, c := range []struct {
		change  func(*Values)
		refusal string
	}{
		{func(v *Values) { v.Parameters["db"] = "a b" }, `parameters.db: it is "a b", which cannot be part of a path; accepted are letters, digits and ._@- (not starting with . or @)`},
		{func(v *Values) { v.Name = "a b" }, `role: {{.Requester.Name}} in its path is "a b", which cannot be part of a path; accepted are letters, digits and ._@- (not starting with . or @)`},
		{func(v *Values) { v.Metadata["team"] = "" }, `role: {{.Requester.Metadata.team}} in its path is "", which cannot be part of a path`},
		{func(v *Values) { v.Aliases["mount"] = "a,b" }, `role: {{.Requester.Alias.mount}} in its data.who[0] is "a,b", which could be taken for something else than one name; accepted are letters, digits and ._@- (not starting with . or @)`},
	} {
		v := values(map[string]string{"db": "orders"})
		v.Metadata, v.Aliases["mount"] = map[string]string{"team": "a"}, "alice"
		c.change(&v)
		_, err := spec.Render(v)
		refusaltest.WantAt(t, err, c.refusal)
	}
}

// Each part is harmless; what they become together is looked at again.
func TestPathThatRendersToAnotherIsRefusedAtItsField(t *testing.T) {
	for template, refusal := range map[string]string{
		"a//{{.TTL}}":   `role: its path "a//{{.TTL}}" would become "a//3600", which is another path`,
		"{{.TTL}}/":     `role: its path "{{.TTL}}/" would become "3600/", which is another path`,
		"./{{.TTL}}":    `role: its path "./{{.TTL}}" would become "./3600", which is another path`,
		"a/./{{.TTL}}":  `role: its path "a/./{{.TTL}}" would become "a/./3600", which is another path`,
		"a/../{{.TTL}}": `role: its path "a/../{{.TTL}}" would become "a/../3600", which is another path`,
		"{{.TTL}}/..":   `role: its path "{{.TTL}}/.." would become "3600/..", which is another path`,
		"":              `role: its path "" would become "", which is another path`,
	} {
		_, err := secretWith(template, nil).Render(values(nil))
		refusaltest.WantAt(t, err, refusal)
	}
}

func TestTemplatesSubstituteWhatTheyName(t *testing.T) {
	v := values(map[string]string{"db": "orders", "a-b_C9": "x"})
	v.TTL = 90 * time.Minute
	v.Aliases["auth_ldap_2.x"] = "asmith"
	v.Metadata = map[string]string{"team": "orders", "cost-centre.eu": "77"}
	for template, want := range map[string]string{
		"":                                       "",
		"plain":                                  "plain",
		"{{.Parameters.db}}":                     "orders",
		"{{.Parameters.a-b_C9}}":                 "x",
		"{{.TTL}}":                               "5400",
		"{{.TTL}}s":                              "5400s",
		"{{ .TTL\t\n}}":                          "5400",
		"{{.Request.ID}}":                        v.RequestID,
		"{{.Requester.EntityID}}":                "entity-alice",
		"{{.Requester.Name}}":                    "alice",
		"{{.Requester.Metadata.team}}":           "orders",
		"{{.Requester.Metadata.cost-centre.eu}}": "77",
		"{{.Requester.Alias.auth_userpass_1}}":   "alice",
		"{{.Requester.Alias.auth_ldap_2.x}}":     "asmith",
		"{{.TTL}}{{.TTL}}-{{.Requester.Name}}":   "54005400-alice",
		"{ {.TTL} }":                             "{ {.TTL} }",
		"{{{.TTL}}}":                             "{5400}",
	} {
		refs, err := listReferences("path", template)
		if err != nil {
			t.Errorf("%q is refused: %v", template, err)
		}
		wantEqual(t, "number of references in "+template, len(refs), strings.Count(template, "{{"))
		got, err := v.substitute("data.a", template, checkUnambiguous)
		if err != nil || got != want {
			t.Errorf("%q becomes %q, %v; it must become %q", template, got, err, want)
		}
	}
}

func TestLoginNameInDataIsOneName(t *testing.T) {
	for _, template := range []string{"{{.Requester.Name}}", "{{.Requester.Alias.mount}}"} {
		spec := secretWith("ssh/sign/x", map[string]any{"valid_principals": template})
		bearer := func(name string) Values { return Values{Name: name, Aliases: map[string]string{"mount": name}} }
		for _, value := range hostile {
			if rendered, err := spec.Render(bearer(value)); err == nil {
				t.Errorf("%q made the data %q", value, rendered.Data)
			} else {
				wantRefusal(t, err, "which could be taken for something else than one name")
			}
		}
		for _, value := range harmless {
			rendered, err := spec.Render(bearer(value))
			if err != nil || rendered.Data["valid_principals"] != value {
				t.Errorf("%.40q made the data %.80q, %v", value, rendered.Data, err)
			}
		}
	}
}

func TestTemplatesRefuseEverythingElse(t *testing.T) {
	for _, template := range []string{
		"{{", "}}", "{{}}", "{{ }}", "{{.}}", "{{.TTL", ".TTL}}", "{{TTL}}", "{{.TTL}", "{.TTL}}", "{{{.TTL}", "}}{{",
		"{{{{.TTL}}}}", "{{.TTL}}}}", "{{{{.TTL}}", "{{{.TTL}}{.TTL}}}",
		"{{.TTL | printf}}", `{{printf "%s" .TTL}}`, "{{.TTL .TTL}}", `{{"x"}}`, "{{/* x */}}", "{{- .TTL -}}", "{{if .TTL}}x{{end}}",
		"{{.Parameters}}", "{{.Parameters.}}", "{{..TTL}}", "{{.ttl}}", "{{.TTL.x}}", "{{.TTL.}}", "{{.parameters.db}}", "{{.Request}}", "{{.Request.}}", "{{.Request.Id}}", "{{.Request.ID.x}}", "{{.Params.db}}",
		"{{.Requester}}", "{{.Requester.}}", "{{.Requester.Name.x}}", "{{.Requester.name}}", "{{.Requester.TTL}}", "{{.Requester.Parameters.db}}",
		"{{.Requester.Requester.Name}}", "{{.Requester.Metadata}}", "{{.Requester.Metadata.}}", "{{.Requester.Alias}}", "{{.Requester.Alias.}}",
		"{{.Requester.Metadata.a b}}", "{{.Requester.Metadata.a/b}}", "{{.Metadata.team}}", "{{.Alias.x}}", "{{.Requester.Groups}}", "{{.Requester.Metadata.\u00e9}}",
		"{{.Parameters.db}} and {{.Bogus}}",
	} {
		if refs, err := listReferences("path", template); err == nil {
			t.Errorf("%q is accepted as %q", template, refs)
		} else {
			wantRefusal(t, err, acceptedReferences)
		}
	}
}

func TestReferenceWithoutValueIsRefusedAtItsField(t *testing.T) {
	v := values(map[string]string{"db": "orders"})
	for template, refusal := range map[string]string{
		"{{.Parameters.table}}":            `parameters.table: it has no value: the parameter "table" is not given`,
		"{{.Parameters.a.b}}":              `parameters["a.b"]: it has no value: the parameter "a.b" is not given`,
		"{{.Requester.Metadata.team}}":     `role: {{.Requester.Metadata.team}} in its data.a has no value: the requester's entity has no metadata "team"`,
		"{{.Requester.Alias.auth_ldap_2}}": `role: {{.Requester.Alias.auth_ldap_2}} in its data.a has no value: the requester has no login at the auth mount with accessor "auth_ldap_2"`,
		// What references refuses finds no value either.
		"{{.Bogus}}": "role: {{.Bogus}} in its data.a has no value: it is not known",
	} {
		_, err := v.substitute("data.a", template, checkUnambiguous)
		refusaltest.WantAt(t, err, refusal)
	}
	_, err := v.substitute("data.a", "{{.Parameters.a}} {{.Parameters.b}}", checkUnambiguous)
	refusaltest.WantAt(t, err, "parameters.a: ") // one at a time
}

func TestValueIsNotExpandedAgain(t *testing.T) {
	spec := secretWith("database/creds/x", map[string]any{"note": "{{.Parameters.a}}{{.Parameters.b}}"}, "a", "b")
	rendered, err := spec.Render(values(map[string]string{"a": "{{.Parameters.b}}{{", "b": ".TTL}} <b>${x}$1"}))
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "data", rendered.Data["note"], any("{{.Parameters.b}}{{.TTL}} <b>${x}$1"))
}

func FuzzReferencesNeverLeaveBracesBehind(f *testing.F) {
	for _, seed := range []string{"", "{{.TTL}}", "{{{.TTL}}}", "{{{{.TTL}}}}", "{{.Parameters.db}}/{{ .Requester.Alias.a.b }}", "{{.TTL}}}{{.TTL}}", "}}{{", "{{\n.TTL}}", "{{.\u00e9}}"} {
		f.Add(seed)
	}
	name := regexp.MustCompile(`\A(TTL|Request\.ID|Requester\.(EntityID|Name|(Metadata|Alias)\.[A-Za-z0-9_.-]+)|Parameters\.[A-Za-z0-9_.-]+)\z`)
	f.Fuzz(func(t *testing.T, template string) {
		refs, err := listReferences("path", template)
		if err != nil {
			return
		}
		for _, ref := range refs {
			if !name.MatchString(ref) {
				t.Fatalf("%q refers to %q", template, ref)
			}
		}
		// With a value that is one letter, every pair of braces is gone.
		left := reference.ReplaceAllLiteralString(template, "x")
		if strings.Contains(left, "{{") || strings.Contains(left, "}}") {
			t.Fatalf("%q leaves %q", template, left)
		}
	})
}

func FuzzRenderedPathKeepsItsSegments(f *testing.F) {
	for _, template := range []string{"database/creds/{{.Parameters.a}}", "{{.Parameters.a}}/{{.Parameters.b}}", ".{{.Parameters.a}}/x", "a/{{.Parameters.a}}.{{.Parameters.b}}", "x/..{{.Parameters.a}}", "{{.Requester.Name}}/.{{.Parameters.a}}."} {
		for _, value := range []string{"orders", "..", ".", "", "a/b", "%2e%2e", "a\nb", "\u2024\u2024"} {
			f.Add(template, value, "b")
		}
	}
	f.Fuzz(func(t *testing.T, template, a, b string) {
		spec := secretWith(template, nil, "a", "b")
		if spec.Validate() != nil {
			return
		}
		v := values(map[string]string{"a": a, "b": b})
		v.Name = b
		rendered, err := spec.Render(v)
		if err != nil {
			return
		}
		got, want := strings.Split(rendered.Path, "/"), strings.Split(template, "/")
		if len(got) != len(want) {
			t.Fatalf("%q with %q and %q became %q", template, a, b, rendered.Path)
		}
		if rendered.Path != path.Clean(rendered.Path) || strings.HasPrefix(rendered.Path, "/") {
			t.Fatalf("%q with %q and %q became %q, which is not clean", template, a, b, rendered.Path)
		}
		for i, segment := range got {
			if segment == "" || segment == "." || segment == ".." || !pathSegment.MatchString(segment) {
				t.Fatalf("%q with %q and %q became %q", template, a, b, rendered.Path)
			}
			// A segment without a reference is as the role wrote it.
			if !strings.Contains(want[i], "{{") && segment != want[i] {
				t.Fatalf("%q with %q and %q became %q", template, a, b, rendered.Path)
			}
		}
	})
}
