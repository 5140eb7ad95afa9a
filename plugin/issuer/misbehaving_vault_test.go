package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/issuer"
)

// calls are the issuer's calls with side effects, each with the path that matters to it.
var calls = map[string]struct {
	path string
	make func(ctx context.Context, i *issuer.Issuer) error
}{
	"login": {"auth/approle/login", func(ctx context.Context, i *issuer.Issuer) error { return i.Login(ctx) }},
	"new token": {"auth/token/create/grant", func(ctx context.Context, i *issuer.Issuer) error {
		_, err := i.NewToken(ctx, order())
		return err
	}},
	"fetch": {"database/creds/app", func(ctx context.Context, i *issuer.Issuer) error {
		token, err := i.NewToken(ctx, order())
		if err == nil {
			_, err = i.Fetch(ctx, token, order())
		}
		return err
	}},
	"revoke token": {"auth/token/revoke-accessor", func(ctx context.Context, i *issuer.Issuer) error { return i.RevokeToken(ctx, "grant-accessor") }},
	"end the lease": {"sys/leases/revoke", func(ctx context.Context, i *issuer.Issuer) error {
		return i.End(ctx, "grant-accessor", "database/creds/app/1")
	}},
	"end the token": {"auth/token/revoke-accessor", func(ctx context.Context, i *issuer.Issuer) error {
		return i.End(ctx, "grant-accessor", "database/creds/app/1")
	}},
	"new secret id": {"auth/approle/role/engine/secret-id", func(ctx context.Context, i *issuer.Issuer) error {
		_, err := i.NewSecretID(ctx)
		return err
	}},
	"destroy secret id": {"auth/approle/role/engine/secret-id/destroy", func(ctx context.Context, i *issuer.Issuer) error {
		return i.DestroySecretID(ctx, secretID)
	}},
}

// A write that Vault answered with a fault may have had its effect, so it is not made again without asking what is there.
func TestFaultsOfVaultAreErrorsAndNothingIsRepeated(t *testing.T) {
	faults := map[string]http.HandlerFunc{
		"a lost answer":     lost,
		"not found":         status(http.StatusNotFound, `{"errors":["no handler for route"]}`),
		"not ready":         status(http.StatusPreconditionFailed, `{"errors":["required index state not present"]}`),
		"too many requests": status(http.StatusTooManyRequests, `{"errors":["quota"]}`),
		"an internal error": status(http.StatusInternalServerError, `{"errors":["boom"]}`),
		"a bad gateway":     status(http.StatusBadGateway, `<html>nginx</html>`),
		"sealed":            status(http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`),
		"no JSON":           status(http.StatusOK, `<html>Welcome to the hotel's wireless network</html>`),
		"half an answer":    status(http.StatusOK, `{"auth":{"client_token":"`),
	}
	for name, call := range calls {
		for fault, handler := range faults {
			t.Run(name+"/"+fault, func(t *testing.T) {
				f := newFake(t, map[string]http.HandlerFunc{call.path: handler})
				wantError(t, call.make(t.Context(), newIssuer(t, connection(f.URL))))
				if n := f.times(call.path); n != 1 {
					t.Errorf("%s was called %d times", call.path, n)
				}
			})
		}
	}
}

// Go's transport repeats a GET by itself when a connection that was used before breaks, and reading database/creds/x
// makes a user each time.
func TestCallsShareAConnectionAndNothingIsRepeatedWhenItBreaks(t *testing.T) {
	f := newFake(t, nil)
	i := newIssuer(t, connection(f.URL))
	must(t, calls["end the lease"].make(t.Context(), i))
	for range 3 {
		must(t, calls["fetch"].make(t.Context(), i))
	}
	if n := f.connections.Load(); n != 1 {
		t.Errorf("it took %d connections", n)
	}

	f.mu.Lock()
	f.calls, f.takeover = nil, map[string]http.HandlerFunc{"database/creds/app": lost}
	f.mu.Unlock()
	wantError(t, calls["fetch"].make(t.Context(), i))
	if n := f.times("database/creds/app"); n != 1 {
		t.Errorf("the read was made %d times", n)
	}
}

func TestAnAnswerThatComesInPiecesIsReadToItsEnd(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, nil)
			f.takeover = map[string]http.HandlerFunc{call.path: func(out http.ResponseWriter, in *http.Request) {
				whole := httptest.NewRecorder()
				(&fake{}).ServeHTTP(whole, in)
				if whole.Code != http.StatusOK {
					out.WriteHeader(whole.Code)
					return
				}
				for _, piece := range whole.Body.Bytes() {
					out.Write([]byte{piece})
					out.(http.Flusher).Flush()
					time.Sleep(10 * time.Microsecond) // each in a packet of its own
				}
			}}
			must(t, call.make(t.Context(), newIssuer(t, connection(f.URL))))
		})
	}
}

