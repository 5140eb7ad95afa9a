package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// One field of each type that can be given.
var (
	word     = Field{Name: "x", Type: String}
	choice   = Field{Name: "x", Type: String, OneOf: []string{"read", "write"}}
	truth    = Field{Name: "x", Type: Bool}
	whole    = Field{Name: "x", Type: Int}
	duration = Field{Name: "x", Type: Int, Unit: InSeconds}
	optional = Field{Name: "x", Type: Int, Unit: InSeconds, Zero: true}
	words    = Field{Name: "x", Type: Strings}
	choices  = Field{Name: "x", Type: Strings, OneOf: []string{"a", "b"}}
	objects  = Field{Name: "x", Type: Objects, Of: &RuleTable}
	named    = Field{Name: "x", Type: ObjectsByName, Of: &ParameterTable}
	anything = Field{Name: "x", Type: JSON}
	pairs    = Field{Name: "x", Type: Pairs}
)

// number is a number of JSON as Vault hands it to a plugin.
func number(n float64) any { return n }

func TestInputIsConverted(t *testing.T) {
	for _, c := range []struct {
		field Field
		given any
		want  any
	}{
		{word, "", ""},
		{word, " a\nb ", " a\nb "},
		{truth, true, true},
		{truth, "false", false},
		{whole, number(7), int64(7)},
		{whole, json.Number("7"), int64(7)},
		{whole, "7", int64(7)},
		{whole, number(-1), int64(-1)},
		{whole, number(math.MaxInt32), int64(math.MaxInt32)},
		{duration, number(90), int64(90)},
		{duration, json.Number("90"), int64(90)},
		{duration, "90", int64(90)},
		{duration, "90s", int64(90)},
		{duration, "1h30m", int64(5400)},
		{duration, "2d", int64(172800)},
		{duration, "1000ms", int64(1)},
		{words, "", []string{}},
		{words, "a, b", []string{"a", "b"}},
		{words, `["a","b,c"]`, []string{"a", "b,c"}},
		{words, []any{"a", "b"}, []string{"a", "b"}},
		{objects, `[{"name":"r","approver_groups":["a"],"approvals":1}]`, []any{map[string]any{"name": "r", "approver_groups": []string{"a"}, "approvals": int64(1)}}},
		{objects, []any{}, []any{}},
		{named, `{"db":{"pattern":"a+","required":true}}`, map[string]any{"db": map[string]any{"pattern": "a+", "required": true}}},
		{choice, "read", "read"},
		{choices, "b,a", []string{"b", "a"}},
		{optional, number(0), int64(0)},
		{optional, "0", int64(0)},
		{optional, "0s", int64(0)},
		{optional, "1h", int64(3600)},
		{anything, `{"a":{"b":9007199254740991}}`, map[string]any{"a": map[string]any{"b": json.Number("9007199254740991")}}},
		{anything, `{"a":-0.25}`, map[string]any{"a": json.Number("-0.25")}},
		{anything, map[string]any{"a": number(1.5)}, map[string]any{"a": number(1.5)}},
		{pairs, "a=b=c", map[string]string{"a": "b=c"}},
		{pairs, []any{"a=1", "b="}, map[string]string{"a": "1", "b": ""}},
		{pairs, `{"a":"1"}`, map[string]string{"a": "1"}},
		{pairs, map[string]any{"a": "1"}, map[string]string{"a": "1"}},
	} {
		got, err := c.field.decode(c.given)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("type %d %#v: got %#v and %v, want %#v", c.field.Type, c.given, got, err, c.want)
		}
	}
}

