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

// transport is shared by all clients, because a test may have fifty people with a client each.
var transport = &http.Transport{
	DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	MaxIdleConnsPerHost: 64,
	IdleConnTimeout:     30 * time.Second,
}

// newClient makes a client. It follows redirects, because a standby redirects for a moment after the active node has
// changed. It repeats no other call and ignores the developer's own VAULT_* variables. But vault/api makes no client at
// all while one of them is malformed.
func newClient(address, token string) (*api.Client, error) {
	config := &api.Config{
		Address:    address,
		Timeout:    2 * time.Minute,
		HttpClient: &http.Client{Transport: transport},
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

// isNotFound reports whether Vault answered 404.
func isNotFound(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// write writes and returns the data of the answer. It fails if the answer has none.
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

// put writes and drops the answer.
func put(ctx context.Context, client *api.Client, path string, data map[string]any) error {
	if _, err := client.Logical().WriteWithContext(ctx, path, data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// list returns the keys under a path, or none if the path does not exist.
func list(ctx context.Context, client *api.Client, path string) ([]string, error) {
	secret, err := client.Logical().ListWithContext(ctx, path)
	if isNotFound(err) || (err == nil && secret == nil) {
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

// needString returns a string of an answer. It fails if the value is absent, empty or no string.
func needString(data map[string]any, key, what string) (string, error) {
	s, ok := data[key].(string)
	if !ok || s == "" {
		return "", fmt.Errorf("%s: the answer has no %s", what, key)
	}
	return s, nil
}
