package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
)

// number is a number of JSON as Vault hands it to a plugin.
func number(n float64) any { return n }

func TestInputIsConverted(t *testing.T) {
	for _, c := range []struct {
		kind  framework.FieldType
		given any
		want  any
	}{
		{framework.TypeString, "", ""},
		{framework.TypeString, " a\nb ", " a\nb "},
		{framework.TypeBool, true, true},
		{framework.TypeBool, "false", false},
		{framework.TypeInt, number(7), 7},
		{framework.TypeInt, json.Number("7"), 7},
		{framework.TypeInt, "7", 7},
		{framework.TypeInt, number(-1), -1},
		{framework.TypeInt, number(math.MaxInt32), math.MaxInt32},
		{framework.TypeDurationSecond, number(90), 90},
		{framework.TypeDurationSecond, json.Number("90"), 90},
		{framework.TypeDurationSecond, "90", 90},
		{framework.TypeDurationSecond, "90s", 90},
		{framework.TypeDurationSecond, "1h30m", 5400},
		{framework.TypeDurationSecond, "2d", 172800},
		{framework.TypeDurationSecond, "1000ms", 1},
		{framework.TypeCommaStringSlice, "", []string{}},
		{framework.TypeCommaStringSlice, "a, b", []string{"a", "b"}},
		{framework.TypeCommaStringSlice, `["a","b,c"]`, []string{"a", "b,c"}},
		{framework.TypeCommaStringSlice, []any{"a", "b"}, []string{"a", "b"}},
		{framework.TypeSlice, `[{"a":1}]`, []any{map[string]any{"a": json.Number("1")}}},
		{framework.TypeSlice, []any{"x"}, []any{"x"}},
		{framework.TypeMap, `{"a":{"b":9007199254740991}}`, map[string]any{"a": map[string]any{"b": json.Number("9007199254740991")}}},
		{framework.TypeMap, `{"a":-0.25}`, map[string]any{"a": json.Number("-0.25")}},
		{framework.TypeMap, map[string]any{"a": number(1.5)}, map[string]any{"a": number(1.5)}},
		{framework.TypeKVPairs, "a=b=c", map[string]any{"a": "b=c"}},
		{framework.TypeKVPairs, []any{"a=1", "b="}, map[string]any{"a": "1", "b": ""}},
		{framework.TypeKVPairs, `{"a":"1"}`, map[string]any{"a": "1"}},
		{framework.TypeKVPairs, map[string]any{"a": "1"}, map[string]any{"a": "1"}},
	} {
		got, err := convert(c.kind, c.given)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %#v: got %#v and %v, want %#v", c.kind, c.given, got, err, c.want)
		}
	}
}

