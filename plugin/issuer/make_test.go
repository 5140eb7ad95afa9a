package issuer_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

var (
	token = grant.Token{Accessor: "grant-accessor"}
	lease = grant.Lease{ID: "database/creds/app/1"}
)

func TestGrantConsistsOfItsTokenAndUpstreamsLease(t *testing.T) {
	f := newFixture(t, nil)
	made, err := f.make(t.Context(), order())
	sessiontest.Must(t, err)
	if !reflect.DeepEqual(made.Handles, grant.Handles{token, lease}) || !slices.Equal(f.kept, []grant.Token{token}) {
		t.Errorf("made are %v, kept are %v", made.Handles, f.kept)
	}
	if made.Data["username"] != "u" || len(made.Data) != 1 || len(made.Notes) != 0 {
		t.Errorf("it gives %v with the notes %q", made.Data, made.Notes)
	}
	if !made.Began.Equal(began) || !made.Answered.Equal(began) || !made.Until.Equal(began.Add(10*time.Minute)) {
		t.Errorf("it lasts from %s, %s until %s", made.Began, made.Answered, made.Until)
	}
	if got := f.vault.Calls(credsPath); len(got) != 1 || got[0].Token != sessiontest.GrantToken {
		t.Errorf("the credential was made by %v", got)
	}
	asked := f.vault.Calls(createPath)[0].Body
	for field, want := range map[string]any{
		"ttl": "600s", "explicit_max_ttl": "600s", "renewable": false, "type": "service", "no_default_policy": true, "display_name": "jit-alice",
	} {
		if asked[field] != want {
			t.Errorf("the token was asked for with %s = %v", field, asked[field])
		}
	}
}

// What was made before it was recorded could not be found after a crash.
func TestTokenIsKeptBeforeAnythingIsMadeWithIt(t *testing.T) {
	f := newFixture(t, nil)
	f.keepError = errors.New("the storage is full")
	made, err := f.make(t.Context(), order())
	if !errors.Is(err, f.keepError) || err.Error() != f.keepError.Error() {
		t.Errorf("it says %v", err)
	}
	if !reflect.DeepEqual(made.Handles, grant.Handles{token}) || made.Data != nil || !made.Began.Equal(began) {
		t.Errorf("made is %+v", made)
	}
	if f.vault.CountCalls(credsPath) != 0 || f.vault.CountCalls(revokePath) != 0 {
		t.Error("something was done with the token")
	}
}

func TestKindThatIsNotKnownMakesNothing(t *testing.T) {
	f := newFixture(t, nil)
	o := order()
	o.Grant.Kind = "membership"
	made, err := f.make(t.Context(), o)
	sessiontest.WantError(t, err, `"membership"`)
	if len(made.Handles) != 0 || f.vault.CountCalls(createPath) != 0 {
		t.Errorf("made is %+v", made)
	}
	o = order()
	o.Grant.Operation = "list"
	_, err = f.make(t.Context(), o)
	sessiontest.WantError(t, err, `operation "list" is neither read nor write`)
}

// Whoever keeps a list of what to end must not be told less than there is.
func TestFailedGrantNamesEverythingThatMayExist(t *testing.T) {
	broken := sessiontest.Respond(http.StatusInternalServerError, `{"errors":["boom"]}`)
	for name, c := range map[string]struct {
		path    string
		handler http.HandlerFunc
		says    string
		want    grant.Handles
	}{
		"the login fails":                {"auth/approle/login", broken, "logging in to Vault", nil},
		"no token comes":                 {createPath, broken, `creating the grant token through token role "grant": Vault answered 500: boom`, nil},
		"the answer with it is lost":     {createPath, sessiontest.Lose, "creating the grant token", nil},
		"an answer without it":           {createPath, sessiontest.Respond(200, `{"auth":null}`), "Vault answered without a token", nil},
		"another answer":                 {createPath, sessiontest.Respond(200, `{"data":{"client_token":"x"}}`), "Vault answered without a token", nil},
		"upstream fails":                 {credsPath, broken, "read database/creds/app: Vault answered 500: boom", grant.Handles{token}},
		"upstream's answer is lost":      {credsPath, sessiontest.Lose, "read database/creds/app", grant.Handles{token}},
		"upstream gives nothing":         {credsPath, sessiontest.Respond(200, `{"request_id":"1","data":null}`), "nothing that could be given", grant.Handles{token}},
		"upstream has nothing":           {credsPath, sessiontest.Respond(404, ``), "nothing that could be given", grant.Handles{token}},
		"upstream gives no lease":        {credsPath, sessiontest.Respond(200, `{"data":{"a":"b"}}`), "without a lease", grant.Handles{token}},
		"upstream gives a lease only":    {credsPath, sessiontest.Respond(200, `{"lease_id":"database/creds/app/1"}`), "nothing that could be given", grant.Handles{token, lease}},
		"upstream's lease ends at once":  {credsPath, giveLease(0, false), "ends at once", grant.Handles{token, lease}},
		"upstream's lease ends too soon": {credsPath, giveLease(0, true), "ends at once", grant.Handles{token, lease}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, map[string]http.HandlerFunc{c.path: c.handler})
			made, err := f.make(t.Context(), order())
			sessiontest.WantError(t, err, c.says)
			if strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("it shows an address to whoever claims: %v", err)
			}
			if !reflect.DeepEqual(made.Handles, c.want) || made.Data != nil {
				t.Errorf("made is %+v", made)
			}
			if n := f.vault.CountCalls(revokePath) + f.vault.CountCalls("sys/leases/revoke"); n != 0 {
				t.Errorf("%d were ended, which is for the caller", n)
			}
		})
	}
}

