package issuer_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
)

// Secrets that the fake Vault deals with, and that no error may hold.
const (
	secretID    = "hunter2-secret-id"
	engineToken = "hvs.hunter2-engine"
	grantToken  = "hvs.hunter2-grant"
)

// fake is a Vault that misbehaves. It answers as a well-behaved one would, but for the paths that a test takes over.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string
	// connections were made so far.
	connections atomic.Int32
	takeover    map[string]http.HandlerFunc
}

// newFake takes over the given paths, such as "sys/leases/revoke".
func newFake(t *testing.T, takeover map[string]http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{takeover: takeover}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			f.connections.Add(1)
		}
	}
	f.Start()
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	path := strings.TrimPrefix(in.URL.Path, "/v1/")
	f.mu.Lock()
	f.calls = append(f.calls, path)
	f.mu.Unlock()
	if handler := f.takeover[path]; handler != nil {
		handler(out, in)
		return
	}
	switch path {
	case "auth/approle/login":
		answer(out, auth(engineToken, "engine-accessor", "engine", 3600))
	case "auth/token/create/grant":
		answer(out, auth(grantToken, "grant-accessor", "app", 600))
	case "database/creds/app":
		answer(out, map[string]any{"lease_id": "database/creds/app/1", "lease_duration": 3600, "renewable": true, "data": map[string]any{"username": "u"}})
	case "auth/approle/role/engine/secret-id":
		answer(out, map[string]any{"data": map[string]any{"secret_id": secretID}})
	case "sys/capabilities-self":
		answer(out, map[string]any{"data": map[string]any{"sys/leases/revoke": []string{"update"}}})
	default:
		out.WriteHeader(http.StatusNoContent)
	}
}

// times counts the calls of a path.
func (f *fake) times(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, call := range f.calls {
		if call == path {
			n++
		}
	}
	return n
}

func answer(out http.ResponseWriter, value any) {
	out.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(out).Encode(value); err != nil {
		panic(err)
	}
}

func auth(token, accessor, policy string, seconds int) map[string]any {
	return map[string]any{"auth": map[string]any{
		"client_token": token, "accessor": accessor, "policies": []string{policy}, "token_policies": []string{policy},
		"lease_duration": seconds, "renewable": false, "orphan": true, "token_type": "service", "entity_id": "",
		"metadata": map[string]any{"role_name": "engine"},
	}}
}

func status(code int, body string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(code)
		fmt.Fprint(out, body)
	}
}

// lost takes the call and never answers it.
func lost(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func connection(address string) issuer.Connection {
	return issuer.Connection{Address: address, AuthMount: "approle", RoleID: "role-id", SecretID: secretID, TokenRole: "grant"}
}

func newIssuer(t *testing.T, c issuer.Connection) *issuer.Issuer {
	t.Helper()
	i, err := issuer.New(c)
	must(t, err)
	t.Cleanup(i.Close)
	return i
}

func order() issuer.Order {
	return issuer.Order{
		RequestID: "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20", Role: "db",
		Requester: approval.Person{EntityID: "entity-alice", Name: "alice"},
		Grant: approval.Rendered{
			GrantType: approval.Secret, Path: "database/creds/app", Operation: approval.Read, GrantPolicies: []string{"app"},
		},
		Window: 10 * time.Minute,
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err error, words ...string) {
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
