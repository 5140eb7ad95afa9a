package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

// connections are kept in one place: a test may well have fifty people, each with a client.
var connections = &http.Transport{
	DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	MaxIdleConnsPerHost: 64,
	IdleConnTimeout:     30 * time.Second,
}

// newClient is what people use: it follows the redirect of a standby that does not forward, as standbys do not for a
// moment after the active node has changed. It repeats nothing else, and leaves the developer's own VAULT_* environment
// aside, but for this: vault/api refuses to make any client while that environment is malformed.
func newClient(address, token string) (*api.Client, error) {
	config := &api.Config{
		Address:    address,
		Timeout:    2 * time.Minute,
		HttpClient: &http.Client{Transport: connections},
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", address, err)
	}
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	client.SetToken(token)
	return client, nil
}

// absent tells whether Vault answered that there is no such thing.
func absent(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// write is a write whose answer must hold data.
func write(ctx context.Context, client *api.Client, path string, data map[string]any) (map[string]any, error) {
	secret, err := client.Logical().WriteWithContext(ctx, path, data)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if secret == nil {
		return nil, fmt.Errorf("writing %s: Vault gave an empty answer", path)
	}
	return secret.Data, nil
}

// put is a write whose answer does not matter.
func put(ctx context.Context, client *api.Client, path string, data map[string]any) error {
	if _, err := client.Logical().WriteWithContext(ctx, path, data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// list gives the keys under a path; none when there is nothing.
func list(ctx context.Context, client *api.Client, path string) ([]string, error) {
	secret, err := client.Logical().ListWithContext(ctx, path)
	if absent(err) || (err == nil && secret == nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", path, err)
	}
	raw, _ := secret.Data["keys"].([]any)
	keys := make([]string, 0, len(raw))
	for _, k := range raw {
		key, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("listing %s: a key is a %T", path, k)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// text takes a string out of an answer; an absent or other value is an error, for it is always needed.
func text(data map[string]any, key, what string) (string, error) {
	s, ok := data[key].(string)
	if !ok || s == "" {
		return "", fmt.Errorf("%s: the answer has no %s", what, key)
	}
	return s, nil
}
