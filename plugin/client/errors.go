package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

var (
	// ErrAbsent says that there is no such thing, or none that the caller may see.
	ErrAbsent = errors.New("there is none")
	// ErrNoMount says that nothing is mounted there.
	ErrNoMount = errors.New("nothing is mounted at")
)

// A DeniedError is Vault's word that the token may not do this.
type DeniedError struct {
	// Path is the whole path of the call.
	Path string
	// Forgotten is whether Vault knows no such token any more.
	Forgotten bool
}

func (d *DeniedError) Error() string {
	return fmt.Sprintf("Vault denies this token access to %s: it may have expired, or lack a policy such as `path %q { capabilities = "+
		`["create", "read", "update", "delete", "list"] }`+"`", d.Path, d.Path)
}

// An UnavailableError may be over the next time one asks: Vault is not reached, sealed, or has a fault.
type UnavailableError struct{ Cause error }

func (u *UnavailableError) Error() string { return u.Cause.Error() }

// Unwrap gives the cause.
func (u *UnavailableError) Unwrap() error { return u.Cause }

// Explain puts an error of vault/api into one sentence that says what to do, as a type of this package where there is one.
func Explain(ctx context.Context, vault *api.Client, path string, err error) error {
	return explain(ctx, vault, path, err, nil)
}

// explain also takes the body of the answer, in which a refusal says its field.
func explain(ctx context.Context, vault *api.Client, path string, err error, body []byte) error {
	if ctx.Err() != nil { // whereas a call that took too long by itself may succeed the next time
		return fmt.Errorf("%s: %w", path, ctx.Err())
	}
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		return &UnavailableError{unreachable(HidePassword(vault.Address()), err)}
	}
	said := strings.Join(answer.Errors, "; ")
	switch answer.StatusCode {
	case http.StatusBadRequest:
		return readRefusal(said, body)
	case http.StatusForbidden:
		// OpenBao says it to an unknown token in these bare words, and in a list of errors to one that lacks a policy.
		return &DeniedError{Path: path, Forgotten: strings.Contains(said, "invalid token") || said == "permission denied"}
	case http.StatusNotFound:
		if strings.Contains(said, "no handler for route") {
			return ErrNoMount
		}
		return ErrAbsent
	case http.StatusMethodNotAllowed:
		return fmt.Errorf("Vault does not support this operation on %s: the mount is of another type, or its plugin is older than this client", path)
	case http.StatusServiceUnavailable:
		if strings.Contains(said, "sealed") {
			return &UnavailableError{fmt.Errorf("Vault at %s is sealed: unseal it (`vault operator unseal`) and run this again", HidePassword(vault.Address()))}
		}
	}
	if said == "" {
		said = http.StatusText(answer.StatusCode)
	}
	fault := fmt.Errorf("Vault answered %d for %s: %s", answer.StatusCode, path, said)
	if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests {
		return &UnavailableError{fault}
	}
	return fault
}

// refusedError is a refusal in the sentence in which it arrived, which also names the object.
type refusedError struct {
	sentence string
	refusal  *refusal.Refusal
}

func (r *refusedError) Error() string { return r.sentence }

// Unwrap gives the refusal, so that refusal.Of and errors.As find it.
func (r *refusedError) Unwrap() error { return r.refusal }

// readRefusal is the refusal in the body of a 400. Vault's own have only a sentence.
func readRefusal(said string, body []byte) error {
	var answer struct {
		Data refusal.Refusal `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Data.Problem == "" {
		return refusal.New("", said, "")
	}
	return &refusedError{sentence: said, refusal: &answer.Data}
}

func unreachable(address string, err error) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	advice := "check the address (VAULT_ADDR), and that Vault runs there"
	switch text := err.Error(); {
	case strings.Contains(text, "x509"):
		advice = "give the CA certificate (VAULT_CACERT), or the certificate's name (VAULT_TLS_SERVER_NAME)"
	case strings.Contains(text, "HTTP response to HTTPS client"):
		advice = "the server there speaks plain HTTP: let the address begin with http://"
	}
	return fmt.Errorf("Vault cannot be reached at %s: %w; %s", address, err, advice)
}

// HidePassword is an address as it can be shown.
func HidePassword(address string) string {
	if parsed, err := url.Parse(address); err == nil {
		return parsed.Redacted()
	}
	_, host, found := strings.Cut(address, "@")
	if !found {
		host = address
	}
	return host
}
