package login

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/client"
)

// at is the session of a configuration, without any Terraform.
func (c Config) at(t *testing.T, address string) *Session {
	t.Helper()
	c.Address = types.StringValue(address)
	logins := &Logins{}
	s, err := c.Session("0.1.0", logins)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logins.End(context.Background()) })
	return s
}

// works logs in.
func (s *Session) works(t *testing.T) *client.Client {
	t.Helper()
	jit, err := s.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return jit
}

func appRole(roleID types.String) types.Object {
	return types.ObjectValueMust(
		map[string]attr.Type{"mount": types.StringType, "role_id": types.StringType, "secret_id": types.StringType},
		map[string]attr.Value{"mount": types.StringNull(), "role_id": roleID, "secret_id": types.StringValue("s")})
}

func TestProviderAsksForNoWrapping(t *testing.T) {
	t.Setenv("VAULT_WRAP_TTL", "5m")
	asked := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		if ttl := req.Header.Get("X-Vault-Wrap-TTL"); ttl != "" {
			t.Errorf("%s asks for an answer that is wrapped for %s", req.URL.Path, ttl)
		}
		asked[req.URL.Path] = true
		fmt.Fprint(out, `{"data": {"plugin_version": "v0.1.0"}, "auth": {"client_token": "t", "lease_duration": 3600, "renewable": true}}`)
	}))
	defer server.Close()
	s := Config{AppRole: appRole(types.StringValue("r"))}.at(t, server.URL)
	if _, err := s.works(t).Policies().Change(t.Context(), "x", nil); err != nil {
		t.Fatal(err)
	}
	s.logins.End(t.Context())
	for _, path := range []string{"/v1/auth/approle/login", "/v1/jit/policies/x", "/v1/auth/token/revoke-self"} {
		if !asked[path] {
			t.Errorf("%s was not asked", path)
		}
	}
}

func TestSkipTLSVerifyBeatsItsVariable(t *testing.T) {
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(out, `{"data": {"plugin_version": "v0.1.0"}}`)
	}))
	defer server.Close()
	for _, c := range []struct {
		argument types.Bool
		reached  bool
	}{{types.BoolNull(), true}, {types.BoolValue(true), true}, {types.BoolValue(false), false}} {
		s := Config{Token: types.StringValue("t"), SkipTLSVerify: c.argument}.at(t, server.URL)
		if _, err := s.Client(t.Context()); (err == nil) != c.reached {
			t.Errorf("with skip_tls_verify = %s: %v", c.argument, err)
		}
	}
}

func TestALoginThatIsNotKnownYetIsNotTakenForAbsent(t *testing.T) {
	t.Setenv("VAULT_ROLE_ID", "somebody else's")
	s := Config{AppRole: appRole(types.StringUnknown())}.at(t, "http://127.0.0.1:1")
	if _, err := s.Client(t.Context()); err == nil || !strings.Contains(err.Error(), "auth_login_approle is known only after") {
		t.Errorf("the error is %v", err)
	}
}

func TestThePasswordInAnAddressIsNotShown(t *testing.T) {
	t.Setenv("VAULT_MAX_RETRIES", "0")
	s := Config{Token: types.StringValue("t")}.at(t, "http://someone:hunter2@127.0.0.1:1")
	_, err := s.Client(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("the error is %v", err)
	}
	_, err = Config{Address: types.StringValue("http://someone:hunter2@ :1")}.Session("0.1.0", &Logins{})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
}

// forgetful is a server that has forgotten the first token it gave.
type forgetful struct{ logins int }

func (f *forgetful) ServeHTTP(out http.ResponseWriter, req *http.Request) {
	token := req.Header.Get("X-Vault-Token")
	switch {
	case strings.HasSuffix(req.URL.Path, "/login"):
		f.logins++
		fmt.Fprintf(out, `{"auth": {"client_token": "t%d", "lease_duration": 3600}}`, f.logins)
	case strings.HasSuffix(req.URL.Path, "/status"):
		fmt.Fprint(out, `{"data": {"plugin_version": "v0.1.0"}}`)
	case token == "t1":
		http.Error(out, `{"errors": ["permission denied", "invalid token"]}`, http.StatusForbidden)
	case strings.HasSuffix(req.URL.Path, "/denied"):
		http.Error(out, `{"errors": ["1 error occurred:\n\t* permission denied\n\n"]}`, http.StatusForbidden)
	default:
		fmt.Fprint(out, `{"data": {"a": "b"}}`)
	}
}

func TestALoginIsMadeAgainOnlyWhenItsTokenIsForgotten(t *testing.T) {
	f := &forgetful{}
	server := httptest.NewServer(f)
	defer server.Close()
	s := Config{AppRole: appRole(types.StringValue("r"))}.at(t, server.URL)
	jit := s.works(t)
	if _, err := jit.Policies().Change(t.Context(), "x", nil); err != nil {
		t.Error(err)
	}
	if _, err := jit.Policies().Read(t.Context(), "denied"); err == nil {
		t.Error("what is denied was read")
	}
	if f.logins != 2 {
		t.Errorf("it logged in %d times, want 2", f.logins)
	}
}

func TestATokenIsOnlyEverRenewedForLonger(t *testing.T) {
	left, increments := 3600, []any{}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		switch {
		case strings.HasSuffix(req.URL.Path, "/login"):
			fmt.Fprint(out, `{"auth": {"client_token": "t", "lease_duration": 3600}}`)
		case strings.HasSuffix(req.URL.Path, "/lookup-self"):
			fmt.Fprintf(out, `{"data": {"ttl": %d, "expire_time": "later", "explicit_max_ttl": 0}}`, left)
		case strings.HasSuffix(req.URL.Path, "/renew-self"):
			var asked map[string]any
			if err := json.NewDecoder(req.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			increments = append(increments, asked["increment"])
			left = 2 * 3600
			fmt.Fprintf(out, `{"auth": {"client_token": "t", "lease_duration": %d}}`, left)
		default:
			fmt.Fprint(out, `{"data": {"plugin_version": "v0.1.0"}}`)
		}
	}))
	defer server.Close()
	s := Config{AppRole: appRole(types.StringValue("r"))}.at(t, server.URL)
	s.works(t)
	for _, grant := range []struct {
		window  time.Duration
		renewed int
		warns   bool
	}{{5 * time.Minute, 0, false}, {90 * time.Minute, 1, false}, {5 * time.Minute, 1, false}, {3 * time.Hour, 2, true}} {
		warning := s.Outlast(t.Context(), grant.window, time.Minute)
		if len(increments) != grant.renewed || (warning != "") != grant.warns {
			t.Errorf("a window of %s: renewed by %v, warning %q", grant.window, increments, warning)
		}
	}
}
