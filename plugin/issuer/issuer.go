// Package issuer makes and ends grants, with as little power as the job needs: create grant tokens through one token
// role, and revoke what they made.
//
// For every claim it creates one orphan token (the grant token) that lives as long as the window, and makes everything
// with that token. Vault attaches all of it to the token, so Vault ends all of it at the window's end, with or without
// this plugin.
package issuer

import (
	"context"
	"fmt"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/session"
)

// Issuer makes grants in one Vault. It is safe for concurrent use.
type Issuer struct {
	session *session.Session
	now     func() time.Time
}

// New returns an issuer that works with the session's login.
func New(s *session.Session, now func() time.Time) *Issuer { return &Issuer{session: s, now: now} }

// Session is what the issuer reaches Vault with.
func (i *Issuer) Session() *session.Session { return i.session }

// Order is one grant to be made.
type Order struct {
	RequestID string
	Role      string
	// RequesterName and RequesterEntityID are written into the grant token, so that every upstream audit entry names the person.
	RequesterName     string
	RequesterEntityID string
	Grant             grant.Rendered
	// Window is the approved time, in whole seconds.
	Window time.Duration
}

// Made is what was made for an order.
type Made struct {
	// Data is exactly what upstream answered; nil after an error.
	Data map[string]any
	// Handles are what the grant consists of, after an error what may exist: the caller ends it.
	Handles grant.Handles
	// Sent says that something may have been made with the grant token.
	Sent bool
	// Began is the time just before the grant token was asked for, Answered that when everything was there.
	Began, Answered time.Time
	// Until is when the first part of the grant ends by itself.
	Until time.Time
	// Notes are for the one who claimed.
	Notes []string
}

// Keep writes down that a grant token exists, before anything is made with it.
type Keep = func(token grant.Token, began time.Time) error

// Make creates the grant token, has it kept, and makes with it what was ordered. An error of keep is returned as it is;
// every other one is fit to be shown to whoever claims. After an error nothing was given out, and what Made.Handles
// lists is left for the caller to end.
func (i *Issuer) Make(ctx context.Context, o Order, keep Keep) (Made, error) {
	defer i.session.Use()()
	if o.Grant.Kind != grant.KindSecret {
		return Made{}, fmt.Errorf("grants of the kind %q cannot be made by this release", o.Grant.Kind)
	}
	made, err := i.makeSecret(ctx, o, keep)
	if err == nil {
		err = made.finish(o, i.readClock())
	}
	if err != nil {
		made.Data, made.Notes = nil, nil
	}
	return made, err
}

// readClock reads a time that is the same after it was stored.
func (i *Issuer) readClock() time.Time { return i.now().UTC().Round(0) }

// finish refuses a grant that is over before it is there.
func (m *Made) finish(o Order, answered time.Time) error {
	m.Answered = answered
	if m.Until.Sub(answered).Round(time.Second) <= 0 {
		return fmt.Errorf("%s took until the window of %s was over", o.Grant.Path, o.Window)
	}
	if took := answered.Sub(m.Began); took >= time.Second {
		m.Notes = append(m.Notes, fmt.Sprintf("making this took %s, which are part of its window", took.Round(time.Second)))
	}
	return nil
}

// roundingSlack is how much Vault may take off a time. It counts in whole seconds and rounds down what is left of one,
// at each of up to two places.
const roundingSlack = 2 * time.Second

// isShortened reports whether a life is less than the window by more than Vault's rounding. Of a short window, where the
// slack would be most of it, at least half has to be there.
func isShortened(life, window time.Duration) bool {
	return life < window-roundingSlack || 2*life < window
}
