package approval

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestQuestionIsRefusedOrFrozenAsAWhole(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Question)
		refusal string
	}{
		{"as it is", func(*Question) {}, ""},
		{"the zero question", func(q *Question) { *q = Question{} }, "your entity no longer exists in Vault"},
		{"nobody asks", func(q *Question) { q.Requester = Standing{} }, "your entity no longer exists in Vault"},
		{"a disabled entity asks", func(q *Question) { q.Requester.Disabled = true }, "your entity is disabled in Vault"},
		{"no role", func(q *Question) { q.Role = Role{} }, `role "" cannot be asked for: policy is empty`},
		{"a role that is not valid", func(q *Question) { q.Role.GrantPolicies = nil }, `role "dba" cannot be asked for: grant_policies is empty`},
		{"no policy", func(q *Question) { q.Policy = Policy{} }, `role "dba" cannot be asked for: rules is empty`},
		{"a policy that is not valid", func(q *Question) { q.Policy.Rules[0].Approvals = 0 }, `role "dba" cannot be asked for: rule "dba": approvals is 0`},
		{"another policy than the role's", func(q *Question) { q.Policy.Name = "lax" }, `role "dba" is guarded by policy "prod", not by "lax"`},
		{"not among the requesters", func(q *Question) { q.Role.RequesterEntityIDs = []string{"entity-bob"} }, `you are not among the requesters of role "dba"`},
		{"not in the requesters' group", func(q *Question) {
			q.Role.RequesterIdentityGroupIDs, q.IdentityGroupIDs = []string{"g1"}, []string{"g2"}
		}, `you are not among the requesters of role "dba"`},
		{"among the requesters", func(q *Question) { q.Role.RequesterEntityIDs = []string{"entity-alice"} }, ""},
		{"in the requesters' group", func(q *Question) {
			q.Role.RequesterIdentityGroupIDs, q.IdentityGroupIDs = []string{"g1"}, []string{"g1"}
		}, ""},

		{"no reason where none is required", func(q *Question) { q.Reason = "" }, ""},
		{"no reason where one is required", func(q *Question) { q.Policy.RequireReason, q.Reason = true, "" }, `reason: it is empty, but policy "prod" requires one`},
		{"only space where a reason is required", func(q *Question) { q.Policy.RequireReason, q.Reason = true, " \t\n\u00a0\u3000" }, `reason: it is empty, but policy "prod" requires one`},
		{"nothing visible where a reason is required", func(q *Question) { q.Policy.RequireReason, q.Reason = true, "\u200b\u2060\ufeff" }, `reason: it is empty, but policy "prod" requires one`},
		{"a reason where one is required", func(q *Question) { q.Policy.RequireReason = true }, ""},
		{"a reason too long", func(q *Question) { q.Reason = strings.Repeat("x", 1<<20) }, "reason: it has 1048576 bytes; at most 4096 are accepted"},
		{"a reason as long as accepted", func(q *Question) { q.Reason = strings.Repeat("x", MaxTextBytes) }, ""},
		{"an unreadable reason", func(q *Question) { q.Reason = "a\x00b" }, "reason: it holds the control character U+0000"},
		{"a reason that matches", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", "INC-7" }, ""},
		{"a reason that matches in part", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", "INC-7 or so" }, `reason: "INC-7 or so" does not match "INC-[0-9]+", which policy "prod" requires`},
		{"a reason that matches on one line", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "(?m)^INC-[0-9]+$", "INC-7\nx" }, "does not match"},
		{"no reason where one that is given has to match", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", "" }, ""},
		{"only space where one that is given has to match", func(q *Question) { q.Policy.ReasonPattern, q.Reason = "INC-[0-9]+", " " }, "does not match"},

		{"the shortest ttl", func(q *Question) { q.TTL = time.Second }, ""},
		{"a ttl below a second", func(q *Question) { q.TTL = time.Second - 1 }, "ttl: 999.999999ms is not accepted; it must be whole seconds and at least 1s"},
		{"a ttl in parts of seconds", func(q *Question) { q.TTL = 1500 * time.Millisecond }, "ttl: 1.5s is not accepted"},
		{"a negative ttl", func(q *Question) { q.TTL = -time.Hour }, "ttl: -1h0m0s is not accepted"},
		{"the policy's longest ttl", func(q *Question) { q.TTL = 8 * time.Hour }, ""},
		{"a ttl above the policy's", func(q *Question) { q.TTL = 8*time.Hour + time.Second }, `ttl: 8h0m1s is longer than the max_ttl of policy "prod", 8h0m0s`},
		{"the mount's longest ttl", func(q *Question) { q.MaxWindow = time.Hour }, ""},
		{"a ttl above the mount's", func(q *Question) { q.MaxWindow = time.Hour - time.Second }, "ttl: 1h0m0s is longer than the longest lease of this mount, 59m59s"},
		{"no ttl where the mount allows none", func(q *Question) { q.TTL, q.MaxWindow = 0, 0 }, "ttl: 0s is not accepted"},

		{"an unknown parameter", func(q *Question) { q.Parameters = map[string]string{"a": "b"} }, `parameters: "a" is not known`},
		{"a value that would climb", func(q *Question) {
			q.Role.Path = "database/creds/{{.Parameters.db}}"
			q.Role.Parameters = map[string]Parameter{"db": {Pattern: ".*", Required: true}}
			q.Parameters = map[string]string{"db": "../../sys/raw"}
		}, `path: {{.Parameters.db}} is "../../sys/raw", which cannot be part of a path`},
	} {
		t.Run(c.name, func(t *testing.T) {
			question := asking(prod(rule("dba", 2, "dbas")))
			c.change(&question)
			r, err := NewRequest(requestID, question, start)
			if c.refusal != "" {
				wantRefusal(t, err, c.refusal)
				wantEqual(t, "the request that is refused", r, Request{})
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			wantState(t, r, start, Pending)
			wantEqual(t, "reason", r.Ask.Reason, question.Reason)
		})
	}
}

func TestAskFreezesWhatItIsJudgedAndExecutedBy(t *testing.T) {
	question := asking(prod(rule("dba", 2, "dbas")))
	question.Role.Operation = Write
	question.Role.Path = "database/{{.Parameters.db}}/{{.Requester.Name}}"
	question.Role.Data = map[string]any{"ttl": "{{.TTL}}"}
	question.Role.Parameters = map[string]Parameter{"db": {Pattern: "[a-z]+", Default: "orders"}}
	question.Reason = "<script>alert(1)</script> & \"quotes\" {{.TTL}}\n\tsecond line"
	r, err := NewRequest(requestID, question, start.In(time.FixedZone("CET", 3600)))
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "request", r, Request{ID: requestID, Digest: r.Digest, Ask: Ask{
		Role:            "dba",
		RoleFingerprint: question.Role.Fingerprint(),
		Requester:       person("alice"),
		Reason:          question.Reason,
		TTL:             time.Hour,
		Parameters:      map[string]string{"db": "orders"},
		Policy:          question.Policy,
		Grant: Rendered{
			GrantType: Secret, Path: "database/orders/alice", Operation: Write, Data: map[string]any{"ttl": "3600"}, GrantPolicies: []string{"jit-dba"},
		},
		At: start,
	}})
	wantEqual(t, "intact", r.Intact(), true)
}

func TestWindowNobodyNamedIsTheDefaultAsFarAsTheMountAllows(t *testing.T) {
	for _, c := range []struct{ def, mount, want time.Duration }{
		{0, 24 * time.Hour, time.Hour},
		{2 * time.Hour, 24 * time.Hour, 2 * time.Hour},
		{2 * time.Hour, 30 * time.Minute, 30 * time.Minute},
	} {
		question := asking(prod(rule("dba", 2, "dbas")))
		question.TTL, question.Policy.DefaultTTL, question.MaxWindow = 0, c.def, c.mount
		r, err := NewRequest(requestID, question, start)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "ttl", r.Ask.TTL, c.want)
	}
}