// A redirect would carry the engine's secrets elsewhere; and taken for success, it would confirm ends that never were.
func TestRedirectsAreErrorsAndNotFollowed(t *testing.T) {
	var elsewhere sync.Map
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) { elsewhere.Store(in.URL.Path, true) }))
	t.Cleanup(other.Close)
	for name, call := range calls {
		for _, code := range []int{
			http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusNotModified,
			http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		} {
			t.Run(fmt.Sprint(name, " ", code), func(t *testing.T) {
				f := newFake(t, map[string]http.HandlerFunc{call.path: func(out http.ResponseWriter, in *http.Request) {
					out.Header().Set("Location", other.URL+in.URL.Path)
					out.WriteHeader(code)
				}})
				hint := "not followed: set address"
				if code == http.StatusTemporaryRedirect {
					hint = "not followed: try again if Vault's active node has just changed"
				}
				wantError(t, call.make(t.Context(), newIssuer(t, connection(f.URL))), fmt.Sprint(code), hint)
				if n := f.times(call.path); n != 1 {
					t.Errorf("%s was called %d times", call.path, n)
				}
			})
		}
	}
	elsewhere.Range(func(path, _ any) bool { t.Errorf("the other host was called: %s", path); return true })
}

func TestAnAnswerWithoutWhatWasAskedForIsAnError(t *testing.T) {
	for name, call := range map[string]string{"login": `{"auth":null}`, "new token": `{"auth":null}`, "fetch": `{"data":null}`, "new secret id": `{"data":{}}`} {
		for _, body := range []string{call, `{}`, `{"data":{"client_token":"x"}}`} {
			if name == "fetch" && body != call {
				continue
			}
			t.Run(name+body, func(t *testing.T) {
				f := newFake(t, map[string]http.HandlerFunc{calls[name].path: status(http.StatusOK, body)})
				wantError(t, calls[name].make(t.Context(), newIssuer(t, connection(f.URL))))
			})
		}
	}
}

// A token that is not what was asked for is revoked at once; if that fails, the error says which token is left, so that
// it is not forgotten.
func TestATokenThatIsNotWhatWasAskedForIsRevokedOrReported(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]any
		says   string
	}{
		"other policies":  {map[string]any{"policies": []string{"app", "more"}}, "policies app, more instead of app"},
		"no policies":     {map[string]any{"policies": nil}, "instead of app"},
		"identity's own":  {map[string]any{"identity_policies": []string{"admin"}}, "admin"},
		"an entity":       {map[string]any{"entity_id": "e"}, "entity"},
		"a child":         {map[string]any{"orphan": false}, "orphan"},
		"a batch token":   {map[string]any{"token_type": "batch"}, "batch"},
		"no accessor":     {map[string]any{"accessor": ""}, "service token"},
		"less time":       {map[string]any{"lease_duration": 599}, "9m59s instead of 10m0s"},
		"more time":       {map[string]any{"lease_duration": 601}, "10m1s instead of 10m0s"},
		"no end":          {map[string]any{"lease_duration": 0}, "0s instead of 10m0s"},
		"renewable":       {map[string]any{"renewable": true}, "renewed"},
		"limited in uses": {map[string]any{"num_uses": 3}, "3 uses"},
	} {
		for _, stuck := range []bool{false, true} {
			t.Run(fmt.Sprint(name, stuck), func(t *testing.T) {
				takeover := map[string]http.HandlerFunc{"auth/token/create/grant": func(out http.ResponseWriter, _ *http.Request) {
					given := auth(grantToken, "grant-accessor", "app", 600)
					for field, value := range c.change {
						given["auth"].(map[string]any)[field] = value
					}
					answer(out, given)
				}}
				if stuck {
					takeover["auth/token/revoke-accessor"] = status(http.StatusInternalServerError, "{}")
				}
				f := newFake(t, takeover)
				_, err := newIssuer(t, connection(f.URL)).NewToken(t.Context(), order())
				wantError(t, err, c.says)
				var refused *issuer.RefusedError
				if !errors.As(err, &refused) {
					t.Fatalf("it is a %T", err)
				}
				known := c.change["accessor"] == nil
				if want := stuck && known; (refused.Left == "grant-accessor") != want {
					t.Errorf("left is %q", refused.Left)
				}
				if n := f.times("auth/token/revoke-accessor"); (n == 1) != known {
					t.Errorf("%d tokens were revoked", n)
				}
			})
		}
	}
	t.Run("a policy that does not exist", func(t *testing.T) {
		f := newFake(t, map[string]http.HandlerFunc{"auth/token/create/grant": func(out http.ResponseWriter, _ *http.Request) {
			given := auth(grantToken, "grant-accessor", "app", 600)
			given["warnings"] = []string{`Policy "app" does not exist`}
			answer(out, given)
		}})
		_, err := newIssuer(t, connection(f.URL)).NewToken(t.Context(), order())
		wantError(t, err, "does not exist")
		if n := f.times("auth/token/revoke-accessor"); n != 1 {
			t.Errorf("%d tokens were revoked", n)
		}
	})
}