// A token that is not what was asked for is never used, and named so that it is ended.
func TestTokenThatIsNotWhatWasAskedForIsRefused(t *testing.T) {
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
		"less time":       {map[string]any{"lease_duration": 597}, "9m57s instead of 10m0s"},
		"more time":       {map[string]any{"lease_duration": 601}, "10m1s instead of 10m0s"},
		"no end":          {map[string]any{"lease_duration": 0}, "0s instead of 10m0s"},
		"renewable":       {map[string]any{"renewable": true}, "renewed"},
		"limited in uses": {map[string]any{"num_uses": 3}, "3 uses"},
		"an odd warning":  {map[string]any{}, "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, map[string]http.HandlerFunc{createPath: func(out http.ResponseWriter, _ *http.Request) {
				given := sessiontest.Auth(sessiontest.GrantToken, "grant-accessor", "app", 600)
				maps.Copy(given["auth"].(map[string]any), c.change)
				if len(c.change) == 0 {
					given["warnings"] = []string{`Policy "app" does not exist`}
				}
				sessiontest.Answer(out, given)
			}})
			made, err := f.make(t.Context(), order())
			sessiontest.WantError(t, err, `token role "grant" gave`, c.says)
			want := grant.Handles{token}
			if c.change["accessor"] != nil {
				want = nil
			}
			if !reflect.DeepEqual(made.Handles, want) {
				t.Errorf("made are %v", made.Handles)
			}
			if len(f.kept) != len(want) {
				t.Errorf("kept are %v, so nobody finds it if the engine dies now", f.kept)
			}
			if f.vault.CountCalls(credsPath) != 0 {
				t.Error("it was used")
			}
		})
	}
}

func TestTokensInAnAnswerAreRevokedWhetherWrappedOrNot(t *testing.T) {
	wrapped := map[string]any{"token": "hvs.hunter2", "accessor": "outer", "wrapped_accessor": "inner"}
	for name, c := range map[string]struct {
		answer  map[string]any
		revoked []string
	}{
		"a token":           {sessiontest.Auth("hvs.hunter2", "inner", "app", 60), []string{"inner"}},
		"something wrapped": {map[string]any{"wrap_info": map[string]any{"token": "hvs.hunter2", "accessor": "outer"}}, []string{"outer"}},
		"a wrapped token":   {map[string]any{"wrap_info": wrapped}, []string{"outer", "inner"}},
	} {
		for _, stuck := range []bool{false, true} {
			t.Run(fmt.Sprint(name, stuck), func(t *testing.T) {
				takeover := map[string]http.HandlerFunc{credsPath: func(out http.ResponseWriter, _ *http.Request) { sessiontest.Answer(out, c.answer) }}
				says := "read database/creds/app answered w"
				if stuck {
					takeover[revokePath] = sessiontest.Respond(http.StatusInternalServerError, "{}")
					says = "could not be revoked"
				}
				f := newFixture(t, takeover)
				made, err := f.make(t.Context(), order())
				sessiontest.WantError(t, err, says)
				var revoked []string
				for _, call := range f.vault.Calls(revokePath) {
					revoked = append(revoked, call.Body["accessor"].(string))
				}
				if !slices.Equal(revoked, c.revoked) {
					t.Errorf("revoked are %v, want %v", revoked, c.revoked)
				}
				if !reflect.DeepEqual(made.Handles, grant.Handles{token}) || made.Data != nil {
					t.Errorf("made is %+v", made)
				}
			})
		}
	}
}

func TestAnswerWithoutALeaseIsGivenOnlyWhereTheRoleAllowsIt(t *testing.T) {
	f := newFixture(t, map[string]http.HandlerFunc{credsPath: sessiontest.Respond(200, `{"data":{"a":"b"},"warnings":["careful"]}`)})
	o := order()
	o.Grant.AllowUnleased = true
	made, err := f.make(t.Context(), o)
	sessiontest.Must(t, err)
	if !reflect.DeepEqual(made.Handles, grant.Handles{token}) || made.Data["a"] != "b" || !made.Until.Equal(began.Add(o.Window)) {
		t.Errorf("made is %+v", made)
	}
	if len(made.Notes) != 2 || made.Notes[0] != "careful" || !strings.Contains(made.Notes[1], "cannot be taken back") {
		t.Errorf("the notes are %q", made.Notes)
	}
}
