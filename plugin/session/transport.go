package session

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/vault/api"
)

// exactTransport makes each call once, at the configured address, or fails.
//
// It makes an error of a redirect. The engine's secrets go nowhere else; and vault/api takes any status below 400 for
// success, so that an end that was merely redirected would count as confirmed. Nor is the call repeated: a standby
// redirects also when it lost the answer of the active node, which has made the call by then.
//
// It keeps Go's transport from repeating a GET whose answer was lost: reading database/creds/x makes a user each time.
type exactTransport struct{ *http.Transport }

// RoundTrip makes the call.
func (t exactTransport) RoundTrip(request *http.Request) (*http.Response, error) {
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

// newHTTPClient has no limit of its own: each call's context has, see [CallTimeout].
func newHTTPClient(config *tls.Config) *http.Client {
	transport := cleanhttp.DefaultPooledTransport()
	transport.Proxy = nil // would come from the server's environment
	transport.TLSClientConfig = config
	transport.MaxIdleConnsPerHost = 64
	return &http.Client{
		Transport:     exactTransport{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newClient sets everything that vault/api would otherwise take from the environment.
func newClient(c Connection, client *http.Client) (*api.Client, error) {
	anonymous, err := api.NewClient(&api.Config{
		Address:          c.Address,
		HttpClient:       client,
		MaxRetries:       0, // a repetition after a 5xx would repeat a write
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", c.Address, err)
	}
	anonymous.SetHeaders(http.Header{api.RequestHeaderName: []string{"true"}})
	anonymous.SetNamespace(c.Namespace) // without one, vault/api sends no such header
	anonymous.SetWrappingLookupFunc(func(string, string) string { return "" })
	anonymous.ClearToken()
	return anonymous, nil
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
