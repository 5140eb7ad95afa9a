package vaulttest

import (
	"context"
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

// read reads with the root token. It returns nil without an error if nothing is there.
func (c *Cluster) read(ctx context.Context, path string) (*api.Secret, error) {
	secret, err := c.root.Logical().ReadWithContext(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return secret, nil
}

// write writes with the root token.
func (c *Cluster) write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	secret, err := c.root.Logical().WriteWithContext(ctx, path, data)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return secret, nil
}

// put writes and drops the answer.
func (c *Cluster) put(ctx context.Context, path string, data map[string]any) error {
	_, err := c.write(ctx, path, data)
	return err
}

// delete deletes with the root token.
func (c *Cluster) delete(ctx context.Context, path string) error {
	if _, err := c.root.Logical().DeleteWithContext(ctx, path); err != nil {
		return fmt.Errorf("deleting %s: %w", path, err)
	}
	return nil
}

// list returns the keys under a path, or none if the path does not exist.
func (c *Cluster) list(ctx context.Context, path string) ([]string, error) {
	secret, err := c.root.Logical().ListWithContext(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", path, err)
	}
	if secret == nil {
		return nil, nil
	}
	raw, _ := secret.Data["keys"].([]any)
	keys := make([]string, 0, len(raw))
	for _, key := range raw {
		keys = append(keys, fmt.Sprint(key))
	}
	return keys, nil
}

// needString returns a string of an answer. It fails if the value is absent, empty or no string.
func needString(answer *api.Secret, key, path string) (string, error) {
	if answer != nil {
		if s, _ := answer.Data[key].(string); s != "" {
			return s, nil
		}
	}
	return "", fmt.Errorf("%s: the answer has no %s", path, key)
}