func TestBadReasonPatternAcceptsNothing(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"))
	policy.ReasonPattern = "("
	wantRefusal(t, policy.acceptsReason("("), "is not a regular expression")
}

func TestTextsAreKeptAsTheyAreOrRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          "",
		"lines and tabs":   "a\n\tb\n",
		"HTML":             `<img src=x onerror="alert(1)">&amp;`,
		"templates":        "{{.TTL}} ${HOME} %s %n",
		"another script":   "\u05d0\u05d1\u05d2 \u0639\u0631\u0628\u064a \u4e2d\u6587",
		"an emoji's parts": "\U0001f468\u200d\U0001f4bb",
		"the longest":      strings.Repeat("x", MaxTextBytes),
		"a no-break space": "a\u00a0b",
		"beside overrides": "\u202f\u2027\u2065",
		"joiners":          "\u0646\u200c\u0645",
	} {
		if err := checkText(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, refusal := range map[string]string{
		"a\x00b":                            "U+0000",
		"a\rb":                              "U+000D",
		"a\r\nb":                            "U+000D",
		"\x1b[2J":                           "U+001B",
		"\x07":                              "U+0007",
		"\b":                                "U+0008",
		"\v":                                "U+000B",
		"\f":                                "U+000C",
		"\x7f":                              "U+007F",
		"\u0085":                            "U+0085",
		"\u009b2J":                          "U+009B",
		"\u202a":                            "U+202A",
		"\u202b":                            "U+202B",
		"\u202c":                            "U+202C",
		"\u202d":                            "U+202D",
		"a\u202eb":                          "U+202E",
		"\u2066":                            "U+2066",
		"\u2067":                            "U+2067",
		"\u2068":                            "U+2068",
		"\u2069":                            "U+2069",
		"prod\u200b":                        "U+200B",
		"a\u200e":                           "U+200E",
		"so\u00adft":                        "U+00AD",
		"\u206a":                            "U+206A",
		"\ufeffa":                           "U+FEFF",
		"\U000e0041":                        "U+E0041",
		"\u2028":                            "U+2028",
		"\u2029":                            "U+2029",
		"\xff":                              "it is not valid UTF-8",
		"a\xc0\xafb":                        "it is not valid UTF-8",
		"\xed\xa0\x80":                      "it is not valid UTF-8",
		strings.Repeat("x", MaxTextBytes+1): "it has 4097 bytes; at most 4096 are accepted",
		strings.Repeat("\u4e2d", 1366):      "it has 4098 bytes",
		strings.Repeat("\x00", 1<<20):       "it has 1048576 bytes",
	} {
		wantRefusal(t, checkText(text), refusal)
	}
}

func FuzzTextThatIsAcceptedShowsWhatItIs(f *testing.F) {
	for _, seed := range []string{"", "a\nb", "\u202e", "\xff", "\x1b[2J", "\u2028", "<b>", strings.Repeat("x", MaxTextBytes+1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkText(text) != nil {
			return
		}
		if len(text) > MaxTextBytes || !utf8.ValidString(text) {
			t.Fatalf("%q is accepted", text)
		}
		for _, char := range text {
			if char != '\n' && char != '\t' && unicode.In(char, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Cs) {
				t.Fatalf("%q with %U is accepted", text, char)
			}
			if unicode.Is(unicode.Bidi_Control, char) && char >= 0x2020 {
				t.Fatalf("%q with %U is accepted", text, char)
			}
		}
		// What is accepted comes out of a record as it went in.
		var back string
		if err := json.Unmarshal([]byte(asText(t, text)), &back); err != nil || back != text {
			t.Fatalf("%q became %q, %v", text, back, err)
		}
	})
}

func TestOnlyCanonicalUUIDsAreIDs(t *testing.T) {
	for _, id := range []string{requestID, "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"} {
		if err := CheckID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{
		"", "x", strings.ToUpper(requestID), requestID + "\n", "\n" + requestID, " " + requestID, requestID + "/", "../" + requestID, requestID + "0", requestID[1:],
		"{" + requestID + "}", strings.ReplaceAll(requestID, "-", ""), strings.ReplaceAll(requestID, "-", "\u2010"), strings.Replace(requestID, "0", "g", 1), strings.Replace(requestID, "0", "\u0660", 1),
		"urn:uuid:" + requestID, strings.Repeat("a", 1<<20),
	} {
		err := CheckID(id)
		wantRefusal(t, err, "is not a request id; accepted is a UUID as jit/request returned it")
		if len(err.Error()) > 500 {
			t.Errorf("the refusal repeats %d bytes", len(err.Error()))
		}
	}
	wantRefusal(t, CheckID(strings.Repeat("a", 64)), `"`+strings.Repeat("a", 64)+`"`)
	wantRefusal(t, CheckID(strings.Repeat("a", 65)), `"`+strings.Repeat("a", 64)+`…"`)
}

func FuzzIDIsSafeAsAStorageKey(f *testing.F) {
	for _, seed := range []string{requestID, "", "../x", requestID + "\n", strings.ToUpper(requestID), "\u0660"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if err := CheckID(id); err != nil {
			if len(err.Error()) > 500 || !utf8.ValidString(err.Error()) {
				t.Fatalf("the refusal of %q is %q", id, err)
			}
			return
		}
		if len(id) != 36 || strings.Trim(id, "0123456789abcdef-") != "" || strings.Count(id, "-") != 4 {
			t.Fatalf("%q is accepted", id)
		}
	})
}

func TestRequestIsSeenByWhoMadeItDecidesOnItOrAudits(t *testing.T) {
	r := applied(t, asked(t, prod(rule("dba", 2, "dbas"), rule("lead", 1, "leads"))), start, approve(standing("dave", "dbas")))
	disabled := standing("alice")
	disabled.Disabled = true
	for _, c := range []struct {
		name    string
		who     Standing
		auditor bool
		want    bool
	}{
		{"requester", standing("alice"), false, true},
		{"approver", standing("bob", "leads"), false, true},
		{"approver who decided and left", standing("dave"), false, true},
		{"another entity with the login of one who decided", merged(standing("mallory"), "dave"), false, false},
		{"auditor", standing("erin"), true, true},
		{"stranger", standing("mallory", "others"), false, false},
		{"nobody", Standing{}, false, false},
		{"nobody, though called an auditor", Standing{}, true, false},
		{"requester merged away", Standing{Person: person("alice")}, false, false},
		{"requester disabled", disabled, false, false},
		// To be shown the request of a login is more than to be kept from approving it.
		{"another entity with the requester's login", merged(standing("mallory"), "alice"), false, false},
	} {
		if got := r.MaySee(c.who, c.auditor); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestInboxHoldsWhatOneCanStillDecide(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	bob, carol, dave := standing("bob", "dbas"), standing("carol", "dbas"), standing("dave", "dbas")
	alice := standing("alice", "dbas")
	pending := applied(t, asked(t, policy), start, approve(bob))
	approved := applied(t, pending, start, approve(carol))
	facts := factsOf(approved, bob, carol)
	claiming := applied(t, approved, start, StartClaim{person("alice"), facts})
	for _, c := range []struct {
		name    string
		request Request
		who     Standing
		at      time.Time
		want    bool
	}{
		{"pending", pending, dave, start, true},
		{"approved", approved, dave, start, true},
		{"claiming", claiming, dave, start, false},
		{"cancelled", applied(t, pending, start, Cancel{alice}), dave, start, false},
		{"denied", applied(t, pending, start, deny(carol)), dave, start, false},
		{"expired", pending, dave, after(8 * time.Hour), false},
		{"decided already", pending, bob, start, false},
		{"decided already under another entity", pending, merged(dave, "bob"), start, false},
		{"one's own", pending, alice, start, false},
		{"a stranger's", pending, standing("mallory"), start, false},
		{"nobody's", pending, Standing{}, start, false},
	} {
		if got := c.request.Decidable(c.who, standing("alice"), c.at); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// Every field of the ask and the id, found by reflection so that no new one is forgotten, is covered by the digest.
func TestDigestCoversTheWholeAsk(t *testing.T) {
	question := asking(prod(rule("dba", 2, "dbas")))
	question.Role.Parameters = map[string]Parameter{"db": {Pattern: "[a-z]+", Default: "orders"}}
	question.Role.Operation, question.Role.Data = Write, map[string]any{"a": "b"}
	base, err := NewRequest(requestID, question, start)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	// differs sees the digest break for each value that can be changed in v, and leaves v as it was.
	var differs func(path string, v reflect.Value)
	differs = func(path string, v reflect.Value) {
		another := reflect.New(v.Type()).Elem()
		at, isTime := v.Interface().(time.Time)
		switch {
		case isTime:
			another.Set(reflect.ValueOf(at.Add(1)))
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				differs(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				differs(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
			another.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		case v.Kind() == reflect.Map:
			another.Set(reflect.MakeMap(v.Type()))
			another.SetMapIndex(reflect.ValueOf("another"), reflect.Zero(v.Type().Elem()))
		case v.Kind() == reflect.String:
			another.SetString(v.String() + "x")
		case v.Kind() == reflect.Bool:
			another.SetBool(!v.Bool())
		case v.CanInt():
			another.SetInt(v.Int() + 1)
		default:
			t.Fatalf("%s is a %s, of which this test knows nothing", path, v.Kind())
		}
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		v.Set(another)
		changed++
		if base.Intact() {
			t.Errorf("%s can be changed", path)
		}
		v.Set(was)
	}
	differs("Ask", reflect.ValueOf(&base.Ask).Elem())
	differs("ID", reflect.ValueOf(&base.ID).Elem())
	wantEqual(t, "intact again", base.Intact(), true)
	if changed < 30 {
		t.Fatalf("only %d fields were changed", changed)
	}
	base.Digest = ""
	if base.Intact() || (Request{}).Intact() {
		t.Error("a request without digest is intact")
	}
	// Facts that come later are not part of it.
	r := asked(t, prod(rule("dba", 1, "dbas")))
	r = applied(t, r, start, approve(standing("bob", "dbas")), Cancel{standing("alice")})
	wantEqual(t, "intact after decisions", r.Intact(), true)
}

func TestRecordOfARequestSaysOnlyWhatIsThere(t *testing.T) {
	text := asText(t, asked(t, prod(rule("dba", 1, "dbas"))))
	for _, absent := range []string{"decisions", "cancelled", "claim\"", "\"end\"", "parameters"} {
		if strings.Contains(text, absent) {
			t.Errorf("the record of a fresh request speaks of %s: %s", absent, text)
		}
	}
}
