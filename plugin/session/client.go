package session

import (
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

// Client makes calls with one token. Nothing is repeated.
type Client struct {
	vault *api.Client
	// limit of one call; 0 if only the caller's context bounds it.
	limit time.Duration
}

// Read reads a path. The answer is nil if there is nothing.
func (c *Client) Read(ctx context.Context, path string) (answer *api.Secret, err error) {
	err = c.limitCall(ctx, func(ctx context.Context) error {
		answer, err = c.vault.Logical().ReadWithContext(ctx, path)
		return err
	})
	return answer, err
}

// Write writes to a path. The answer is nil if there is nothing.
func (c *Client) Write(ctx context.Context, path string, data map[string]any) (answer *api.Secret, err error) {
	err = c.limitCall(ctx, func(ctx context.Context) error {
		answer, err = c.vault.Logical().WriteWithContext(ctx, path, data)
		return err
	})
	return answer, err
}

// writeJSON writes a body and decodes the whole answer, of which vault/api's own types drop some fields.
func (c *Client) writeJSON(ctx context.Context, path string, body []byte, out any) error {
	return c.limitCall(ctx, func(ctx context.Context) error {
		response, err := c.vault.Logical().WriteRawWithContext(ctx, path, body)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }() // it has been read, so there is nothing left to fail
		return response.DecodeJSON(out)
	})
}

// limitCall makes a call within the limit, and says so if that is what ended it.
func (c *Client) limitCall(ctx context.Context, do func(context.Context) error) error {
	if c.limit == 0 {
		return do(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	err := do(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("Vault did not answer within %s", c.limit)
	}
	return err
}

// askCapabilities lists by path what the client's token may do there.
func (c *Client) askCapabilities(ctx context.Context, paths []string) (map[string][]string, error) {
	answer, err := c.Write(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil {
		return nil, err
	}
	granted := map[string][]string{}
	if answer == nil {
		return granted, nil
	}
	for _, path := range paths {
		granted[path] = ListWords(answer.Data[path])
	}
	return granted, nil
}

func parseNumber(value any) (int, error) {
	number, ok := value.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%v is no number", value)
	}
	n, err := number.Int64()
	return int(n), err
}

// HasStatus reports whether Vault answered with the status.
func HasStatus(err error, status int) bool {
	var response *api.ResponseError
	return errors.As(err, &response) && response.StatusCode == status
}

// errorBytes bounds what is passed on of an error of Vault's.
const errorBytes = 500

// Explain puts the error of a call into one short line: the status and what Vault said, or why it could not be asked.
// URL, host and port are for operators and not for everybody who claims, so they are left out.
func Explain(err error) error {
	var response *api.ResponseError
	if !errors.As(err, &response) {
		return explainTransport(err)
	}
	said := strings.Join(strings.Fields(strings.Join(response.Errors, "; ")), " ")
	if said == "" {
		said = http.StatusText(response.StatusCode)
	}
	if len(said) > errorBytes {
		said = strings.ToValidUTF8(said[:errorBytes], "") + "…"
	}
	return fmt.Errorf("Vault answered %d: %s", response.StatusCode, said)
}

func explainTransport(err error) error {
	var unknown *net.DNSError
	var untrusted *tls.CertificateVerificationError
	var broken *net.OpError
	var failed *url.Error
	switch {
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
