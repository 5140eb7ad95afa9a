package grant

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// secret is what role "dba" gives in these tests.
func secret() Secret {
	return Secret{Path: "database/creds/dba", Operation: Read, GrantPolicies: []string{"jit-dba"}}
}

// secretWith writes data to a path; its parameters are required and accept anything.
func secretWith(path string, data map[string]any, parameters ...string) Secret {
	s := secret()
	s.Path, s.Data, s.Operation, s.Parameters = path, data, Write, Parameters{}
	for _, name := range parameters {
		s.Parameters[name] = Parameter{Pattern: "(?s).*", Required: true}
	}
	return s
}

// values are those of a request of alice for an hour.
func values(parameters map[string]string) Values {
	return Values{
		RequestID: "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20", TTL: time.Hour, Parameters: parameters,
		EntityID: "entity-alice", Name: "alice", Aliases: map[string]string{"auth_userpass_1": "alice"},
	}
}

func asText(t rapid.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantRefusal fails unless the error's text holds the fragment.
func wantRefusal(t rapid.TB, err error, fragment string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; it must be refused with %q", fragment)
	}
	if !strings.Contains(err.Error(), fragment) {
		t.Fatalf("refused with %q; it must say %q", err, fragment)
	}
}

func wantEqual[T any](t rapid.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is %+v; it must be %+v", what, got, want)
	}
}