func TestTokensInAnAnswerAreRevokedWhetherWrappedOrNot(t *testing.T) {
	for name, c := range map[string]struct {
		answer  map[string]any
		revoked []string
	}{
		"a token":           {auth("hvs.hunter2", "inner", "app", 60), []string{"inner"}},
		"something wrapped": {map[string]any{"wrap_info": map[string]any{"token": "hvs.hunter2", "accessor": "outer"}}, []string{"outer"}},
		"a wrapped token": {map[string]any{"wrap_info": map[string]any{"token": "hvs.hunter2", "accessor": "outer", "wrapped_accessor": "inner"}},
			[]string{"outer", "inner"}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var revoked []string
			f := newFake(t, map[string]http.HandlerFunc{
				"database/creds/app": func(out http.ResponseWriter, _ *http.Request) { answer(out, c.answer) },
				"auth/token/revoke-accessor": func(out http.ResponseWriter, in *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					revoked = append(revoked, bodyOf(t, in)["accessor"].(string))
					out.WriteHeader(http.StatusNoContent)
				},
			})
			wantError(t, calls["fetch"].make(t.Context(), newIssuer(t, connection(f.URL))))
			mu.Lock()
			defer mu.Unlock()
			if strings.Join(revoked, " ") != strings.Join(c.revoked, " ") {
				t.Errorf("revoked are %v, want %v", revoked, c.revoked)
			}
		})
	}
}

