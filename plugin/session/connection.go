// Package session is the engine's own login at one Vault: who it is there, and how one call is made. It is the one part
// that talks to Vault over HTTP. It makes each call once, within a limit, at the configured address or not at all.
package session

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"github.com/vault-jit/vault-jit/plugin/refusal"
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

// Validate refuses a connection with which nothing could be reached, or something other than what the fields say.
func (c Connection) Validate() error {
	address, err := url.Parse(c.Address)
	switch {
	case strings.Contains(c.Address, "@"): // what is before it may be a password
		return refusal.New("address", "a user or password in it is not accepted", "accepted is scheme, host and port only")
	case err != nil || (address.Scheme != "https" && address.Scheme != "http") || address.Host == "":
		return refuseValue("address", c.Address, "accepted is a URL such as https://vault.internal:8200")
	case (address.Path != "" && address.Path != "/") || address.RawQuery != "":
		return refuseValue("address", c.Address, "accepted is scheme, host and port only")
	case c.Token != "" && (c.RoleID != "" || c.SecretID != ""):
		return refusal.New("token", "it is given, and so is role_id or secret_id", "choose one way to log in")
	case c.Token == "" && c.RoleID == "":
		return refusal.New("role_id", "it is empty", "give role_id and secret_id of an AppRole, or a token")
	case c.Token == "" && c.SecretID == "":
		return refusal.New("secret_id", "it is empty", "an AppRole login needs one")
	case c.Token == "" && !isPath(c.AuthMount):
		return refuseValue("auth_mount", c.AuthMount, "accepted is the path of an AppRole mount, such as approle")
	case !IsPathSegment(c.TokenRole):
		return refuseValue("token_role", c.TokenRole, "accepted is the name of a token role (auth/token/roles/NAME)")
	}
	_, err = c.makeTLS()
	return err
}

func refuseValue(field, value, accepted string) error {
	return refusal.New(field, fmt.Sprintf("%q is not accepted", value), accepted)
}

// IsPathSegment accepts a name that stands for itself in a URL, as one segment of its path.
func IsPathSegment(name string) bool {
	if name == "" || name == "." || name == ".." {
		return false
	}
	return !strings.ContainsFunc(name, func(char rune) bool { return char <= ' ' || char > '~' || strings.ContainsRune(`/?#%\*+`, char) })
}

// isPath accepts segments with slashes between them.
func isPath(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if !IsPathSegment(segment) {
			return false
		}
	}
	return true
}

func (c Connection) makeTLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLSServerName}
	if c.CACert != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(c.CACert)) {
			return nil, refusal.New("ca_cert", "it holds no certificate in PEM form", "")
		}
	}
	switch {
	case c.ClientCert == "" && c.ClientKey != "":
		return nil, refusal.New("client_cert", "it is empty, but client_key is given", "they go together")
	case c.ClientCert != "" && c.ClientKey == "":
		return nil, refusal.New("client_key", "it is empty, but client_cert is given", "they go together")
	}
	if c.ClientCert != "" {
		pair, err := tls.X509KeyPair([]byte(c.ClientCert), []byte(c.ClientKey))
		if err != nil {
			// The parser's own message may quote what it read.
			return nil, refusal.New("client_cert", "it and client_key are no pair in PEM form", "")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
