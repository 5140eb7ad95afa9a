package session_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

const revokePath = "auth/token/revoke-accessor"

// ended waits for the end of so many logins, and for a moment in which there could be more.
func ended(t *testing.T, vault *sessiontest.Vault, want int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); vault.CountCalls(revokePath) < want && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if n := vault.CountCalls(revokePath); n != want {
		t.Fatalf("%d logins were ended, not %d", n, want)
	}
}

func TestRetiredSessionRevokesItsLoginWhenNobodyUsesItAnyMore(t *testing.T) {
	vault := sessiontest.New(t, nil)
	s := startAt(t, vault)
	first, second := s.Use(), s.Use()
	sessiontest.Must(t, s.Login(t.Context()))
	s.Retire()
	ended(t, vault, 0)
	first()
	first() // which is no other's use
	ended(t, vault, 0)
	sessiontest.Must(t, calls["new secret id"].make(t.Context(), s)) // it works on
	ended(t, vault, 0)
	second()
	ended(t, vault, 1)
	if call := vault.Calls(revokePath)[0]; call.Body["accessor"] != "engine-accessor" || call.Token != sessiontest.EngineToken {
		t.Errorf("revoked was %v with %v", call.Body, call.Token)
	}
	if n := vault.CountCalls("auth/approle/login"); n != 1 {
		t.Errorf("there were %d logins", n)
	}

	// Whoever still holds it logs in anew, and that login ends as well.
	release := s.Use()
	sessiontest.Must(t, s.Login(t.Context()))
	ended(t, vault, 1)
	release()
	ended(t, vault, 2)
	if n := vault.CountCalls("auth/approle/login"); n != 2 {
		t.Errorf("there were %d logins", n)
	}
}

func TestSessionInUseIsNotRevokedUntilItIsRetired(t *testing.T) {
	vault := sessiontest.New(t, nil)
	s := startAt(t, vault)
	s.Use()()
	sessiontest.Must(t, s.Login(t.Context()))
	ended(t, vault, 0)
	s.Retire()
	ended(t, vault, 1)
	s.Retire()
	ended(t, vault, 1)
}

func TestRetiredSessionThatNeverLoggedInDoesNotLogIn(t *testing.T) {
	vault := sessiontest.New(t, nil)
	startAt(t, vault).Retire()
	ended(t, vault, 0)
	if n := vault.CountCalls("auth/approle/login"); n != 0 {
		t.Errorf("there were %d logins", n)
	}
}

func TestConfiguredTokenIsNeverRevoked(t *testing.T) {
	vault := sessiontest.New(t, nil)
	s := sessiontest.Start(t, session.Connection{Address: vault.URL, Token: sessiontest.EngineToken, TokenRole: "grant"})
	release := s.Use()
	sessiontest.Must(t, s.Login(t.Context()))
	s.Retire()
	release()
	sessiontest.Must(t, s.Login(t.Context()))
	ended(t, vault, 0)
}

// A login that is being revoked must not be given to anybody, and none may be left behind.
func TestRetiredSessionEndsEachLoginAfterItsLastCall(t *testing.T) {
	var made atomic.Int32
	var mu sync.Mutex
	var revoked []string
	vault := sessiontest.New(t, nil)
	vault.TakeOver(map[string]http.HandlerFunc{
		"auth/approle/login": func(out http.ResponseWriter, _ *http.Request) {
			token := fmt.Sprint(sessiontest.EngineToken, made.Add(1))
			sessiontest.Answer(out, sessiontest.Auth(token, "accessor of "+token, "engine", 3600))
		},
		revokePath: func(out http.ResponseWriter, in *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			revoked = append(revoked, in.Header.Get("X-Vault-Token"))
			out.WriteHeader(http.StatusNoContent)
		},
		"sys/leases/revoke": func(out http.ResponseWriter, in *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if slices.Contains(revoked, in.Header.Get("X-Vault-Token")) {
				t.Error("a call was made with a token that had been revoked")
			}
			out.WriteHeader(http.StatusNoContent)
		},
	})
	s := startAt(t, vault)
	s.Retire()
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 20 {
				if _, err := s.Write(t.Context(), "sys/leases/revoke", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	ended(t, vault, int(made.Load()))
}

// The one who asked for a login may have gone before it is there.
func TestLoginThatNobodyWaitsForAnyMoreEndsWithItsSession(t *testing.T) {
	reached, release := make(chan struct{}), make(chan struct{})
	vault := sessiontest.New(t, map[string]http.HandlerFunc{"auth/approle/login": func(out http.ResponseWriter, in *http.Request) {
		close(reached)
		<-release
		sessiontest.Behave(out, in)
	}})
	s := startAt(t, vault)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Login(ctx) }()
	<-reached
	cancel()
	sessiontest.WantError(t, <-done, "canceled")
	s.Retire()
	ended(t, vault, 0)
	close(release)
	ended(t, vault, 1)
}