func TestAmbiguousInputIsRefused(t *testing.T) {
	for _, c := range []struct {
		kind  framework.FieldType
		given any
		says  string
	}{
		{framework.TypeString, number(5), "must be a string"},
		{framework.TypeString, nil, "must be a string"},
		{framework.TypeString, []any{"a"}, "must be a string"},
		{framework.TypeBool, "yes", "true or false"},
		{framework.TypeBool, number(1), "true or false"},
		{framework.TypeBool, nil, "true or false"},
		{framework.TypeInt, number(1.9), "whole number"},
		{framework.TypeInt, number(1e10), "whole number"},
		{framework.TypeInt, json.Number("1.0"), "whole number"},
		{framework.TypeInt, "1e3", "whole number"},
		{framework.TypeInt, "", "whole number"},
		{framework.TypeInt, true, "whole number"},
		{framework.TypeInt, nil, "whole number"},
		{framework.TypeDurationSecond, number(1.9), "whole seconds"},
		{framework.TypeDurationSecond, json.Number("1.9"), "whole seconds"},
		{framework.TypeDurationSecond, "1.9", "whole seconds"},
		{framework.TypeDurationSecond, "1.5s", "whole seconds"},
		{framework.TypeDurationSecond, "500ms", "whole seconds"},
		{framework.TypeDurationSecond, number(0), "whole seconds"},
		{framework.TypeDurationSecond, "0", "whole seconds"},
		{framework.TypeDurationSecond, "0s", "whole seconds"},
		{framework.TypeDurationSecond, "", "whole seconds"},
		{framework.TypeDurationSecond, nil, "whole seconds"},
		{framework.TypeDurationSecond, number(-1), "whole seconds"},
		{framework.TypeDurationSecond, "-1h", "whole seconds"},
		{framework.TypeDurationSecond, number(1e300), "whole seconds"},
		{framework.TypeDurationSecond, "200y", "whole seconds"},
		{framework.TypeDurationSecond, "9223372036854775807", "whole seconds"},
		// 2^55 + 3600: multiplied by the nanoseconds of a second it would wrap around to one hour.
		{framework.TypeDurationSecond, "36028797018967568", "whole seconds"},
		{framework.TypeDurationSecond, true, "whole seconds"},
		{framework.TypeCommaStringSlice, "a,,b", "empty entry"},
		{framework.TypeCommaStringSlice, []any{" "}, "empty entry"},
		{framework.TypeCommaStringSlice, "a, a", `"a" is there twice`},
		{framework.TypeCommaStringSlice, []any{"a", number(1)}, "list of strings"},
		{framework.TypeCommaStringSlice, []any{[]any{"a"}}, "list of strings"},
		{framework.TypeCommaStringSlice, map[string]any{}, "list of strings"},
		{framework.TypeCommaStringSlice, `["a"`, "no JSON"},
		{framework.TypeCommaStringSlice, nil, "list of strings"},
		{framework.TypeSlice, `{"a":1}`, "JSON list"},
		{framework.TypeSlice, "a", "no JSON"},
		{framework.TypeSlice, "[] []", "something follows"},
		{framework.TypeSlice, nil, "JSON list"},
		{framework.TypeMap, "[]", "JSON object"},
		{framework.TypeMap, `{"a":1}x`, "something follows"},
		{framework.TypeMap, number(5), "JSON object"},
		{framework.TypeMap, map[string]any{"a": []any{number(1 << 53)}}, "too large to get through unchanged"},
		{framework.TypeMap, `{"a":9007199254740993}`, "would be shown as"},
		{framework.TypeMap, `{"a":[1.0]}`, `would be shown as "1"`},
		{framework.TypeMap, `{"a":1e3}`, `would be shown as "1000"`},
		{framework.TypeMap, `{"a":1e-999999999}`, "would be shown as"},
		{framework.TypeMap, `{"a":1e999}`, "would be shown as"},
		{framework.TypeKVPairs, "a", "name=value"},
		{framework.TypeKVPairs, "=a", "name=value"},
		{framework.TypeKVPairs, []any{"a=1", "a=2"}, `"a" is given twice`},
		{framework.TypeKVPairs, []any{number(1)}, "name=value"},
		{framework.TypeKVPairs, map[string]any{"a": number(1)}, "must be a string"},
		{framework.TypeKVPairs, `{"a":{}}`, "must be a string"},
		{framework.TypeKVPairs, nil, "name=value"},
		{framework.TypeHeader, "a", "not handled"},
	} {
		got, err := convert(c.kind, c.given)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %#v: got %#v and %v, want a refusal that says %q", c.kind, c.given, got, err, c.says)
		}
	}
}

func TestObjectsAcceptOnlyTheExactSpellingOfAKey(t *testing.T) {
	type object struct {
		Approvals int `json:"approvals"`
	}
	for _, c := range []struct{ given, says string }{
		{`{"approvals":1}`, ""},
		{`{"Approvals":1}`, `"Approvals"`},
		{`{"approvals":1,"APPROVALS":9}`, `"APPROVALS"`},
		{`{"approval\u017f":1}`, "approval"}, // a long s, which encoding/json reads as an s
		{`{"approval":1}`, `"approval"`},
		{`{"approvals":1.5}`, "approvals"},
		{`{"approvals":"1"}`, "approvals"},
		{`["approvals"]`, "JSON object with approvals"},
	} {
		value, err := decodeJSON(c.given)
		if err != nil {
			t.Fatal(err)
		}
		var into object
		err = decodeObject(value, &into, "approvals")
		if (err == nil) != (c.says == "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %+v and %v, want a refusal that says %q", c.given, into, err, c.says)
		}
	}
}

