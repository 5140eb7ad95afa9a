package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// CallTimeout bounds one call that the engine makes with its own token, beside the caller's own context. It is what a
// handler may wait, because a handler runs under the server's state lock.
const CallTimeout = 5 * time.Second

// Client makes calls to Vault.
type Client struct {
	// run has a call made, with the client's token and within its limit.
	run func(context.Context, call) error
}

type call = func(ctx context.Context, vault *api.Logical) error

// Read reads a path. The answer is empty if there is nothing.
func (c Client) Read(ctx context.Context, path string) (answer *api.Secret, err error) {
	err = c.run(ctx, func(ctx context.Context, vault *api.Logical) error {
		answer, err = vault.ReadWithContext(ctx, path)
		return err
	})
	return cmp.Or(answer, &api.Secret{}), err
}

// Write writes to a path. The answer is empty if there is nothing.
func (c Client) Write(ctx context.Context, path string, data map[string]any) (answer *api.Secret, err error) {
	err = c.run(ctx, func(ctx context.Context, vault *api.Logical) error {
		answer, err = vault.WriteWithContext(ctx, path, data)
		return err
	})
	return cmp.Or(answer, &api.Secret{}), err
}

// WriteJSON writes to a path and decodes the whole answer into out: vault/api's own types drop some fields.
func (c Client) WriteJSON(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encoding what is written to %s: %w", path, err)
	}
	return c.run(ctx, func(ctx context.Context, vault *api.Logical) error {
		response, err := vault.WriteRawWithContext(ctx, path, body)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }() // it has been read, so there is nothing left to fail
		return response.DecodeJSON(out)
	})
}

// probe makes a call that the engine's policy always allows.
func (c Client) probe(ctx context.Context) error {
	_, err := c.Write(ctx, "sys/capabilities-self", map[string]any{"paths": []string{"sys/leases/revoke"}})
	return err
}

// hasStatus reports whether Vault answered with the status.
func hasStatus(err error, status int) bool {
	var response *api.ResponseError
	return errors.As(err, &response) && response.StatusCode == status
}

// Explain puts the error of a call into one short line: the status and what Vault said, or why it could not be asked.
// URL, host and port are for operators and not for everybody who claims, so they are left out.
func Explain(err error) error {
	var answered *api.ResponseError
	var unknown *net.DNSError
	var untrusted *tls.CertificateVerificationError
	var broken *net.OpError
	var failed *url.Error
	switch {
	case errors.As(err, &answered):
		return fmt.Errorf("Vault answered %d: %s", answered.StatusCode, shorten(answered))
	case errors.As(err, &unknown):
		return errors.New("the host of Vault's address cannot be found")
	case errors.As(err, &untrusted):
		return errors.New("Vault's certificate cannot be trusted: see ca_cert and tls_server_name")
	case errors.As(err, &broken):
		return fmt.Errorf("Vault cannot be reached: %w", broken.Err)
	case errors.As(err, &failed):
		return failed.Err
	}
	return err
}

// errorBytes bounds what is passed on of an error of Vault's.
const errorBytes = 500

func shorten(answered *api.ResponseError) string {
	said := strings.Join(strings.Fields(strings.Join(answered.Errors, "; ")), " ")
	if len(said) > errorBytes {
		said = strings.ToValidUTF8(said[:errorBytes], "") + "…"
	}
	return cmp.Or(said, http.StatusText(answered.StatusCode))
}

// ListWords is a list of strings in an answer of Vault's; what is not a string is left out.
func ListWords(value any) []string {
	list, _ := value.([]any)
	var words []string
	for _, item := range list {
		if word, ok := item.(string); ok {
			words = append(words, word)
		}
	}
	return words
}
