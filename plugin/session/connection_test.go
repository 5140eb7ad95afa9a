package session_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

// The secrets of these connections are all "hunter2", which no refusal repeats.
func TestConnectionIsRefusedAtItsField(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*session.Connection)
		refusal string
	}{
		"no address":                    {func(c *session.Connection) { c.Address = "" }, `address: "" is not accepted; accepted is a URL such as https://vault.internal:8200`},
		"no scheme":                     {func(c *session.Connection) { c.Address = "vault:8200" }, `address: "vault:8200" is not accepted; accepted is a URL such as https://vault.internal:8200`},
		"another scheme":                {func(c *session.Connection) { c.Address = "unix:///run/vault.sock" }, `address: "unix:///run/vault.sock" is not accepted; accepted is a URL such as https://vault.internal:8200`},
		"a file":                        {func(c *session.Connection) { c.Address = "file:///etc/passwd" }, `address: "file:///etc/passwd" is not accepted; accepted is a URL such as https://vault.internal:8200`},
		"a path":                        {func(c *session.Connection) { c.Address += "/v1" }, `address: "https://vault:8200/v1" is not accepted; accepted is scheme, host and port only`},
		"a query":                       {func(c *session.Connection) { c.Address += "?a=b" }, `address: "https://vault:8200?a=b" is not accepted; accepted is scheme, host and port only`},
		"a user":                        {func(c *session.Connection) { c.Address = "https://me:hunter2@vault" }, `address: a user or password in it is not accepted; accepted is scheme, host and port only`},
		"another scheme's user":         {func(c *session.Connection) { c.Address = "ftp://me:hunter2@vault" }, `address: a user or password in it is not accepted; accepted is scheme, host and port only`},
		"no URL, with a user":           {func(c *session.Connection) { c.Address = "https://me:hunter2 x@vault" }, `address: a user or password in it is not accepted; accepted is scheme, host and port only`},
		"a control character":           {func(c *session.Connection) { c.Address = "https://va\nult" }, `address: "https://va\nult" is not accepted; accepted is a URL such as https://vault.internal:8200`},
		"no role id":                    {func(c *session.Connection) { c.RoleID = "" }, `role_id: it is empty; give role_id and secret_id of an AppRole, or a token`},
		"no secret id":                  {func(c *session.Connection) { c.SecretID = "" }, `secret_id: it is empty; an AppRole login needs one`},
		"two ways to log in":            {func(c *session.Connection) { c.Token = "hunter2" }, `token: it is given, and so is role_id or secret_id; choose one way to log in`},
		"a secret id beside a token":    {func(c *session.Connection) { c.Token, c.RoleID, c.SecretID = "hunter2", "", "hunter2" }, `token: it is given, and so is role_id or secret_id; choose one way to log in`},
		"no auth mount":                 {func(c *session.Connection) { c.AuthMount = "" }, `auth_mount: "" is not accepted; accepted is the path of an AppRole mount, such as approle`},
		"an auth mount above":           {func(c *session.Connection) { c.AuthMount = "../sys" }, `auth_mount: "../sys" is not accepted; accepted is the path of an AppRole mount, such as approle`},
		"a slash too many":              {func(c *session.Connection) { c.AuthMount = "approle/" }, `auth_mount: "approle/" is not accepted; accepted is the path of an AppRole mount, such as approle`},
		"no token role":                 {func(c *session.Connection) { c.TokenRole = "" }, `token_role: "" is not accepted; accepted is the name of a token role (auth/token/roles/NAME)`},
		"a token role above":            {func(c *session.Connection) { c.TokenRole = "../create" }, `token_role: "../create" is not accepted; accepted is the name of a token role (auth/token/roles/NAME)`},
		"a token role below":            {func(c *session.Connection) { c.TokenRole = "a/b" }, `token_role: "a/b" is not accepted; accepted is the name of a token role (auth/token/roles/NAME)`},
		"a token role's query":          {func(c *session.Connection) { c.TokenRole = "a?b" }, `token_role: "a?b" is not accepted; accepted is the name of a token role (auth/token/roles/NAME)`},
		"no certificate":                {func(c *session.Connection) { c.CACert = "hunter2" }, `ca_cert: it holds no certificate in PEM form`},
		"a key without its certificate": {func(c *session.Connection) { c.ClientKey = "hunter2" }, `client_cert: it is empty, but client_key is given; they go together`},
		"a certificate without its key": {func(c *session.Connection) { c.ClientCert = "hunter2" }, `client_key: it is empty, but client_cert is given; they go together`},
		"no pair":                       {func(c *session.Connection) { c.ClientCert, c.ClientKey = "hunter2", "hunter2" }, `client_cert: it and client_key are no pair in PEM form`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := sessiontest.Connection("https://vault:8200")
			c.change(&bad)
			_, err := session.New(bad)
			wantRefusedAt(t, err, c.refusal)
		})
	}
}

