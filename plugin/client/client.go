// Package client is the Go client of the jit secrets engine: a method for each endpoint, with the types of package wire.
//
// It works on top of a [github.com/hashicorp/vault/api] client, which brings the address, the namespace and the token;
// how one logs in is not its business.
//
//	vault, err := api.NewClient(nil) // VAULT_ADDR, VAULT_TOKEN …
//	jit, err := client.New(vault, "jit")
//	request, err := jit.Ask(ctx, wire.Ask{Role: "prod-db", Reason: "INC-42"})
//	request, err = jit.Wait(ctx, request.ID, nil)
//	credential, err := jit.Claim(ctx, request.ID)
//
// What the engine refuses is a *refusal.Refusal, which says the field at fault, what is wrong with it and what to do.
// Other errors are [ErrAbsent], [ErrNoMount], a [*DeniedError], or an [*UnavailableError], which may be over the next time.
package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// A Client is one mount of the engine, used with one token. Its methods may be called from several goroutines.
type Client struct {
	// Relogin, if it is not nil, is asked for another token once Vault has forgotten the given one. The call that found out
	// is then repeated, once: a token that Vault does not know did nothing.
	Relogin func(ctx context.Context, forgotten string) (token string, err error)

	// reading repeats what met a 5xx as often as its settings say; writing never does, because a repeated ask is a second
	// request.
	reading, writing *api.Client
	mount            string
}

// New is a client of the engine mounted at the path, such as "jit". It takes over the settings and the token that the
// Vault client has now.
func New(vault *api.Client, mount string) (*Client, error) {
	mount = strings.Trim(mount, "/")
	if mount == "" {
		return nil, errors.New("the mount of the engine is empty")
	}
	reading, err := Clone(vault)
	if err != nil {
		return nil, err
	}
	writing, err := Clone(vault)
	if err != nil {
		return nil, err
	}
	writing.SetMaxRetries(0)
	return &Client{reading: reading, writing: writing, mount: mount}, nil
}

// Clone is another client for the same Vault, with the same token, headers and namespace. VAULT_WRAP_TTL, which would
// have every answer wrapped, is not for it.
func Clone(vault *api.Client) (*api.Client, error) {
	own, err := vault.CloneWithHeaders()
	if err != nil {
		return nil, fmt.Errorf("making a client for Vault: %w", err)
	}
	own.SetToken(vault.Token())
	own.SetWrappingLookupFunc(func(string, string) string { return "" })
	return own, nil
}

// Mount is the path of the engine's mount, without slashes.
func (c *Client) Mount() string { return c.mount }

// Address is where Vault is.
func (c *Client) Address() string { return c.reading.Address() }

// Namespace is Vault's namespace of the mount; "" for the root namespace.
func (c *Client) Namespace() string { return c.reading.Namespace() }

// Token is the token that calls are made with.
func (c *Client) Token() string { return c.writing.Token() }

// SetToken has calls made with another token from now on.
func (c *Client) SetToken(token string) {
	c.reading.SetToken(token)
	c.writing.SetToken(token)
}

// read asks for what is at a path. The query is nil or holds query parameters.
func (c *Client) read(ctx context.Context, path string, query url.Values) (*api.Secret, error) {
	return c.call(ctx, c.reading, http.MethodGet, c.mount+"/"+path, query, nil)
}

func (c *Client) list(ctx context.Context, path string, query url.Values) (*api.Secret, error) {
	all := url.Values{"list": {"true"}}
	for name, values := range query {
		all[name] = values
	}
	return c.read(ctx, path, all)
}

func (c *Client) write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	return c.call(ctx, c.writing, http.MethodPut, c.mount+"/"+path, nil, data)
}

func (c *Client) delete(ctx context.Context, path string) error {
	_, err := c.call(ctx, c.writing, http.MethodDelete, c.mount+"/"+path, nil, nil)
	return err
}

// call makes one call, and once more with another token if Vault has forgotten this one. The answer is never nil; one
// without a body is empty.
func (c *Client) call(
	ctx context.Context, vault *api.Client, method, path string, query url.Values, data map[string]any,
) (*api.Secret, error) {
	for _, step := range strings.Split(path, "/") {
		if step == "" || step == "." || step == ".." { // it would lead to another path
			return nil, refusal.Newf("", "%q is not a name that can be asked for at %s", step, path)
		}
	}
	token := vault.Token()
	secret, err := send(ctx, vault, method, path, query, data)
	var denied *DeniedError
	if c.Relogin == nil || !errors.As(err, &denied) || !denied.Forgotten {
		return secret, err
	}
	another, again := c.Relogin(ctx, token)
	if again != nil {
		return nil, fmt.Errorf("the login's token has ended, and %w", again)
	}
	c.SetToken(another)
	return send(ctx, vault, method, path, query, data)
}

// send makes one call of any path of Vault's.
func send(
	ctx context.Context, vault *api.Client, method, path string, query url.Values, data map[string]any,
) (*api.Secret, error) {
	request := vault.NewRequest(method, "/v1/"+path)
	if query != nil {
		request.Params = query
	}
	if data != nil {
		if err := request.SetJSONBody(data); err != nil {
			return nil, fmt.Errorf("encoding what goes to %s: %w", path, err)
		}
	}
	// The methods beside it stop the answer's body before it is read, or drop what a refusal has beside its sentence.
	response, err := vault.RawRequestWithContext(ctx, request) //nolint:staticcheck // for the reason above
	var body []byte
	if response != nil {
		defer response.Body.Close() //nolint:errcheck // read only
		var unread error
		if body, unread = io.ReadAll(response.Body); err == nil && unread != nil {
			err = unread
		}
	}
	if err != nil {
		return nil, explain(ctx, vault, path, err, body)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return &api.Secret{}, nil
	}
	secret, err := api.ParseSecret(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("Vault's answer for %s is not understood: %w", path, err)
	}
	return secret, nil
}

// decode takes an answer's data into a type of package wire.
func decode[T any](secret *api.Secret, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return wire.Read[T](secret.Data)
}

// warningsOf are the warnings of an answer.
func warningsOf(secret *api.Secret, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return secret.Warnings, nil
}
