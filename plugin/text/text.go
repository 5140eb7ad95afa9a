// Package text says which texts may be shown to a person as they are, which may be names or ids, and how a pattern
// matches a whole value. Its errors are refusals that speak of "it"; whoever calls says in which field the text was.
package text

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

const (
	// MaxBytes bounds a reason and a comment.
	MaxBytes = 4 << 10
	// MaxPatternBytes bounds a regular expression.
	MaxPatternBytes = 1024
	// maxNameBytes is far below what any storage accepts as a key.
	maxNameBytes = 256
)

// harmless are the only control characters that a text needs, and the only invisible ones that words and emoji do: the
// joiners. All others of their kind (Unicode's Cf) can make a text read other than it is: direction overrides, spaces of
// no width, tags. Line and paragraph separators (Zl, Zp) break lines in some terminals and viewers.
const harmless = "\n\t\u200c\u200d"

// CheckReadable refuses characters that would show a person something else than what is there.
func CheckReadable(s string) error {
	if !utf8.ValidString(s) {
		return refusal.New("", "it is not valid UTF-8", "")
	}
	for _, char := range s {
		if unicode.In(char, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && !strings.ContainsRune(harmless, char) {
			return refusal.New("", fmt.Sprintf("it holds the control character %U", char), "of those only newline and tab are accepted")
		}
	}
	return nil
}

// CheckProse refuses a reason or comment that is too long, or that could not be shown to a person as it is.
func CheckProse(s string) error {
	if len(s) > MaxBytes {
		return refusal.New("", fmt.Sprintf("it has %d bytes", len(s)), fmt.Sprintf("at most %d are accepted", MaxBytes))
	}
	return CheckReadable(s)
}

// HasMark reports whether any character of the text leaves a mark: spaces of any kind and width do not.
func HasMark(s string) bool {
	return strings.ContainsFunc(s, func(char rune) bool { return unicode.IsGraphic(char) && !unicode.IsSpace(char) })
}

var namePattern = regexp.MustCompile(`\A\w(?:[\w.-]*\w)?\z`)

// CheckName refuses what cannot be the name of an object, such as what a storage would take for a relative path.
func CheckName(s string) error {
	if len(s) <= maxNameBytes && namePattern.MatchString(s) && !strings.Contains(s, "..") {
		return nil
	}
	return refusal.New("", fmt.Sprintf("%.64q is not a name", s),
		fmt.Sprintf("accepted are up to %d letters, digits, _, - and single dots, with a letter, digit or _ at both ends", maxNameBytes))
}

// idPattern is the canonical text of a UUID of version 7.
var idPattern = regexp.MustCompile(`\A[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\z`)

// CheckRequestID refuses what cannot be a request's id.
func CheckRequestID(s string) error {
	if idPattern.MatchString(s) {
		return nil
	}
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return refusal.New("", fmt.Sprintf("%q is not a request id", s), "accepted is a UUID as jit/request returned it")
}

// CompileWhole compiles a pattern (RE2) so that it has to match the whole value, newlines included.
func CompileWhole(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > MaxPatternBytes {
		return nil, refusal.New("", fmt.Sprintf("the pattern has %d bytes", len(pattern)), fmt.Sprintf("at most %d are accepted", MaxPatternBytes))
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, refusal.Newf("", "%q is not a regular expression (RE2 syntax): %v", pattern, err)
	}
	whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		// A pattern that compiles alone can only fail here by quoting the closing parenthesis or by its depth.
		return nil, refusal.Newf("", `%q holds a \Q without its \E, or too many parentheses in each other`, pattern)
	}
	return whole, nil
}