// Whatever the first of the two says, the other is ended too.
func TestAnEndAlwaysTriesBothLeaseAndToken(t *testing.T) {
	broken := status(http.StatusInternalServerError, `{"errors":["no"]}`)
	for name, takeover := range map[string]map[string]http.HandlerFunc{
		"lease":   {"sys/leases/revoke": broken},
		"token":   {"auth/token/revoke-accessor": broken},
		"both":    {"sys/leases/revoke": broken, "auth/token/revoke-accessor": broken},
		"neither": {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, takeover)
			err := newIssuer(t, connection(f.URL)).End(t.Context(), "grant-accessor", "database/creds/app/1")
			if (err == nil) != (name == "neither") {
				t.Errorf("it says %v", err)
			}
			if f.times("sys/leases/revoke") != 1 || f.times("auth/token/revoke-accessor") != 1 {
				t.Errorf("called were %v", f.calls)
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
		`{"errors":[]}`:                                              false,
	} {
		for _, code := range []int{http.StatusBadRequest, http.StatusForbidden} {
			f := newFake(t, map[string]http.HandlerFunc{"auth/token/revoke-accessor": status(code, body)})
			err := newIssuer(t, connection(f.URL)).RevokeToken(t.Context(), "grant-accessor")
			if (err == nil) != gone {
				t.Errorf("%d %s: %v", code, body, err)
			}
		}
	}
	f := newFake(t, map[string]http.HandlerFunc{"auth/token/revoke-accessor": status(http.StatusInternalServerError, `{"errors":["invalid accessor"]}`)})
	wantError(t, newIssuer(t, connection(f.URL)).RevokeToken(t.Context(), "grant-accessor"))
}

// The caller's context is what ends a call when the server steps down or is sealed.
func TestACallEndsWithItsContext(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			reached, release := make(chan struct{}, 10), make(chan struct{})
			defer close(release)
			f := newFake(t, map[string]http.HandlerFunc{call.path: func(_ http.ResponseWriter, in *http.Request) {
				reached <- struct{}{}
				select {
				case <-release:
				case <-in.Context().Done():
				}
			}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			i := newIssuer(t, connection(f.URL))
			go func() { done <- call.make(ctx, i) }()
			<-reached
			cancel()
			select {
			case err := <-done:
				wantError(t, err)
			case <-time.After(10 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}

func TestCallersThatComeTogetherShareOneLogin(t *testing.T) {
	release := make(chan struct{})
	var logins sync.WaitGroup
	f := newFake(t, map[string]http.HandlerFunc{"auth/approle/login": func(out http.ResponseWriter, _ *http.Request) {
		<-release
		answer(out, auth(engineToken, "engine-accessor", "engine", 3600))
	}})
	i := newIssuer(t, connection(f.URL))
	// The first one gives up while it logs in for all. The others must not fail with it.
	impatient, cancel := context.WithCancel(t.Context())
	logins.Go(func() {
		if i.Login(impatient) == nil {
			t.Error("a login whose caller has gone succeeded")
		}
	})
	for f.times("auth/approle/login") == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		logins.Go(func() {
			if err := i.Login(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	close(release)
	logins.Wait()
	if n := f.times("auth/approle/login"); n > 2 {
		t.Errorf("there were %d logins", n)
	}
}

// A token that was revoked, or that is lost with a restored snapshot, looks like a missing permission.
func TestARejectedTokenMeansOneNewLogin(t *testing.T) {
	rejected := status(http.StatusForbidden, `{"errors":["permission denied"]}`)
	t.Run("and the call is made again", func(t *testing.T) {
		first := true
		f := newFake(t, nil)
		f.takeover = map[string]http.HandlerFunc{
			"auth/approle/login": func(out http.ResponseWriter, _ *http.Request) {
				answer(out, auth(engineToken+fmt.Sprint(first), "engine-accessor", "engine", 3600))
			},
			"sys/capabilities-self": rejected,
			"auth/token/revoke-accessor": func(out http.ResponseWriter, in *http.Request) {
				if first {
					first = false
					rejected(out, in)
					return
				}
				out.WriteHeader(http.StatusNoContent)
			},
		}
		must(t, newIssuer(t, connection(f.URL)).RevokeToken(t.Context(), "grant-accessor"))
		if f.times("auth/approle/login") != 2 || f.times("auth/token/revoke-accessor") != 2 {
			t.Errorf("called were %v", f.calls)
		}
	})
	t.Run("and no more than one", func(t *testing.T) {
		f := newFake(t, map[string]http.HandlerFunc{"auth/token/revoke-accessor": rejected, "sys/capabilities-self": rejected})
		wantError(t, newIssuer(t, connection(f.URL)).RevokeToken(t.Context(), "grant-accessor"), "permission denied")
		if n := f.times("auth/approle/login"); n != 2 {
			t.Errorf("there were %d logins", n)
		}
	})
}

// A call that the token's policies do not allow gets the same 403. A login for each would leave a token each.
func TestAMissingPermissionMeansNoNewLogin(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"auth/token/revoke-accessor": status(http.StatusForbidden, `{"errors":["permission denied"]}`)})
	i := newIssuer(t, connection(f.URL))
	for range 5 {
		wantError(t, i.RevokeToken(t.Context(), "grant-accessor"), "permission denied")
	}
	if n := f.times("auth/approle/login"); n != 1 {
		t.Errorf("there were %d logins", n)
	}
}

func TestErrorsAreShortAndSayWhatVaultSaid(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{
		"auth/token/revoke-accessor": status(http.StatusBadRequest, `{"errors":["no\n\tway","`+strings.Repeat("x", 1<<20)+`"]}`),
	})
	err := newIssuer(t, connection(f.URL)).RevokeToken(t.Context(), "grant-accessor")
	wantError(t, err, "Vault answered 400: no way; xxx")
	if len(err.Error()) > 1000 {
		t.Errorf("it has %d bytes", len(err.Error()))
	}
}
