// Package refusaltest compares refusals in tests.
package refusaltest

import (
	"strings"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// TB is what a test of any kind can do.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// WantAt fails unless the error is the wanted refusal: of exactly the field that stands before the first colon, and with
// a sentence that goes on like that. Nothing before the colon is no field.
func WantAt(t TB, err error, want string) {
	t.Helper()
	field, sentence, _ := strings.Cut(want, ": ")
	refused := refusal.Of(err)
	if refused == nil {
		t.Fatalf("%v is no refusal; it must be refused with %q", err, want)
		return
	}
	about := refusal.Refusal{Problem: refused.Problem, Advice: refused.Advice}
	if refused.Field != field || !strings.HasPrefix(about.Error(), sentence) {
		t.Fatalf("refused with the field %q and %q; it must be %q", refused.Field, about.Error(), want)
	}
}
