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
		"it is cancelled":                  refusal.New("", "it is cancelled", ""),
		"rules: 2 are too many":            refusal.Newf("rules", "%d are too many", 2),
		"reason: it is empty":              refusal.In("reason", errors.New("it is empty")),
		"rules[0].approvals: 0 is too few": refusal.In("rules", refusal.In("[0]", refusal.New("approvals", "0 is too few", ""))),
		"data: it is needed; give one":     refusal.In("data", refusal.New("", "it is needed", "give one")),
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	if refusal.In("ttl", nil) != nil {
		t.Error("a field without a problem is refused")
	}
}
