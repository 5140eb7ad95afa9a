package provider

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
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// engineAt is what a configuration makes, without any Terraform.
func (c connection) engineAt(t *testing.T, address string) *engine {
	t.Helper()
	c.Address = types.StringValue(address)
	var diags diag.Diagnostics
	e := c.engine(&diags, &vaultjit{version: "0.1.0"})
	if diags.HasError() {
		t.Fatal(diags)
	}
	return e
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
	e := connection{AppRole: appRole(types.StringValue("r"))}.engineAt(t, server.URL)
	if _, err := e.write(t.Context(), "policies/x", nil); err != nil {
		t.Fatal(err)
	}
	e.sessions.end(t.Context())
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
		e := connection{Token: types.StringValue("t"), SkipTLSVerify: c.argument}.engineAt(t, server.URL)
		if err := e.ready(t.Context()); (err == nil) != c.reached {
			t.Errorf("with skip_tls_verify = %s: %v", c.argument, err)
		}
	}
}

func TestALoginThatIsNotKnownYetIsNotTakenForAbsent(t *testing.T) {
	t.Setenv("VAULT_ROLE_ID", "somebody else's")
	e := connection{AppRole: appRole(types.StringUnknown())}.engineAt(t, "http://127.0.0.1:1")
	if _, err := e.read(t.Context(), "policies/x"); err == nil || !strings.Contains(err.Error(), "auth_login_approle is known only after") {
		t.Errorf("the error is %v", err)
	}
}

func TestThePasswordInAnAddressIsNotShown(t *testing.T) {
	t.Setenv("VAULT_MAX_RETRIES", "0")
	e := connection{Token: types.StringValue("t")}.engineAt(t, "http://someone:hunter2@127.0.0.1:1")
	err := e.ready(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("the error is %v", err)
	}
	var diags diag.Diagnostics
	connection{Address: types.StringValue("http://someone:hunter2@ :1")}.engine(&diags, &vaultjit{})
	if len(diags) != 1 || strings.Contains(diags[0].Detail(), "hunter2") {
		t.Errorf("the error is %v", diags)
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
		http.Error(out, `{"errors": ["permission denied"]}`, http.StatusForbidden)
	default:
		fmt.Fprint(out, `{"data": {"a": "b"}}`)
	}
}

func TestALoginIsMadeAgainOnlyWhenItsTokenIsForgotten(t *testing.T) {
	f := &forgetful{}
	server := httptest.NewServer(f)
	defer server.Close()
	e := connection{AppRole: appRole(types.StringValue("r"))}.engineAt(t, server.URL)
	defer e.sessions.end(context.Background())
	if _, err := e.write(t.Context(), "policies/x", nil); err != nil {
		t.Error(err)
	}
	if _, err := e.read(t.Context(), "policies/denied"); err == nil {
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
	e := connection{AppRole: appRole(types.StringValue("r"))}.engineAt(t, server.URL)
	defer e.sessions.end(context.Background())
	for _, grant := range []struct {
		window  time.Duration
		renewed int
		warns   bool
	}{{5 * time.Minute, 0, false}, {90 * time.Minute, 1, false}, {5 * time.Minute, 1, false}, {3 * time.Hour, 2, true}} {
		warning := e.outlast(t.Context(), grant.window)
		if len(increments) != grant.renewed || (warning != "") != grant.warns {
			t.Errorf("a window of %s: renewed by %v, warning %q", grant.window, increments, warning)
		}
	}
}
