package refusal_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

func TestRefusalJoinedWithAFaultIsAFault(t *testing.T) {
	no := refusal.New("ttl", "9h is longer than max_ttl", "ask for less")
	for _, c := range []struct {
		name    string
		err     error
		refused bool
	}{
		{"nothing", nil, false},
		{"a refusal", no, true},
		{"a refusal with context", fmt.Errorf("policy %q: %w", "prod", no), true},
		{"a fault", io.ErrUnexpectedEOF, false},
		{"a refusal joined with a fault", errors.Join(no, io.ErrUnexpectedEOF), false},
		{"a refusal joined with a refusal", errors.Join(no, no), false},
		{"a join with context", fmt.Errorf("claiming: %w", errors.Join(no, io.ErrUnexpectedEOF)), false},
		{"a refusal and a fault in one format", fmt.Errorf("%w, %w", no, io.ErrUnexpectedEOF), false},
	} {
		if got := refusal.Of(c.err) != nil; got != c.refused {
			t.Errorf("%s is a refusal: %v", c.name, got)
		}
	}
}

func TestRefusalIsOneSentence(t *testing.T) {
	for want, err := range map[string]error{
		"ttl: 9h is longer than max_ttl; ask for less": refusal.New("ttl", "9h is longer than max_ttl", "ask for less"),
		"it is cancelled":                    refusal.New("", "it is cancelled", ""),
		"rules: 2 are too many":              refusal.Newf("rules", "%d are too many", 2),
		"reason: it is empty":                refusal.In("reason", errors.New("it is empty")),
		"rules[0].approvals: 0 is too few":   refusal.In("rules", refusal.In("[0]", refusal.New("approvals", "0 is too few", ""))),
		"data: it is needed; give one":       refusal.In("data", refusal.New("", "it is needed", "give one")),
		"data[0]: it is needed":              refusal.In("data", refusal.New("[0]", "it is needed", "")),
		`parameters.db.pattern: it is empty`: refusal.In("parameters", refusal.In(`"db"`, refusal.New("pattern", "it is empty", ""))),
		`parameters["a b"]: it is unknown`:   refusal.In("parameters", refusal.New(`"a b"`, "it is unknown", "")),
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	if refusal.In("ttl", nil) != nil {
		t.Error("a field without a problem is refused")
	}
}

func TestFieldIsNamedByTheWayToIt(t *testing.T) {
	for _, c := range []struct{ field, part, want string }{
		{"", "", ""},
		{"ttl", "", "ttl"},
		{"", "ttl", "ttl"},
		{"rules[0]", "approvals", "rules[0].approvals"},
		{"rules", "[0].approvals", "rules[0].approvals"},
		{"data", "[0][1]", "data[0][1]"},
		{"parameters", `"db"`, "parameters.db"},
		{"parameters", `"db".pattern`, "parameters.db.pattern"},
		{"parameters", `"my-db_2"`, "parameters.my-db_2"},
		{"parameters", `"a b".pattern`, `parameters["a b"].pattern`},
		{"parameters", `""`, `parameters[""]`},
		{"data", `"a.b"`, `data["a.b"]`},
		{"data", `"[0]"`, `data["[0]"]`},
		{"data", `"say \"x\"\n"[1]`, `data["say \"x\"\n"][1]`},
		{"", `"a b"`, `["a b"]`},
	} {
		if got := refusal.Join(c.field, c.part); got != c.want {
			t.Errorf("%q of %q is called %q, want %q", c.part, c.field, got, c.want)
		}
	}
}
