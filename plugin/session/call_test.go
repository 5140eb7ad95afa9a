package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

func startAt(t *testing.T, vault *sessiontest.Vault) *session.Session {
	t.Helper()
	return sessiontest.Start(t, sessiontest.Connection(vault.URL))
}

func revoke(ctx context.Context, s *session.Session) error {
	_, err := s.Write(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": "grant-accessor"})
	return err
}

// calls are the session's calls with side effects, each with the path that matters to it.
var calls = map[string]struct {
	path string
	make func(ctx context.Context, s *session.Session) error
}{
	"login": {"auth/approle/login", func(ctx context.Context, s *session.Session) error { return s.Login(ctx) }},
	"read": {"database/creds/app", func(ctx context.Context, s *session.Session) error {
		return requireAnswer(s.Read(ctx, "database/creds/app"))
	}},
	"write": {"auth/token/revoke-accessor", revoke},
	"write JSON": {"auth/token/create/grant", func(ctx context.Context, s *session.Session) error {
		var out map[string]any
		return s.WriteJSON(ctx, "auth/token/create/grant", map[string]any{"ttl": "600s"}, &out)
	}},
	"read as another": {"database/creds/app", func(ctx context.Context, s *session.Session) error {
		return requireAnswer(s.As(sessiontest.GrantToken).Read(ctx, "database/creds/app"))
	}},
	"write as another": {"database/creds/app", func(ctx context.Context, s *session.Session) error {
		return requireAnswer(s.As(sessiontest.GrantToken).Write(ctx, "database/creds/app", nil))
	}},
	"new secret id": {"auth/approle/role/engine/secret-id", func(ctx context.Context, s *session.Session) error {
		_, err := s.NewSecretID(ctx)
		return err
	}},
	"destroy secret id": {"auth/approle/role/engine/secret-id/destroy", func(ctx context.Context, s *session.Session) error {
		return s.DestroySecretID(ctx, sessiontest.SecretID)
	}},
}

// requireAnswer makes an error of nothing: to vault/api a 404 without a word is a path with nothing there.
func requireAnswer(answer *api.Secret, err error) error {
	if err == nil && answer.Data == nil {
		return fmt.Errorf("there is nothing")
	}
	return err
}

// A write that Vault answered with a fault may have had its effect, so it is not made again without asking what is there.
func TestSessionMakesAnErrorOfAFaultAndRepeatsNothing(t *testing.T) {
	faults := map[string]http.HandlerFunc{
		"a lost answer":     sessiontest.Lose,
		"not found":         sessiontest.Respond(http.StatusNotFound, `{"errors":["no handler for route"]}`),
		"not ready":         sessiontest.Respond(http.StatusPreconditionFailed, `{"errors":["required index state not present"]}`),
		"too many requests": sessiontest.Respond(http.StatusTooManyRequests, `{"errors":["quota"]}`),
		"an internal error": sessiontest.Respond(http.StatusInternalServerError, `{"errors":["boom"]}`),
		"a bad gateway":     sessiontest.Respond(http.StatusBadGateway, `<html>nginx</html>`),
		"sealed":            sessiontest.Respond(http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`),
		"no JSON":           sessiontest.Respond(http.StatusOK, `<html>Welcome to the hotel's wireless network</html>`),
		"half an answer":    sessiontest.Respond(http.StatusOK, `{"auth":{"client_token":"`),
	}
	for name, call := range calls {
		for fault, handler := range faults {
			t.Run(name+"/"+fault, func(t *testing.T) {
				vault := sessiontest.New(t, map[string]http.HandlerFunc{call.path: handler})
				sessiontest.WantError(t, call.make(t.Context(), startAt(t, vault)))
				if n := vault.CountCalls(call.path); n != 1 {
					t.Errorf("%s was called %d times", call.path, n)
				}
			})
		}
	}
}

// Go's transport repeats a GET by itself when a connection that was used before breaks, and reading database/creds/x
// makes a user each time.
func TestSessionSharesAConnectionAndRepeatsNothingWhenItBreaks(t *testing.T) {
	vault := sessiontest.New(t, nil)
	s := startAt(t, vault)
	for range 3 {
		sessiontest.Must(t, calls["read as another"].make(t.Context(), s))
		sessiontest.Must(t, calls["write"].make(t.Context(), s))
	}
	if n := vault.Connections.Load(); n != 1 {
		t.Errorf("it took %d connections", n)
	}
	for _, name := range []string{"read", "read as another"} {
		vault.TakeOver(map[string]http.HandlerFunc{"database/creds/app": sessiontest.Lose})
		sessiontest.WantError(t, calls[name].make(t.Context(), s))
		if n := vault.CountCalls("database/creds/app"); n != 1 {
			t.Errorf("%s was made %d times", name, n)
		}
		vault.TakeOver(nil)
		sessiontest.Must(t, calls["write"].make(t.Context(), s)) // so that there is a used connection again
	}
}

func TestSessionReadsAnAnswerThatComesInPiecesToItsEnd(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			vault := sessiontest.New(t, map[string]http.HandlerFunc{call.path: func(out http.ResponseWriter, in *http.Request) {
				whole := httptest.NewRecorder()
				sessiontest.Behave(whole, in)
				if whole.Code != http.StatusOK {
					out.WriteHeader(whole.Code)
					return
				}
				for _, piece := range whole.Body.Bytes() {
					out.Write([]byte{piece})
					out.(http.Flusher).Flush()
					time.Sleep(10 * time.Microsecond) // each in a packet of its own
				}
			}})
			sessiontest.Must(t, call.make(t.Context(), startAt(t, vault)))
		})
	}
}