// wantRefusedAt fails unless the error is this refusal, of the field that stands before the first colon.
func wantRefusedAt(t *testing.T, err error, want string) {
	t.Helper()
	field, _, _ := strings.Cut(want, ": ")
	if r := refusal.Of(err); r == nil || r.Field != field || r.Error() != want {
		t.Errorf("%#v is not the refusal %q", err, want)
	}
}

func TestSessionAcceptsAnAuthMountBelowAnother(t *testing.T) {
	c := sessiontest.Connection("https://vault:8200/")
	c.AuthMount = "team/approle"
	sessiontest.Must(t, c.Validate())
	if session.IsPathSegment("a/b") || session.IsPathSegment("..") || !session.IsPathSegment("01929d3e-7c4b") {
		t.Error("a segment is taken for something else")
	}
}

// The plugin inherits the server's environment, and vault/api would honour it: another address, another token, no check
// of certificates.
func TestSessionForgetsTheEnvironment(t *testing.T) {
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
	session.ForgetEnvironment()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "VAULT_") && name != "VAULT_BINARY" {
			t.Errorf("%s is still there", name)
		}
	}
	headers := make(chan http.Header, 10)
	vault := sessiontest.New(t, map[string]http.HandlerFunc{"auth/token/create/grant": func(out http.ResponseWriter, in *http.Request) {
		headers <- in.Header
		sessiontest.Behave(out, in)
	}})
	_, err := sessiontest.Start(t, sessiontest.Connection(vault.URL)).Write(t.Context(), "auth/token/create/grant", nil)
	sessiontest.Must(t, err)
	got := <-headers
	if got.Get("X-Vault-Token") != sessiontest.EngineToken || got.Get("X-Vault-Request") != "true" {
		t.Errorf("the headers are %v", got)
	}
	for _, name := range []string{"X-Vault-Namespace", "X-Vault-Wrap-TTL", "X-Vault-Mfa"} {
		if got.Get(name) != "" {
			t.Errorf("%s is %q", name, got.Get(name))
		}
	}

	tls := httptest.NewTLSServer(vault)
	t.Cleanup(tls.Close)
	sessiontest.WantError(t, sessiontest.Start(t, sessiontest.Connection(tls.URL)).Login(t.Context()), "certificate")
}

func TestSessionSendsTheConfiguredNamespaceWithEveryCall(t *testing.T) {
	vault := sessiontest.New(t, map[string]http.HandlerFunc{"auth/approle/login": func(out http.ResponseWriter, in *http.Request) {
		if got := in.Header.Get("X-Vault-Namespace"); got != "team/a" {
			t.Errorf("the namespace is %q", got)
		}
		sessiontest.Behave(out, in)
	}})
	c := sessiontest.Connection(vault.URL)
	c.Namespace = "team/a"
	sessiontest.Must(t, sessiontest.Start(t, c).Login(t.Context()))
}

func TestSessionChecksCertificatesAgainstTheConfiguredOne(t *testing.T) {
	tls := httptest.NewTLSServer(sessiontest.New(t, nil))
	t.Cleanup(tls.Close)
	own := sessiontest.Connection(tls.URL)
	own.CACert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}))

	sessiontest.WantError(t, sessiontest.Start(t, sessiontest.Connection(tls.URL)).Login(t.Context()), "certificate")
	sessiontest.Must(t, sessiontest.Start(t, own).Login(t.Context()))
	named := own
	named.TLSServerName = "example.com" // which Go's test certificate is for, too
	sessiontest.Must(t, sessiontest.Start(t, named).Login(t.Context()))
	named.TLSServerName = "other.example.org"
	sessiontest.WantError(t, sessiontest.Start(t, named).Login(t.Context()), "certificate")
}
