package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"
)

var (
	// errAbsent is Vault's word that there is no such thing.
	errAbsent = errors.New("there is none")
	// errNoMount is Vault's word that nothing is mounted there.
	errNoMount = errors.New("nothing is mounted at")
)

// A refusalError is the engine's word on what it was asked, in its own words.
type refusalError struct{ message string }

func (r *refusalError) Error() string { return r.message }

// A deniedError is Vault's word that the token may not do this.
type deniedError struct {
	path string
	// forgotten is whether there is no such token any more.
	forgotten bool
}

func (d *deniedError) Error() string {
	return fmt.Sprintf("Vault denies this token access to %s: it may have expired, or lack a policy such as `path %q { capabilities = "+
		`["create", "read", "update", "delete", "list"] }`+"`", d.path, d.path)
}

// A passingError may be over the next time one asks.
type passingError struct{ cause error }

func (p *passingError) Error() string { return p.cause.Error() }
func (p *passingError) Unwrap() error { return p.cause }

// explain puts an error of vault/api into one sentence that says what to do.
func explain(client *api.Client, path string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		return &passingError{unreachable(withoutPassword(client.Address()), err)}
	}
	said := strings.Join(answer.Errors, "; ")
	switch answer.StatusCode {
	case http.StatusBadRequest:
		return &refusalError{said}
	case http.StatusForbidden:
		return &deniedError{path: path, forgotten: strings.Contains(said, "invalid token")}
	case http.StatusNotFound:
		if strings.Contains(said, "no handler for route") {
			return errNoMount
		}
		return errAbsent
	case http.StatusMethodNotAllowed:
		return fmt.Errorf("Vault does not support this operation on %s: the mount is of another type, or its plugin is older than this provider", path)
	case http.StatusServiceUnavailable:
		if strings.Contains(said, "sealed") {
			return &passingError{fmt.Errorf("Vault at %s is sealed: unseal it (`vault operator unseal`) and run this again", withoutPassword(client.Address()))}
		}
	}
	if said == "" {
		said = http.StatusText(answer.StatusCode)
	}
	fault := fmt.Errorf("Vault answered %d for %s: %s", answer.StatusCode, path, said)
	if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests {
		return &passingError{fault}
	}
	return fault
}

func unreachable(address string, err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	advice := "check the provider's address (or VAULT_ADDR), and that Vault runs there"
	switch text := err.Error(); {
	case strings.Contains(text, "x509"):
		advice = "give the CA certificate with ca_cert_file (or VAULT_CACERT), or the certificate's name with tls_server_name"
	case strings.Contains(text, "HTTP response to HTTPS client"):
		advice = "the server there speaks plain HTTP: let the address begin with http://"
	}
	return fmt.Errorf("Vault cannot be reached at %s: %w; %s", address, err, advice)
}
