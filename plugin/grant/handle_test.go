package grant

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestHandlesOutliveStorage(t *testing.T) {
	handles := Handles{
		Token{Accessor: "accessor-1"},
		Lease{ID: "database/creds/dba/1", Inert: true},
		Answer{Serial: "39:dd", WorksUntil: time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)},
		Member{GroupID: "group-1", EntityID: "entity-alice"},
	}
	for _, some := range []Handles{handles, {}, handles[1:2], {Lease{}, Answer{}}} {
		var back Handles
		if err := json.Unmarshal([]byte(asText(t, some)), &back); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "handles", back, some)
	}
	wantEqual(t, "stored form", asText(t, handles[:1]), `[{"token":{"accessor":"accessor-1"}}]`)
	wantEqual(t, "stored form of none", asText(t, Handles(nil)), `[]`)
}

// No two kinds share a key, and no field of a handle could hold a secret without this test being asked.
func TestHandlesHaveKeysOfTheirOwnAndHoldNoSecret(t *testing.T) {
	handles := Handles{Token{}, Lease{}, Answer{}, Member{}}
	var fields, keys []string
	for _, h := range handles {
		keys = append(keys, h.Key())
		for i := range reflect.TypeOf(h).NumField() {
			fields = append(fields, reflect.TypeOf(h).Field(i).Name)
		}
		wantEqual(t, "found by its key", handles.Find(h.Key()), h)
	}
	wantEqual(t, "keys", keys, []string{"token", "lease", "answer", "member"})
	slices.Sort(fields)
	wantEqual(t, "fields", fields, []string{"Accessor", "EntityID", "GroupID", "ID", "Inert", "Serial", "WorksUntil"})
	if (Handles{}).Find("token") != nil || handles.Find("") != nil || Handles(nil).Find("token") != nil {
		t.Error("a handle that is not there is found")
	}
}

func TestUnknownHandlesAreRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                             "cannot unmarshal object",
		`[{"cookie":{}}]`:                `handle "cookie": it is not known to this release`,
		`[{"token":{"id":"s.1"}}]`:       `handle "token": json: unknown field "id"`,
		`[{"lease":{"inert":"yes"}}]`:    `handle "lease": `,
		`[{"answer":{"works_until":1}}]`: `handle "answer": `,
		`[{"member":[]}]`:                `handle "member": `,
		`[{}]`:                           "handle: it has 0 kinds instead of one",
		`[null]`:                         "handle: it has 0 kinds instead of one",
		`[{"token":{},"lease":{}}]`:      "handle: it has 2 kinds instead of one",
		`["token"]`:                      "handle: ",
	} {
		kept := Handles{Token{Accessor: "before"}}
		wantRefusal(t, json.Unmarshal([]byte(text), &kept), want)
		wantEqual(t, "the handles of before", kept, Handles{Token{Accessor: "before"}})
	}
}

func TestSpecOutlivesStorageWithItsDigits(t *testing.T) {
	s := secretWith("database/creds/x", map[string]any{"id": json.Number("12345678901234567890"), "share": json.Number("1.0")}, "db")
	for _, spec := range []Stored{{s}, {nil}} {
		var back Stored
		if err := json.Unmarshal([]byte(asText(t, spec)), &back); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "spec", back, spec)
	}
	wantEqual(t, "kind", Stored{s}.Kind(), KindSecret)
	// A role that gave something gives nothing once nothing is stored.
	full := Stored{s}
	if err := json.Unmarshal([]byte("null"), &full); err != nil || full.Spec != nil {
		t.Errorf("null left %v, %v", full.Spec, err)
	}
}

func TestUnknownSpecsAreRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		`{"membership":{}}`:                       `kind "membership" is not known to this release`,
		`{"secret":{"paths":"x"}}`:                `grant specification of kind "secret": json: unknown field "paths"`,
		`{"secret":{"parameters":{"a":{"x":1}}}}`: `json: unknown field "x"`,
		`{}`:                       "it has 0 kinds instead of one",
		`{"secret":{},"token":{}}`: "it has 2 kinds instead of one",
		`[]`:                       "grant specification: ",
	} {
		var s Stored
		wantRefusal(t, json.Unmarshal([]byte(text), &s), want)
		wantEqual(t, "what is left", s.Spec, nil)
	}
}
