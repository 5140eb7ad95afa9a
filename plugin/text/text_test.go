package text

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

const requestID = "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20"

// wantRefusal fails unless the error's text holds the fragment.
func wantRefusal(t *testing.T, err error, fragment string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; it must be refused with %q", fragment)
	}
	if !strings.Contains(err.Error(), fragment) {
		t.Fatalf("refused with %q; it must say %q", err, fragment)
	}
}

func TestTextsAreKeptAsTheyAreOrRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          "",
		"lines and tabs":   "a\n\tb\n",
		"HTML":             `<img src=x onerror="alert(1)">&amp;`,
		"templates":        "{{.TTL}} ${HOME} %s %n",
		"another script":   "\u05d0\u05d1\u05d2 \u0639\u0631\u0628\u064a \u4e2d\u6587",
		"an emoji's parts": "\U0001f468\u200d\U0001f4bb",
		"the longest":      strings.Repeat("x", MaxBytes),
		"a no-break space": "a\u00a0b",
		"beside overrides": "\u202f\u2027\u2065",
		"joiners":          "\u0646\u200c\u0645",
	} {
		if err := CheckProse(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, refusal := range map[string]string{
		"a\x00b":                        "U+0000",
		"a\rb":                          "U+000D",
		"a\r\nb":                        "U+000D",
		"\x1b[2J":                       "U+001B",
		"\x07":                          "U+0007",
		"\b":                            "U+0008",
		"\v":                            "U+000B",
		"\f":                            "U+000C",
		"\x7f":                          "U+007F",
		"\u0085":                        "U+0085",
		"\u009b2J":                      "U+009B",
		"\u202a":                        "U+202A",
		"\u202b":                        "U+202B",
		"\u202c":                        "U+202C",
		"\u202d":                        "U+202D",
		"a\u202eb":                      "U+202E",
		"\u2066":                        "U+2066",
		"\u2067":                        "U+2067",
		"\u2068":                        "U+2068",
		"\u2069":                        "U+2069",
		"prod\u200b":                    "U+200B",
		"a\u200e":                       "U+200E",
		"so\u00adft":                    "U+00AD",
		"\u206a":                        "U+206A",
		"\ufeffa":                       "U+FEFF",
		"\U000e0041":                    "U+E0041",
		"\u2028":                        "U+2028",
		"\u2029":                        "U+2029",
		"\xff":                          "it is not valid UTF-8",
		"a\xc0\xafb":                    "it is not valid UTF-8",
		"\xed\xa0\x80":                  "it is not valid UTF-8",
		strings.Repeat("x", MaxBytes+1): "it has 4097 bytes; at most 4096 are accepted",
		strings.Repeat("\u4e2d", 1366):  "it has 4098 bytes",
		strings.Repeat("\x00", 1<<20):   "it has 1048576 bytes",
	} {
		wantRefusal(t, CheckProse(text), refusal)
	}
}

func TestRefusalSaysApartWhatIsAccepted(t *testing.T) {
	_, pattern := CompileWhole(strings.Repeat("x", MaxPatternBytes+1))
	for want, err := range map[refusal.Refusal]error{
		{Problem: "it has 4097 bytes", Advice: "at most 4096 are accepted"}:                                                                              CheckProse(strings.Repeat("x", MaxBytes+1)),
		{Problem: "it holds the control character U+0000", Advice: "of those only newline and tab are accepted"}:                                         CheckReadable("\x00"),
		{Problem: `"x" is not a request id`, Advice: "accepted is a UUID as jit/request returned it"}:                                                    CheckRequestID("x"),
		{Problem: `"a/b" is not a name`, Advice: "accepted are up to 256 letters, digits, _, - and single dots, with a letter, digit or _ at both ends"}: CheckName("a/b"),
		{Problem: "the pattern has 1025 bytes", Advice: "at most 1024 are accepted"}:                                                                     pattern,
	} {
		if got := refusal.Of(err); got == nil || *got != want {
			t.Errorf("%#v is not the refusal %#v", err, want)
		}
	}
}

func FuzzTextThatIsAcceptedShowsWhatItIs(f *testing.F) {
	for _, seed := range []string{"", "a\nb", "\u202e", "\xff", "\x1b[2J", "\u2028", "<b>", strings.Repeat("x", MaxBytes+1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if CheckProse(text) != nil {
			return
		}
		if len(text) > MaxBytes || !utf8.ValidString(text) {
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
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal(encoded, &back); err != nil || back != text {
			t.Fatalf("%q became %q, %v", text, back, err)
		}
	})
}

func TestOnlyCanonicalUUIDsAreIDs(t *testing.T) {
	for _, id := range []string{requestID, "00000000-0000-7000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"} {
		if err := CheckRequestID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{
		"", "x", strings.ToUpper(requestID), requestID + "\n", "\n" + requestID, " " + requestID, requestID + "/", "../" + requestID, requestID + "0", requestID[1:],
		"{" + requestID + "}", strings.ReplaceAll(requestID, "-", ""), strings.ReplaceAll(requestID, "-", "\u2010"), strings.Replace(requestID, "0", "g", 1), strings.Replace(requestID, "0", "\u0660", 1),
		"urn:uuid:" + requestID, strings.Repeat("a", 1<<20),
		"f47ac10b-58cc-4372-a567-0e02b2c3d479", "01929d3e-7c4b-7e2a-cf10-3b5c7d9e1f20", // of another version or variant
	} {
		err := CheckRequestID(id)
		wantRefusal(t, err, "is not a request id; accepted is a UUID as jit/request returned it")
		if len(err.Error()) > 500 {
			t.Errorf("the refusal repeats %d bytes", len(err.Error()))
		}
	}
	wantRefusal(t, CheckRequestID(strings.Repeat("a", 64)), `"`+strings.Repeat("a", 64)+`"`)
	wantRefusal(t, CheckRequestID(strings.Repeat("a", 65)), `"`+strings.Repeat("a", 64)+`…"`)
}

func FuzzIDIsSafeAsAStorageKey(f *testing.F) {
	for _, seed := range []string{requestID, "", "../x", requestID + "\n", strings.ToUpper(requestID), "\u0660"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if err := CheckRequestID(id); err != nil {
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

func TestPatternsMatchTheWholeValue(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"a|b", []string{"a", "b"}, []string{"ab", "ax", "xb", "", "a\n", "\nb"}},
		{"a|", []string{"a", ""}, []string{"b", "ab"}},
		{"(?m)^a$", []string{"a"}, []string{"a\nb", "b\na", "a\n"}},
		{"(?s).*", []string{"", "a\nb"}, nil},
		{".*", []string{"", "a b"}, []string{"a\nb", "\n"}},
		{"^a$", []string{"a"}, []string{"a\n", "ba"}},
		{`(?i)inc-\d+`, []string{"INC-1", "inc-22"}, []string{"INC-", "see INC-1", "INC-1 "}},
		{"a{2}", []string{"aa"}, []string{"aaa", "a"}},
	} {
		pattern, err := CompileWhole(c.pattern)
		if err != nil {
			t.Fatalf("%q: %v", c.pattern, err)
		}
		for _, value := range c.yes {
			if !pattern.MatchString(value) {
				t.Errorf("%q does not match %q", c.pattern, value)
			}
		}
		for _, value := range c.no {
			if pattern.MatchString(value) {
				t.Errorf("%q matches %q", c.pattern, value)
			}
		}
	}
}

func TestPatternsCannotEscapeTheirAnchors(t *testing.T) {
	for pattern, refusal := range map[string]string{
		"a)|(b":      "is not a regular expression",
		"a)|(?:b":    "is not a regular expression",
		")(":         "is not a regular expression",
		"(":          "is not a regular expression",
		"[":          "is not a regular expression",
		`\`:          "is not a regular expression",
		`a\Q`:        `a \Q without its \E`,
		`\Qa)|b`:     `a \Q without its \E`,
		`\Qa\E|\Qb`:  `a \Q without its \E`,
		"(?P<a>x)(":  "is not a regular expression",
		"(?<=a)b":    "is not a regular expression",
		`(a)\1`:      "is not a regular expression",
		"a{1001}":    "is not a regular expression",
		"(?z)a":      "is not a regular expression",
		"\xff":       "is not a regular expression",
		"a{1000}{9}": "is not a regular expression",
	} {
		_, err := CompileWhole(pattern)
		wantRefusal(t, err, refusal)
	}

	if _, err := CompileWhole(strings.Repeat("a", MaxPatternBytes)); err != nil {
		t.Errorf("the longest pattern is refused: %v", err)
	}
	_, err := CompileWhole(strings.Repeat("a", MaxPatternBytes+1))
	wantRefusal(t, err, "the pattern has 1025 bytes; at most 1024 are accepted")
}

// A value of a parameter is bounded by the parameters together, not by itself.
func TestReadableTextMayBeLong(t *testing.T) {
	if err := CheckReadable(strings.Repeat("x", MaxBytes+1)); err != nil {
		t.Error(err)
	}
	wantRefusal(t, CheckReadable("\x00"), "U+0000")
}

func TestSpacesOfAnyKindLeaveNoMark(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, " \t\n": false, "\u00a0\u3000": false, "\u200b\u2060\ufeff": false, "\x00": false,
		"x": true, " . ": true, "\u4e2d": true, "\u200dx": true,
	} {
		if got := HasMark(text); got != want {
			t.Errorf("%q leaves a mark: %t", text, got)
		}
	}
}

func TestNamesAreSafeAsStorageKeys(t *testing.T) {
	for _, name := range []string{"a", "_", "0", "dba", "prod.eu-west_1", "a-b.c", "A", strings.Repeat("a", 256)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "a..b", "-a", "a-", ".a", "a.", "a/b", "../a", "a b", "a\n", "\u0430", "a\x00", "a%2fb", strings.Repeat("a", 257), strings.Repeat("a", 1<<20),
	} {
		err := CheckName(name)
		wantRefusal(t, err, "is not a name; accepted are up to 256 letters")
		if len(err.Error()) > 500 {
			t.Errorf("the refusal repeats %d bytes", len(err.Error()))
		}
	}
}

func FuzzNameIsSafeAsAStorageKey(f *testing.F) {
	for _, seed := range []string{"dba", "", "..", "a/b", "a..b", "\u0660", "a\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if name == "" || strings.ContainsAny(name, "/\\%\n\x00 ") || strings.Contains(name, "..") || strings.Trim(name, ".-") != name {
			t.Fatalf("%q is accepted", name)
		}
	})
}