func TestAmbiguousInputIsRefused(t *testing.T) {
	for _, c := range []struct {
		field Field
		given any
		says  string
	}{
		{word, number(5), "must be a string"},
		{word, nil, "must be a string"},
		{word, []any{"a"}, "must be a string"},
		{truth, "yes", "true or false"},
		{truth, number(1), "true or false"},
		{truth, nil, "true or false"},
		{whole, number(1.9), "whole number"},
		{whole, number(1e10), "whole number"},
		{whole, json.Number("1.0"), "whole number"},
		{whole, "1e3", "whole number"},
		{whole, "", "whole number"},
		{whole, true, "whole number"},
		{whole, nil, "whole number"},
		{duration, number(1.9), "whole seconds"},
		{duration, json.Number("1.9"), "whole seconds"},
		{duration, "1.9", "whole seconds"},
		{duration, "1.5s", "whole seconds"},
		{duration, "500ms", "whole seconds"},
		{duration, number(0), "whole seconds"},
		{duration, "0", "whole seconds"},
		{duration, "0s", "whole seconds"},
		{duration, "", "whole seconds"},
		{duration, nil, "whole seconds"},
		{duration, number(-1), "whole seconds"},
		{duration, "-1h", "whole seconds"},
		{duration, number(1e300), "whole seconds"},
		{duration, "200y", "whole seconds"},
		{duration, "9223372036854775807", "whole seconds"},
		// 2^55 + 3600: multiplied by the nanoseconds of a second it would wrap around to one hour.
		{duration, "36028797018967568", "whole seconds"},
		{duration, true, "whole seconds"},
		{words, "a,,b", "is empty"},
		{words, []any{" "}, "is empty"},
		{words, "a, a", `"a" is there twice`},
		{words, []any{"a", number(1)}, "[1]: \"1\" is not accepted; it must be a string"},
		{words, []any{[]any{"a"}}, "must be a string"},
		{words, map[string]any{}, "list of strings"},
		{words, `["a"`, "no JSON"},
		{words, nil, "list of strings"},
		{objects, `{"a":1}`, "JSON list"},
		{objects, "a", "no JSON"},
		{objects, "[] []", "something follows"},
		{objects, nil, "JSON list"},
		{anything, "[]", "JSON object"},
		{anything, `{"a":1}x`, "something follows"},
		{anything, number(5), "JSON object"},
		{anything, map[string]any{"a": []any{number(1 << 53)}}, "too large to get through unchanged"},
		{anything, `{"a":9007199254740993}`, "would be shown as"},
		{anything, `{"a":[1.0]}`, `would be shown as "1"`},
		{anything, `{"a":1e3}`, `would be shown as "1000"`},
		{anything, `{"a":1e-999999999}`, "would be shown as"},
		{anything, `{"a":1e999}`, "would be shown as"},
		{pairs, "a", "name=value"},
		{pairs, "=a", "name=value"},
		{pairs, []any{"a=1", "a=2"}, "x.a: it is given twice"},
		{pairs, []any{number(1)}, "name=value"},
		{pairs, map[string]any{"a": number(1)}, "must be a string"},
		{pairs, `{"a":{}}`, "must be a string"},
		{pairs, nil, "name=value"},
		{Field{Name: "x", Type: Moment}, "", "cannot be given"},
		{Field{Name: "x"}, "", "cannot be given"},
		{anything, strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "nested too deeply; at most 32 levels"},
		{pairs, strings.Repeat(`{"a":`, 40000) + "1" + strings.Repeat("}", 40000), "no JSON"},
		{Field{Name: "x", Type: String, Sensitive: true}, []any{"hush"}, "x: the value is not accepted; it must be a string"},
		{choice, "delete", "accepted are read, write"},
		{choices, "a,c", `[1]: "c" is not accepted; accepted are a, b`},
		{optional, number(-1), "whole seconds"},
		{objects, `["x"]`, "[0]: \"x\" is not accepted; it must be a JSON object; accepted are approvals, approver_groups, name"},
		{objects, `[{}, {"approvals": 1.5}]`, `[1].approvals: "1.5" is not accepted; it must be a whole number`},
		{objects, `[{"approver_groups": ["a", ""]}]`, "[0].approver_groups[1]: it is empty"},
		{named, `{"db": {"patern": "x"}}`, "db.patern: unknown field; accepted are default, description, pattern, required"},
		{named, `{"a b": 1}`, `x["a b"]: "1" is not accepted`},
	} {
		got, err := Table{Fields: []Field{c.field}}.Decode(map[string]any{"x": c.given})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("type %d %#v: got %#v and %v, want a refusal that says %q", c.field.Type, c.given, got, err, c.says)
		}
	}
}

