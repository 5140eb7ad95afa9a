// Package issuer makes and ends grants. It is the one part that talks to Vault over HTTP, with an identity of its own
// and as little power as the job needs: create grant tokens through one token role, and revoke what they made.
//
// For every claim it creates one orphan token (the grant token) that lives exactly as long as the window, and makes
// everything with that token. Vault attaches all of it to the token, so Vault ends all of it at the window's end,
// with or without this plugin.
package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/singleflight"
)

// Connection is how the engine reaches Vault and who it is there. Nothing else is consulted, no environment either.
type Connection struct {
	// Address is Vault's URL, for example https://vault.internal:8200.
	Address   string `json:"address"`
	Namespace string `json:"namespace,omitempty"`
	// CACert, ClientCert and ClientKey are PEM.
	CACert        string `json:"ca_cert,omitempty"`
	TLSServerName string `json:"tls_server_name,omitempty"`
	ClientCert    string `json:"client_cert,omitempty"`
	ClientKey     string `json:"client_key,omitempty"`
	// AuthMount, RoleID and SecretID log in by AppRole. Token stands in for them.
	AuthMount string `json:"auth_mount"`
	RoleID    string `json:"role_id,omitempty"`
	SecretID  string `json:"secret_id,omitempty"`
	Token     string `json:"token,omitempty"`
	// TokenRole is the token role through which grant tokens are made.
	TokenRole string `json:"token_role"`
}

// requestTimeout bounds one call to Vault, beside the caller's own context.
const requestTimeout = 30 * time.Second

// Issuer talks to one Vault as one identity. It is safe for concurrent use.
type Issuer struct {
	connection Connection
	http       *http.Client
	// anonymous speaks to Vault without a token; see client.
	anonymous *api.Client
	session   atomic.Pointer[session]
	logins    singleflight.Group
}

// New returns an issuer that has not logged in yet, or says what is wrong with the connection's fields.
func New(c Connection) (*Issuer, error) {
	address, err := url.Parse(c.Address)
	if err != nil || (address.Scheme != "https" && address.Scheme != "http") || address.Host == "" {
		return nil, fmt.Errorf("address is %q; accepted is a URL such as https://vault.internal:8200", c.Address)
	}
	if (address.Path != "" && address.Path != "/") || address.RawQuery != "" || address.User != nil {
		return nil, fmt.Errorf("address is %q; accepted is scheme, host and port only", c.Address)
	}
	switch {
	case c.Token != "" && (c.RoleID != "" || c.SecretID != ""):
		return nil, errors.New("both token and role_id/secret_id are given; choose one way to log in")
	case c.Token == "" && c.RoleID == "":
		return nil, errors.New("role_id is empty; give role_id and secret_id of an AppRole, or a token")
	case c.Token == "" && c.SecretID == "":
		return nil, errors.New("secret_id is empty; an AppRole login needs one")
	case c.Token == "" && !cleanName(c.AuthMount, true):
		return nil, fmt.Errorf("auth_mount is %q; accepted is the path of an AppRole mount, such as approle", c.AuthMount)
	case !cleanName(c.TokenRole, false):
		return nil, fmt.Errorf("token_role is %q; accepted is the name of a token role (auth/token/roles/NAME)", c.TokenRole)
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	transport := cleanhttp.DefaultPooledTransport()
	transport.Proxy = nil // would come from the server's environment
	transport.TLSClientConfig = tlsConfig
	transport.MaxIdleConnsPerHost = 64
	i := &Issuer{connection: c, http: &http.Client{
		Transport:     once{transport},
		Timeout:       requestTimeout, // not vault/api's own, which lets go of an answer before it is read
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	i.anonymous, err = i.newClient()
	return i, err
}

// once makes each call once, at the configured address, or fails.
//
// It makes an error of a redirect. The engine's secrets go nowhere else; and vault/api takes any status below 400 for
// success, so that an end that was merely redirected would count as confirmed. Nor is the call repeated: a standby
// redirects also when it lost the answer of the active node, which has made the call by then.
//
// It keeps Go's transport from repeating a GET whose answer was lost: reading database/creds/x makes a user each time.
type once struct{ *http.Transport }

func (t once) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body == nil || request.Body == http.NoBody {
		request = request.Clone(request.Context())
		request.Body, request.GetBody = io.NopCloser(strings.NewReader("")), nil // not empty for certain, so not repeated
	}
	response, err := t.Transport.RoundTrip(request)
	if err != nil || response.StatusCode < 300 || response.StatusCode >= 400 {
		return response, err
	}
	_ = response.Body.Close() // nothing of it is wanted
	hint := "set address to where Vault itself answers"
	if response.StatusCode == http.StatusTemporaryRedirect {
		hint = "try again if Vault's active node has just changed, else " + hint
	}
	return nil, fmt.Errorf("it answered %d, a redirect to %.200q, which is not followed: %s",
		response.StatusCode, response.Header.Get("Location"), hint)
}

// cleanName accepts a name, or with slashes a path, that stands for itself in a URL.
func cleanName(name string, slashes bool) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." || (!slashes && segment != name) {
			return false
		}
		for _, char := range segment {
			if char <= ' ' || char > '~' || strings.ContainsRune(`?#%\*+`, char) {
				return false
			}
		}
	}
	return true
}

