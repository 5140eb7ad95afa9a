// Package sessiontest is a Vault for tests that misbehaves on demand, in ways that a real one cannot be brought to.
package sessiontest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/session"
)

// Secrets that the fake Vault deals with, and that no error may hold; see [WantError].
const (
	SecretID    = "hunter2-secret-id"
	EngineToken = "hvs.hunter2-engine" //nolint:gosec // it opens nothing
	GrantToken  = "hvs.hunter2-grant"  //nolint:gosec // nor does it
)

// Vault answers as a well-behaved one would, but for the paths that a test takes over.
type Vault struct {
	*httptest.Server
	// Connections were made so far.
	Connections atomic.Int32

	mu       sync.Mutex
	calls    []Call
	takeover map[string]http.HandlerFunc
}

// Call is one that was made with a token, and what was sent with it.
type Call struct {
	path  string
	Token string
	Body  map[string]any
}

// New starts a Vault in which a test takes over the given paths, such as "sys/leases/revoke".
func New(t testing.TB, takeover map[string]http.HandlerFunc) *Vault {
	t.Helper()
	v := &Vault{takeover: takeover}
	v.Server = httptest.NewUnstartedServer(v)
	v.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			v.Connections.Add(1)
		}
	}
	v.Start()
	t.Cleanup(v.Close)
	return v
}

// TakeOver forgets the calls so far, and has other paths taken over from now on.
func (v *Vault) TakeOver(takeover map[string]http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls, v.takeover = nil, takeover
}

// ServeHTTP answers a call.
func (v *Vault) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	body, _ := io.ReadAll(in.Body) // a caller who has gone is not answered anyway
	made := Call{path: strings.TrimPrefix(in.URL.Path, "/v1/"), Token: in.Header.Get("X-Vault-Token")}
	_ = json.Unmarshal(body, &made.Body) // reads have none
	v.mu.Lock()
	v.calls = append(v.calls, made)
	handler := v.takeover[made.path]
	v.mu.Unlock()
	if handler == nil {
		handler = Behave
	}
	handler(out, in)
}

// Behave answers as a well-behaved Vault does.
func Behave(out http.ResponseWriter, in *http.Request) {
	switch strings.TrimPrefix(in.URL.Path, "/v1/") {
	case "auth/approle/login":
		Answer(out, Auth(EngineToken, "engine-accessor", "engine", 3600))
	case "auth/token/create/grant":
		Answer(out, Auth(GrantToken, "grant-accessor", "app", 600))
	case "auth/token/lookup-self":
		Answer(out, map[string]any{"data": map[string]any{"accessor": "own-accessor", "ttl": 3600, "renewable": false}})
	case "database/creds/app":
		Answer(out, map[string]any{"lease_id": "database/creds/app/1", "lease_duration": 3600, "renewable": true, "data": map[string]any{"username": "u"}})
	case "auth/approle/role/engine/secret-id":
		Answer(out, map[string]any{"data": map[string]any{"secret_id": SecretID}})
	case "sys/capabilities-self":
		Answer(out, map[string]any{"data": map[string]any{"sys/leases/revoke": []string{"update"}}})
	default:
		out.WriteHeader(http.StatusNoContent)
	}
}

// CountCalls counts the calls of a path.
func (v *Vault) CountCalls(path string) int { return len(v.Calls(path)) }

// Calls are the calls of a path.
func (v *Vault) Calls(path string) []Call {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(v.calls), func(c Call) bool { return c.path != path })
}

// Answer writes a successful answer.
func Answer(out http.ResponseWriter, value any) {
	out.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(out).Encode(value); err != nil {
		panic(err)
	}
}

// Auth is an answer with a token.
func Auth(token, accessor, policy string, seconds int) map[string]any {
	return map[string]any{"auth": map[string]any{
		"client_token": token, "accessor": accessor, "policies": []string{policy}, "token_policies": []string{policy},
		"lease_duration": seconds, "renewable": false, "orphan": true, "token_type": "service", "entity_id": "",
		"metadata": map[string]any{"role_name": "engine"},
	}}
}

// Respond answers every call alike.
func Respond(code int, body string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(code)
		_, _ = fmt.Fprint(out, body) // fails if the caller has gone
	}
}

// Lose takes the call and never answers it.
func Lose(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Hang takes the call and keeps the connection open until the caller has gone. Each call it took is sent to reached.
func Hang(reached chan<- struct{}) http.HandlerFunc {
	return func(_ http.ResponseWriter, in *http.Request) {
		reached <- struct{}{}
		<-in.Context().Done()
	}
}

// Connection leads to the address by AppRole.
func Connection(address string) session.Connection {
	return session.Connection{Address: address, AuthMount: "approle", RoleID: "role-id", SecretID: SecretID, TokenRole: "grant"}
}

// Start returns a session, closed after the test.
func Start(t testing.TB, c session.Connection) *session.Session {
	t.Helper()
	s, err := session.New(c)
	Must(t, err)
	t.Cleanup(s.Close)
	return s
}

// Must stops a test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantError fails a test without an error that says the words and holds no secret.
func WantError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("there is no error; it should say %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error holds a secret: %v", err)
	}
}
