package session_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

func TestCallersThatComeTogetherShareOneLogin(t *testing.T) {
	release := make(chan struct{})
	vault := sessiontest.New(t, map[string]http.HandlerFunc{"auth/approle/login": func(out http.ResponseWriter, in *http.Request) {
		<-release
		sessiontest.Behave(out, in)
	}})
	s := startAt(t, vault)
	var logins sync.WaitGroup
	// The first one gives up while it logs in for all. The others must not fail with it.
	impatient, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	logins.Go(func() { left <- s.Login(impatient) })
	for vault.CountCalls("auth/approle/login") == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		logins.Go(func() {
			if err := s.Login(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	sessiontest.WantError(t, <-left, "canceled")
	close(release)
	logins.Wait()
	// The token of a login that was broken off would live on unknown.
	if n := vault.CountCalls("auth/approle/login"); n != 1 {
		t.Errorf("there were %d logins", n)
	}
}

// A token that was revoked, or that is lost with a restored snapshot, looks like a missing permission.
func TestRejectedTokenMeansOneNewLogin(t *testing.T) {
	rejected := sessiontest.Respond(http.StatusForbidden, `{"errors":["permission denied"]}`)
	t.Run("and the call is made again", func(t *testing.T) {
		logins := 0
		vault := sessiontest.New(t, nil)
		vault.TakeOver(map[string]http.HandlerFunc{
			"auth/approle/login": func(out http.ResponseWriter, _ *http.Request) {
				logins++
				sessiontest.Answer(out, sessiontest.Auth(fmt.Sprint(sessiontest.EngineToken, logins), "engine-accessor", "engine", 3600))
			},
			"sys/capabilities-self": rejected,
			"auth/token/revoke-accessor": func(out http.ResponseWriter, in *http.Request) {
				if in.Header.Get("X-Vault-Token") == sessiontest.EngineToken+"1" {
					rejected(out, in)
					return
				}
				sessiontest.Behave(out, in)
			},
		})
		sessiontest.Must(t, revoke(t.Context(), startAt(t, vault)))
		if n := vault.CountCalls("auth/token/revoke-accessor"); logins != 2 || n != 2 {
			t.Errorf("there were %d logins and %d calls", logins, n)
		}
	})
	t.Run("and no more than one", func(t *testing.T) {
		vault := sessiontest.New(t, map[string]http.HandlerFunc{"auth/token/revoke-accessor": rejected, "sys/capabilities-self": rejected})
		sessiontest.WantError(t, revoke(t.Context(), startAt(t, vault)), "permission denied")
		if n := vault.CountCalls("auth/approle/login"); n != 2 {
			t.Errorf("there were %d logins", n)
		}
	})
	t.Run("but not for a call with another token", func(t *testing.T) {
		vault := sessiontest.New(t, map[string]http.HandlerFunc{"database/creds/app": rejected, "sys/capabilities-self": rejected})
		sessiontest.WantError(t, calls["read as another"].make(t.Context(), startAt(t, vault)), "permission denied")
		if n := vault.CountCalls("auth/approle/login"); n != 0 || vault.CountCalls("database/creds/app") != 1 {
			t.Errorf("there were %d logins", n)
		}
	})
}

// A call that the token's policies do not allow gets the same 403. A login for each would leave a token each.
func TestMissingPermissionMeansNoNewLogin(t *testing.T) {
	for name, capabilities := range map[string]http.HandlerFunc{
		"Vault takes the token":       sessiontest.Behave,
		"Vault cannot be asked again": sessiontest.Respond(http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`),
	} {
		t.Run(name, func(t *testing.T) {
			vault := sessiontest.New(t, map[string]http.HandlerFunc{
				"auth/token/revoke-accessor": sessiontest.Respond(http.StatusForbidden, `{"errors":["permission denied"]}`),
				"sys/capabilities-self":      capabilities,
			})
			s := startAt(t, vault)
			for range 5 {
				sessiontest.WantError(t, revoke(t.Context(), s), "permission denied")
			}
			if n := vault.CountCalls("auth/approle/login"); n != 1 {
				t.Errorf("there were %d logins", n)
			}
		})
	}
}