func (c Connection) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLSServerName}
	if c.CACert != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(c.CACert)) {
			return nil, errors.New("ca_cert holds no certificate in PEM form")
		}
	}
	if (c.ClientCert == "") != (c.ClientKey == "") {
		return nil, errors.New("client_cert and client_key go together; one of them is empty")
	}
	if c.ClientCert != "" {
		pair, err := tls.X509KeyPair([]byte(c.ClientCert), []byte(c.ClientKey))
		if err != nil {
			// The parser's own message may quote what it read.
			return nil, errors.New("client_cert and client_key are no pair in PEM form")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Close lets go of idle connections.
func (i *Issuer) Close() { i.http.CloseIdleConnections() }

// newClient sets everything that vault/api would otherwise take from the environment.
func (i *Issuer) newClient() (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address:          i.connection.Address,
		HttpClient:       i.http,
		MaxRetries:       0, // a repetition after a 5xx would repeat a write
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", i.connection.Address, err)
	}
	client.SetHeaders(http.Header{api.RequestHeaderName: []string{"true"}})
	client.SetNamespace(i.connection.Namespace)
	if i.connection.Namespace == "" {
		client.ClearNamespace()
	}
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	client.ClearToken()
	return client, nil
}

// client speaks to Vault with the given token. It shares all else with the other clients, because making one anew
// costs more than a call.
func (i *Issuer) client(token string) *api.Client {
	return i.anonymous.WithRequestCallbacks(func(r *api.Request) { r.ClientToken = token })
}

// as runs a call with the engine's own token, and once more after a new login if Vault says 403:
// a token that was revoked or lost with a restored snapshot looks just so.
func (i *Issuer) as(ctx context.Context, call func(*api.Client) error) error {
	current, err := i.login(ctx, "")
	if err != nil {
		return err
	}
	err = call(i.client(current.token))
	if !hasStatus(err, http.StatusForbidden) || i.accepted(ctx, current) {
		return err
	}
	renewed, loginErr := i.login(ctx, current.token)
	if loginErr != nil {
		return loginErr // the cause of what Vault said to the call
	}
	if renewed.token == current.token {
		return err
	}
	return call(i.client(renewed.token))
}

// accepted reports whether Vault takes the session's token at all. A call that the token's policies do not allow gets a
// 403 as well, and without this question each of those would log in again and leave one more token behind.
func (i *Issuer) accepted(ctx context.Context, s session) bool {
	_, err := i.capabilities(ctx, i.client(s.token), []string{"sys/leases/revoke"})
	return err == nil
}

func hasStatus(err error, status int) bool {
	var response *api.ResponseError
	return errors.As(err, &response) && response.StatusCode == status
}

// errorBytes bounds what is passed on of an error of Vault's.
const errorBytes = 500

// told puts an error of vault/api into one short line: the status and what Vault said, or why it could not be asked,
// without the URL, which is for operators and not for everybody who claims.
func told(err error) error {
	var response *api.ResponseError
	if !errors.As(err, &response) {
		var failed *url.Error
		if errors.As(err, &failed) {
			return failed.Err
		}
		return err
	}
	said := strings.Join(strings.Fields(strings.Join(response.Errors, "; ")), " ")
	if said == "" {
		said = http.StatusText(response.StatusCode)
	}
	if len(said) > errorBytes {
		said = said[:errorBytes] + "…"
	}
	return fmt.Errorf("Vault answered %d: %s", response.StatusCode, said)
}

// ForgetEnvironment removes what vault/api would read from the environment: a plugin inherits its server's, and even
// an unused setting there, such as a file that does not exist, would make every client fail.
func ForgetEnvironment() {
	for _, name := range []string{
		api.EnvVaultAddress, api.EnvVaultAgentAddr, api.EnvVaultCACert, api.EnvVaultCACertBytes, api.EnvVaultCAPath,
		api.EnvVaultClientCert, api.EnvVaultClientKey, api.EnvVaultClientTimeout, api.EnvVaultSRVLookup, api.EnvVaultSkipVerify,
		api.EnvVaultNamespace, api.EnvVaultTLSServerName, api.EnvVaultWrapTTL, api.EnvVaultMaxRetries, api.EnvVaultToken,
		api.EnvVaultMFA, api.EnvRateLimit, api.EnvHTTPProxy, api.EnvVaultProxyAddr, api.EnvVaultDisableRedirects, api.EnvVaultHeaders,
	} {
		_ = os.Unsetenv(name) // fails only for a name that could not have been set
	}
}
