// Package refusal is how everything in this project says no to whoever asked: what was wrong, in which field, and what
// to do. Every other error is a fault of the system.
package refusal

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// Refusal is the answer to something that a user did wrong. The engine turns it into status 400 in one place.
type Refusal struct { //nolint:errname // the word for it everywhere
	// Field is the field at fault, as in "rules[0].approvals"; see [Join]. Empty if the refusal is about no field.
	Field   string `json:"field,omitempty"`
	Problem string `json:"problem"`
	// Advice is what to do next; empty if the problem says it.
	Advice string `json:"advice,omitempty"`
}

// Error is the whole refusal as one sentence: field, problem, advice.
func (r *Refusal) Error() string {
	sentence := r.Problem
	if r.Field != "" {
		sentence = r.Field + ": " + sentence
	}
	if r.Advice != "" {
		sentence += "; " + r.Advice
	}
	return sentence
}

// New refuses the value of a field.
func New(field, problem, advice string) error {
	return &Refusal{Field: field, Problem: problem, Advice: advice}
}

// Newf refuses the value of a field with a formatted problem that says what to do by itself.
func Newf(field, format string, args ...any) error {
	return &Refusal{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// In says in which field a value is that was refused: err is nil, a refusal of a part of the field, or what package text
// says of a value.
func In(field string, err error) error {
	if err == nil {
		return nil
	}
	inner := Of(err)
	if inner == nil {
		return New(field, err.Error(), "")
	}
	outer := *inner
	outer.Field = Join(field, inner.Field)
	return &outer
}

// plainWord is a key that needs no quotes where a field is named.
var plainWord = regexp.MustCompile(`\A[A-Za-z0-9_-]+\z`)

// Join names a part of a field. The part begins with a field's name, with an index such as [0], or with a key that
// somebody chose, quoted by [strconv.Quote]: parameters and "db" are parameters.db, parameters and "a b" are
// parameters["a b"].
func Join(field, part string) string {
	if quoted, err := strconv.QuotedPrefix(part); err == nil {
		if key, _ := strconv.Unquote(quoted); plainWord.MatchString(key) {
			part = key + part[len(quoted):]
		} else {
			part = "[" + quoted + "]" + part[len(quoted):]
		}
	}
	if field == "" || part == "" || part[0] == '[' {
		return field + part
	}
	return field + "." + part
}

// Of returns the refusal that an error is, or nil if the error is a fault of the system. A refusal that is joined with
// a fault is a fault: Of never looks into what errors.Join made.
func Of(err error) *Refusal {
	for ; err != nil; err = errors.Unwrap(err) {
		if r, ok := err.(*Refusal); ok { //nolint:errorlint // errors.As would look into a join
			return r
		}
	}
	return nil
}
