package issuer_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

func TestEndIsConfirmedOnlyByVault(t *testing.T) {
	for path, h := range map[string]grant.Handle{revokePath: token, "sys/leases/revoke": lease} {
		for name, handler := range map[string]http.HandlerFunc{
			"a lost answer":     sessiontest.Lose,
			"a redirect":        sessiontest.Respond(http.StatusTemporaryRedirect, ""),
			"an internal error": sessiontest.Respond(http.StatusInternalServerError, `{"errors":["invalid accessor"]}`),
			"sealed":            sessiontest.Respond(http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`),
			"not allowed":       sessiontest.Respond(http.StatusForbidden, `{"errors":["permission denied"]}`),
			"no such path":      sessiontest.Respond(http.StatusNotFound, `{"errors":["no handler for route"]}`),
		} {
			t.Run(h.Key()+" "+name, func(t *testing.T) {
				f := newFixture(t, map[string]http.HandlerFunc{path: handler})
				sessiontest.WantError(t, f.End(t.Context(), h), "revoking the")
				if n := f.vault.CountCalls(path); n != 1 {
					t.Errorf("it was asked %d times", n)
				}
			})
		}
		t.Run(h.Key(), func(t *testing.T) {
			f := newFixture(t, nil)
			sessiontest.Must(t, f.End(t.Context(), h))
			body := f.vault.Calls(path)[0].Body
			if got := fmt.Sprint(body); got != "map[accessor:grant-accessor]" && got != "map[lease_id:database/creds/app/1 sync:true]" {
				t.Errorf("it sent %s", got)
			}
		})
	}
}

// What servers of several releases say when there is no such token. Nothing else may pass for it.
func TestOnlyAnUnknownAccessorCountsAsGone(t *testing.T) {
	for body, gone := range map[string]bool{
		`{"errors":["1 error occurred:\n\t* invalid accessor\n\n"]}`: true,
		`{"errors":["failed to find accessor entry: x"]}`:            true,
		`{"errors":["permission denied"]}`:                           false,
		`{"errors":["invalid request"]}`:                             false,
		`{"errors":["token not found"]}`:                             false,
		`{"errors":[]}`:                                              false,
	} {
		for _, code := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
			t.Run(fmt.Sprint(code, body), func(t *testing.T) {
				gone := gone && code != http.StatusInternalServerError
				f := newFixture(t, map[string]http.HandlerFunc{
					revokePath:                   sessiontest.Respond(code, body),
					"auth/token/lookup-accessor": sessiontest.Respond(code, body),
				})
				if err := f.End(t.Context(), token); (err == nil) != gone {
					t.Errorf("the end says %v", err)
				}
				if known, err := f.Knows(t.Context(), token); known || (err == nil) != gone {
					t.Errorf("it is known: %v, %v", known, err)
				}
			})
		}
	}
}

// A token that Vault is revoking is not found, and has its accessor until that is done.
func TestTokenThatIsNotFoundIsGoneOnlyIfItsAccessorIs(t *testing.T) {
	for name, c := range map[string]struct {
		lookup http.HandlerFunc
		gone   bool
	}{
		"known":        {sessiontest.Respond(http.StatusNoContent, ""), false},
		"gone":         {sessiontest.Respond(http.StatusForbidden, `{"errors":["invalid accessor"]}`), true},
		"bad token":    {sessiontest.Respond(http.StatusForbidden, `{"errors":["bad token"]}`), false},
		"not answered": {sessiontest.Lose, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, map[string]http.HandlerFunc{
				revokePath:                   sessiontest.Respond(http.StatusBadRequest, `{"errors":["token not found"]}`),
				"auth/token/lookup-accessor": c.lookup,
			})
			if err := f.End(t.Context(), token); (err == nil) != c.gone {
				t.Errorf("the end says %v", err)
			}
		})
	}
}

func TestHandleThatCannotBeEndedIsNeverConfirmed(t *testing.T) {
	f := newFixture(t, nil)
	for _, h := range []grant.Handle{grant.Answer{Serial: "1"}, grant.Member{GroupID: "g", EntityID: "e"}, grant.Lease{ID: lease.ID, Inert: true}, nil} {
		if f.End(t.Context(), h) == nil {
			t.Errorf("the end of %#v is confirmed", h)
		}
	}
	if n := f.vault.CountCalls("sys/leases/revoke"); n != 1 {
		t.Errorf("%d leases were revoked", n)
	}
}

func TestEndStopsWithItsCallersContext(t *testing.T) {
	for path, h := range map[string]grant.Handle{revokePath: token, "sys/leases/revoke": lease} {
		t.Run(path, func(t *testing.T) {
			reached := make(chan struct{}, 1)
			f := newFixture(t, map[string]http.HandlerFunc{path: sessiontest.Hang(reached)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- f.End(ctx, h) }()
			<-reached
			cancel()
			select {
			case err := <-done:
				sessiontest.WantError(t, err, "canceled")
			case <-time.After(2 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}