func TestLongListsAreRefused(t *testing.T) {
	words := make([]any, maxWords+1)
	for i := range words {
		words[i] = fmt.Sprint("word", i)
	}
	if list, err := convert(framework.TypeCommaStringSlice, words[1:]); err != nil || len(list.([]string)) != maxWords {
		t.Errorf("the longest accepted list is refused: %v", err)
	}
	asJSON, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	for _, long := range []any{words, string(asJSON), strings.Repeat("x,", maxWords)} {
		if _, err := convert(framework.TypeCommaStringSlice, long); err == nil || !strings.Contains(err.Error(), "10001 entries") {
			t.Errorf("one entry more is answered with %v", err)
		}
	}
}

func TestRefusalsQuoteLittleOfLongInput(t *testing.T) {
	long := strings.Repeat("ä", 1<<20)
	var into struct{}
	if err := decodeObject(map[string]any{long: 1}, &into, "approvals"); err == nil || len(err.Error()) > 400 {
		t.Errorf("a megabyte of a key is refused with %.600v", err)
	}
	for _, kind := range []framework.FieldType{
		framework.TypeBool, framework.TypeInt, framework.TypeDurationSecond, framework.TypeSlice, framework.TypeMap, framework.TypeKVPairs,
	} {
		if _, err := convert(kind, long); err == nil || len(err.Error()) > 400 {
			t.Errorf("%s: a megabyte is refused with %.600v", kind, err)
		}
	}
	for _, pairs := range []any{map[string]any{long: 1}, []any{long + "=1", long + "=2"}} {
		if _, err := convert(framework.TypeKVPairs, pairs); err == nil || len(err.Error()) > 400 {
			t.Errorf("a megabyte of a name is refused with %.600v", err)
		}
	}
	if _, err := convert(framework.TypeCommaStringSlice, []any{long, long}); err == nil || len(err.Error()) > 400 {
		t.Errorf("a megabyte given twice is refused with %.600v", err)
	}
}

// FuzzInput checks that accepted input has the type that the framework takes without converting it.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{`1`, `1.9`, `"1h"`, `"500ms"`, `[1]`, `["a"]`, `{"a":"b"}`, `"[\"a\"]"`, `"{}"`, `null`, `true`, `"a=b"`, `-0`, `1e400`, `"\u0000"`} {
		f.Add(seed)
	}
	want := map[framework.FieldType]func(any) bool{
		framework.TypeString:           func(v any) bool { _, ok := v.(string); return ok },
		framework.TypeBool:             func(v any) bool { _, ok := v.(bool); return ok },
		framework.TypeInt:              func(v any) bool { _, ok := v.(int); return ok },
		framework.TypeDurationSecond:   func(v any) bool { n, ok := v.(int); return ok && n >= 1 && n <= maxSeconds },
		framework.TypeCommaStringSlice: func(v any) bool { w, ok := v.([]string); return ok && w != nil },
		framework.TypeSlice:            func(v any) bool { _, ok := v.([]any); return ok },
		framework.TypeMap:              func(v any) bool { _, ok := v.(map[string]any); return ok },
		framework.TypeKVPairs:          func(v any) bool { _, ok := v.(map[string]any); return ok },
	}
	f.Fuzz(func(t *testing.T, text string) {
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			return
		}
		for kind, right := range want {
			got, err := convert(kind, value)
			if err == nil && !right(got) {
				t.Errorf("%s %q became %#v", kind, text, got)
			}
			if err != nil {
				continue
			}
			field := framework.FieldData{Raw: map[string]any{"x": got}, Schema: map[string]*framework.FieldSchema{"x": {Type: kind}}}
			if err := field.Validate(); err != nil {
				t.Errorf("%s %q is accepted, but not by the framework: %v", kind, text, err)
			}
		}
	})
}