func TestObjectsAcceptOnlyTheExactSpellingOfAKey(t *testing.T) {
	table := Table{Fields: []Field{{Name: "approvals", Type: Int}, {Name: "version", Type: Int, Computed: true}}}
	for _, c := range []struct{ given, says string }{
		{`{"approvals":1}`, ""},
		{`{"Approvals":1}`, "Approvals"},
		{`{"approvals":1,"APPROVALS":9}`, "APPROVALS"},
		{`{"approval\u017f":1}`, "approval"}, // a long s, which encoding/json reads as an s
		{`{"approval":1}`, "approval: unknown field; accepted are approvals"},
		{`{"approvals":1.5}`, "approvals: "},
		{`{"version":1}`, "version: unknown field"},
		{`["approvals"]`, "JSON object; accepted are approvals"},
	} {
		value, err := decodeJSON(c.given)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := table.decodeObject(value)
		if (err == nil) != (c.says == "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %+v and %v, want a refusal that says %q", c.given, decoded, err, c.says)
		}
	}
}

func TestLongListsAreRefused(t *testing.T) {
	long := make([]any, maxWords+1)
	for i := range long {
		long[i] = fmt.Sprint("word", i)
	}
	if list, err := words.decode(long[1:]); err != nil || len(list.([]string)) != maxWords {
		t.Errorf("the longest accepted list is refused: %v", err)
	}
	asJSON, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	for _, tooLong := range []any{long, string(asJSON), strings.Repeat("x,", maxWords)} {
		if _, err := words.decode(tooLong); err == nil || !strings.Contains(err.Error(), "10001 entries") {
			t.Errorf("one entry more is answered with %v", err)
		}
	}
}

func TestRefusalsQuoteLittleOfLongInput(t *testing.T) {
	long := strings.Repeat("ä", 1<<20)
	if _, err := RuleTable.decodeObject(map[string]any{long: 1}); err == nil || len(err.Error()) > 400 {
		t.Errorf("a megabyte of a key is refused with %.600v", err)
	}
	for _, field := range []Field{truth, whole, duration, choice, choices, objects, named, anything, pairs} {
		if _, err := field.decode(long); err == nil || len(err.Error()) > 400 {
			t.Errorf("type %d: a megabyte is refused with %.600v", field.Type, err)
		}
	}
	for _, given := range []any{map[string]any{long: 1}, []any{long + "=1", long + "=2"}} {
		if _, err := pairs.decode(given); err == nil || len(err.Error()) > 400 {
			t.Errorf("a megabyte of a name is refused with %.600v", err)
		}
	}
	if _, err := words.decode([]any{long, long}); err == nil || len(err.Error()) > 400 {
		t.Errorf("a megabyte given twice is refused with %.600v", err)
	}
}

// FuzzInput checks that accepted input has the one form that the rest of the engine takes.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{`1`, `1.9`, `"1h"`, `"500ms"`, `[1]`, `["a"]`, `{"a":"b"}`, `"[\"a\"]"`, `"{}"`, `null`, `true`, `"a=b"`, `-0`, `1e400`, `"\u0000"`} {
		f.Add(seed)
	}
	forms := []struct {
		field Field
		right func(any) bool
	}{
		{word, func(v any) bool { _, ok := v.(string); return ok }},
		{truth, func(v any) bool { _, ok := v.(bool); return ok }},
		{whole, func(v any) bool { _, ok := v.(int64); return ok }},
		{duration, func(v any) bool { n, ok := v.(int64); return ok && n >= 1 && n <= maxSeconds }},
		{words, func(v any) bool { w, ok := v.([]string); return ok && w != nil }},
		{objects, func(v any) bool { _, ok := v.([]any); return ok }},
		{named, func(v any) bool { _, ok := v.(map[string]any); return ok }},
		{anything, func(v any) bool { _, ok := v.(map[string]any); return ok }},
		{pairs, func(v any) bool { _, ok := v.(map[string]string); return ok }},
	}
	f.Fuzz(func(t *testing.T, text string) {
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			return
		}
		for _, form := range forms {
			got, err := form.field.decode(value)
			if err == nil && !form.right(got) {
				t.Errorf("type %d %q became %#v", form.field.Type, text, got)
			}
			if again, err2 := form.field.decode(got); err == nil && (err2 != nil || !reflect.DeepEqual(again, got)) {
				t.Errorf("type %d %q became %#v, and that %#v (%v)", form.field.Type, text, got, again, err2)
			}
		}
	})
}