// A redirect would carry the engine's secrets elsewhere; and taken for success, it would confirm ends that never were.
func TestSessionMakesAnErrorOfARedirect(t *testing.T) {
	var elsewhere sync.Map
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) { elsewhere.Store(in.URL.Path, true) }))
	t.Cleanup(other.Close)
	for name, call := range calls {
		for _, code := range []int{
			http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusNotModified,
			http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		} {
			t.Run(fmt.Sprint(name, " ", code), func(t *testing.T) {
				vault := sessiontest.New(t, map[string]http.HandlerFunc{call.path: func(out http.ResponseWriter, in *http.Request) {
					out.Header().Set("Location", other.URL+in.URL.Path)
					out.WriteHeader(code)
				}})
				hint := "not followed: set address"
				if code == http.StatusTemporaryRedirect {
					hint = "not followed: try again if Vault's active node has just changed"
				}
				sessiontest.WantError(t, call.make(t.Context(), startAt(t, vault)), fmt.Sprint(code), hint)
				if n := vault.CountCalls(call.path); n != 1 {
					t.Errorf("%s was called %d times", call.path, n)
				}
			})
		}
	}
	elsewhere.Range(func(path, _ any) bool { t.Errorf("the other host was called: %s", path); return true })
}

func TestSessionMakesAnErrorOfAnAnswerWithoutWhatItAskedFor(t *testing.T) {
	for name, empty := range map[string]string{"login": `{"auth":null}`, "new secret id": `{"data":{}}`} {
		for _, body := range []string{empty, `{}`, `{"data":{"client_token":"x"}}`} {
			t.Run(name+body, func(t *testing.T) {
				vault := sessiontest.New(t, map[string]http.HandlerFunc{calls[name].path: sessiontest.Respond(http.StatusOK, body)})
				sessiontest.WantError(t, calls[name].make(t.Context(), startAt(t, vault)), "Vault answered without a")
			})
		}
	}
}

// The caller's context is what ends a call when the server steps down or is sealed.
func TestCallEndsWithItsCallersContext(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{}, 10)
			vault := sessiontest.New(t, map[string]http.HandlerFunc{call.path: sessiontest.Hang(reached)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			s := startAt(t, vault)
			s.SetCallTimeout(2 * time.Second) // for the login, which goes on for others
			go func() { done <- call.make(ctx, s) }()
			<-reached
			cancel()
			select {
			case err := <-done:
				sessiontest.WantError(t, err)
			case <-time.After(time.Second):
				t.Error("it goes on")
			}
		})
	}
}

func TestCallThatHangsEndsAfterTheLimit(t *testing.T) {
	const limit = 100 * time.Millisecond
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{}, 10)
			vault := sessiontest.New(t, map[string]http.HandlerFunc{call.path: sessiontest.Hang(reached)})
			s := startAt(t, vault)
			s.SetCallTimeout(limit)
			ctx, cancel := context.WithTimeout(t.Context(), 10*limit)
			defer cancel()
			err := call.make(ctx, s)
			if strings.HasSuffix(name, "as another") {
				// Making a credential may take what is left of the caller's time.
				sessiontest.WantError(t, err, "deadline")
				if ctx.Err() == nil {
					t.Error("it ended before its caller's context")
				}
				return
			}
			sessiontest.WantError(t, err, "Vault did not answer within 100ms")
			if ctx.Err() != nil {
				t.Error("it took all of its caller's time")
			}
			if n := vault.CountCalls(call.path); n != 1 {
				t.Errorf("%s was called %d times", call.path, n)
			}
		})
	}
	t.Run("unless a test says otherwise, five seconds", func(t *testing.T) {
		if session.CallTimeout != 5*time.Second {
			t.Errorf("it is %s", session.CallTimeout)
		}
	})
}

// An answer that drips has to end as well.
func TestAnswerThatNeverEndsEndsAfterTheLimit(t *testing.T) {
	vault := sessiontest.New(t, map[string]http.HandlerFunc{"auth/token/create/grant": func(out http.ResponseWriter, in *http.Request) {
		out.WriteHeader(http.StatusOK)
		for in.Context().Err() == nil {
			out.Write([]byte(" "))
			out.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	}})
	s := startAt(t, vault)
	s.SetCallTimeout(100 * time.Millisecond)
	sessiontest.WantError(t, calls["write JSON"].make(t.Context(), s), "did not answer within")
}

func TestErrorsAreShortAndSayWhatVaultSaid(t *testing.T) {
	vault := sessiontest.New(t, map[string]http.HandlerFunc{
		"auth/token/revoke-accessor": sessiontest.Respond(http.StatusBadRequest, `{"errors":["no\n\tway!","`+strings.Repeat("ü", 1<<19)+`"]}`),
	})
	s := startAt(t, vault)
	err := revoke(t.Context(), s)
	if !session.HasStatus(err, http.StatusBadRequest) || session.HasStatus(err, http.StatusForbidden) {
		t.Errorf("%.100v has another status", err)
	}
	short := session.Explain(err)
	sessiontest.WantError(t, short, "Vault answered 400: no way!; üüü")
	if len(short.Error()) > 600 || strings.ToValidUTF8(short.Error(), "?") != short.Error() {
		t.Errorf("it is %q", short)
	}

	// The address is for operators, not for everybody who claims.
	vault.TakeOver(map[string]http.HandlerFunc{"auth/token/revoke-accessor": sessiontest.Lose})
	if err := session.Explain(revoke(t.Context(), s)); err == nil || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("it says %v", err)
	}
}
