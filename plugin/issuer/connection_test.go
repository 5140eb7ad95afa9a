package issuer_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/issuer"
)

func bodyOf(t *testing.T, in *http.Request) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.NewDecoder(in.Body).Decode(&body); err != nil {
		t.Error(err)
	}
	return body
}

func TestBadConnectionsAreRefusedNamingTheField(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*issuer.Connection)
		says   string
	}{
		"no address":           {func(c *issuer.Connection) { c.Address = "" }, "address"},
		"no scheme":            {func(c *issuer.Connection) { c.Address = "vault:8200" }, "address"},
		"another scheme":       {func(c *issuer.Connection) { c.Address = "unix:///run/vault.sock" }, "address"},
		"a file":               {func(c *issuer.Connection) { c.Address = "file:///etc/passwd" }, "address"},
		"a path":               {func(c *issuer.Connection) { c.Address += "/v1" }, "scheme, host and port"},
		"a query":              {func(c *issuer.Connection) { c.Address += "?a=b" }, "scheme, host and port"},
		"a user":               {func(c *issuer.Connection) { c.Address = "https://me:hunter3@vault" }, "address"},
		"a control character":  {func(c *issuer.Connection) { c.Address = "https://va\nult" }, "address"},
		"no role id":           {func(c *issuer.Connection) { c.RoleID = "" }, "role_id is empty"},
		"no secret id":         {func(c *issuer.Connection) { c.SecretID = "" }, "secret_id is empty"},
		"two ways to log in":   {func(c *issuer.Connection) { c.Token = "t" }, "choose one way"},
		"no auth mount":        {func(c *issuer.Connection) { c.AuthMount = "" }, "auth_mount"},
		"an auth mount above":  {func(c *issuer.Connection) { c.AuthMount = "../sys" }, "auth_mount"},
		"a slash too many":     {func(c *issuer.Connection) { c.AuthMount = "approle/" }, "auth_mount"},
		"no token role":        {func(c *issuer.Connection) { c.TokenRole = "" }, "token_role"},
		"a token role above":   {func(c *issuer.Connection) { c.TokenRole = "../create" }, "token_role"},
		"a token role below":   {func(c *issuer.Connection) { c.TokenRole = "a/b" }, "token_role"},
		"a token role's query": {func(c *issuer.Connection) { c.TokenRole = "a?b" }, "token_role"},
		"no certificate":       {func(c *issuer.Connection) { c.CACert = "hunter2" }, "ca_cert"},
		"half a pair":          {func(c *issuer.Connection) { c.ClientKey = "hunter2" }, "client_cert"},
		"no pair":              {func(c *issuer.Connection) { c.ClientCert, c.ClientKey = "hunter2", "hunter2" }, "client_cert and client_key"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := connection("https://vault:8200")
			c.change(&bad)
			_, err := issuer.New(bad)
			wantError(t, err, c.says)
		})
	}
}

// The plugin inherits the server's environment, and vault/api would honour it: another address, another token, no check
// of certificates.
func TestTheEnvironmentIsForgotten(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the environment's Vault was called") }))
	t.Cleanup(elsewhere.Close)
	for name, value := range map[string]string{
		"VAULT_ADDR": elsewhere.URL, "VAULT_AGENT_ADDR": elsewhere.URL, "VAULT_PROXY_ADDR": elsewhere.URL, "VAULT_HTTP_PROXY": elsewhere.URL,
		"HTTP_PROXY": elsewhere.URL, "VAULT_TOKEN": "hvs.hunter2", "VAULT_NAMESPACE": "elsewhere", "VAULT_WRAP_TTL": "1h", "VAULT_MFA": "x:y",
		"VAULT_CACERT": filepath.Join(t.TempDir(), "nothing"), "VAULT_SKIP_VERIFY": "true", "VAULT_MAX_RETRIES": "nonsense",
		"VAULT_HEADERS": "nonsense", "VAULT_RATE_LIMIT": "nonsense", "VAULT_CLIENT_TIMEOUT": "nonsense", "VAULT_SRV_LOOKUP": "true",
		"VAULT_DISABLE_REDIRECTS": "false", "VAULT_CLIENT_CERT": "nothing", "VAULT_CLIENT_KEY": "nothing", "VAULT_TLS_SERVER_NAME": "elsewhere",
	} {
		t.Setenv(name, value)
	}
	issuer.ForgetEnvironment()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "VAULT_") && name != "VAULT_BINARY" {
			t.Errorf("%s is still there", name)
		}
	}
	headers := make(chan http.Header, 10)
	f := newFake(t, map[string]http.HandlerFunc{"auth/token/create/grant": func(out http.ResponseWriter, in *http.Request) {
		headers <- in.Header
		answer(out, auth(grantToken, "grant-accessor", "app", 600))
	}})
	_, err := newIssuer(t, connection(f.URL)).NewToken(t.Context(), order())
	must(t, err)
	got := <-headers
	if got.Get("X-Vault-Token") != engineToken || got.Get("X-Vault-Request") != "true" {
		t.Errorf("the headers are %v", got)
	}
	for _, name := range []string{"X-Vault-Namespace", "X-Vault-Wrap-TTL", "X-Vault-Mfa"} {
		if got.Get(name) != "" {
			t.Errorf("%s is %q", name, got.Get(name))
		}
	}

	tls := httptest.NewTLSServer(f)
	t.Cleanup(tls.Close)
	wantError(t, newIssuer(t, connection(tls.URL)).Login(t.Context()), "certificate")
}

func TestTheConfiguredNamespaceGoesWithEveryCall(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"auth/approle/login": func(out http.ResponseWriter, in *http.Request) {
		if got := in.Header.Get("X-Vault-Namespace"); got != "team/a" {
			t.Errorf("the namespace is %q", got)
		}
		answer(out, auth(engineToken, "engine-accessor", "engine", 3600))
	}})
	c := connection(f.URL)
	c.Namespace = "team/a"
	must(t, newIssuer(t, c).Login(t.Context()))
}

func TestCertificatesAreCheckedAgainstTheConfiguredOne(t *testing.T) {
	f := newFake(t, nil)
	tls := httptest.NewTLSServer(f)
	t.Cleanup(tls.Close)
	own := connection(tls.URL)
	own.CACert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}))

	wantError(t, newIssuer(t, connection(tls.URL)).Login(t.Context()), "certificate")
	must(t, newIssuer(t, own).Login(t.Context()))
	named := own
	named.TLSServerName = "example.com" // which Go's test certificate is for, too
	must(t, newIssuer(t, named).Login(t.Context()))
	named.TLSServerName = "other.example.org"
	wantError(t, newIssuer(t, named).Login(t.Context()), "certificate")
}
