package issuer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

// Vault counts in whole seconds, and rounds down what is left of one.
var rounding = []struct {
	window, life time.Duration
	accepted     bool
}{
	{time.Hour, time.Hour, true},
	{time.Hour, 59*time.Minute + 59*time.Second, true},
	{time.Hour, 59*time.Minute + 58*time.Second, true},
	{time.Hour, 59*time.Minute + 57*time.Second, false},
	{time.Hour, time.Second, false},
	{4 * time.Second, 2 * time.Second, true},
	{3 * time.Second, 2 * time.Second, true},
	{3 * time.Second, time.Second, false},
	{2 * time.Second, time.Second, true},
	{time.Second, time.Second, true},
}

func TestTokenThatVaultRoundedDownIsAccepted(t *testing.T) {
	for _, c := range rounding {
		t.Run(fmt.Sprint(c.window, " ", c.life), func(t *testing.T) {
			f := newFixture(t, map[string]http.HandlerFunc{createPath: giveToken(c.life), credsPath: giveLease(c.window, true)})
			made, err := f.make(t.Context(), orderFor(c.window))
			if !c.accepted {
				sessiontest.WantError(t, err, fmt.Sprintf("a token for %s instead of %s", c.life, c.window))
				return
			}
			sessiontest.Must(t, err)
			if len(made.Notes) != 0 || !made.Until.Equal(began.Add(c.life)) {
				t.Errorf("it lasts until %s with the notes %q", made.Until, made.Notes)
			}
		})
	}
	for name, life := range map[string]time.Duration{"a second too long": 11 * time.Second, "without an end": 0} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, map[string]http.HandlerFunc{createPath: giveToken(life)})
			_, err := f.make(t.Context(), orderFor(10*time.Second))
			sessiontest.WantError(t, err, "instead of 10s")
		})
	}
}

func TestLeaseThatVaultRoundedDownIsAcceptedWithoutANote(t *testing.T) {
	for _, c := range rounding {
		t.Run(fmt.Sprint(c.window, " ", c.life), func(t *testing.T) {
			f := newFixture(t, map[string]http.HandlerFunc{
				createPath: giveToken(c.window), credsPath: giveLease(c.life, true),
				"sys/leases/renew": sessiontest.Respond(http.StatusBadRequest, `{"errors":["lease is not renewable"]}`),
			})
			made, err := f.make(t.Context(), orderFor(c.window))
			sessiontest.Must(t, err)
			if !made.Until.Equal(began.Add(c.life)) {
				t.Errorf("it lasts until %s", made.Until)
			}
			notes := strings.Join(made.Notes, "\n")
			if c.accepted != (len(made.Notes) == 0) || strings.Contains(notes, "could not be renewed to the approved window: Vault answered 400") == c.accepted ||
				strings.Contains(notes, fmt.Sprintf("the upstream lease gives %s, less than the approved %s", c.life, c.window)) == c.accepted {
				t.Errorf("the notes are %q", made.Notes)
			}
		})
	}
}

func TestLeaseIsRenewedOnceToTheWindow(t *testing.T) {
	for _, c := range rounding {
		t.Run(fmt.Sprint(c.window, " ", c.life), func(t *testing.T) {
			f := newFixture(t, map[string]http.HandlerFunc{
				createPath: giveToken(c.window), credsPath: giveLease(0, true), "sys/leases/renew": giveLease(c.life, true),
			})
			made, err := f.make(t.Context(), orderFor(c.window))
			sessiontest.Must(t, err)
			if !made.Until.Equal(began.Add(c.life)) || c.accepted != (len(made.Notes) == 0) {
				t.Errorf("it lasts until %s with the notes %q", made.Until, made.Notes)
			}
			renewals := f.vault.Calls("sys/leases/renew")
			if len(renewals) != 1 || renewals[0].Body["lease_id"] != lease.ID || renewals[0].Body["increment"] != c.window.Seconds() {
				t.Errorf("the renewals were %v", renewals)
			}
		})
	}
	t.Run("unless it cannot be", func(t *testing.T) {
		f := newFixture(t, map[string]http.HandlerFunc{credsPath: giveLease(time.Minute, false)})
		made, err := f.make(t.Context(), order())
		sessiontest.Must(t, err)
		if !made.Until.Equal(began.Add(time.Minute)) || len(made.Notes) != 1 || f.vault.CountCalls("sys/leases/renew") != 0 {
			t.Errorf("it lasts until %s with the notes %q", made.Until, made.Notes)
		}
	})
	t.Run("from when Vault said so", func(t *testing.T) {
		f := newFixture(t, nil)
		// The renewal takes a minute and fails: a minute of the lease is over by then.
		f.vault.TakeOver(map[string]http.HandlerFunc{credsPath: giveLease(5*time.Minute, true), "sys/leases/renew": func(out http.ResponseWriter, in *http.Request) {
			f.setClock(time.Minute)
			sessiontest.Lose(out, in)
		}})
		made, err := f.make(t.Context(), order())
		sessiontest.Must(t, err)
		if !made.Until.Equal(began.Add(5 * time.Minute)) {
			t.Errorf("it lasts until %s", made.Until)
		}
	})
}
