// Package enginetest runs the engine inside the test process, over a storage and against a Vault of which it sees every
// call: to count the calls, or to make one of them fail. The Vault is a real one; only the people are made up, because
// Vault answers for people over a channel that only a plugin process has.
package enginetest

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine"
	"github.com/vault-jit/vault-jit/plugin/engine/enginetest/watch"
)

// Step sees one call of the engine's; see [watch.Step].
type Step = watch.Step

// Engine is one engine over one storage.
type Engine struct {
	// Address is where the engine reaches Vault: a proxy before the real one.
	Address string

	backend logical.Backend
	storage logical.Storage
	people  []string
	proxy   *httptest.Server
}

// New starts an engine that reaches the Vault at the given address. The people are entity ids, each with a login of the same name.
func New(ctx context.Context, vaultAddress string, step Step, people ...string) (*Engine, error) {
	vault, err := url.Parse(vaultAddress)
	if err != nil {
		return nil, fmt.Errorf("the address of Vault: %w", err)
	}
	e := &Engine{storage: watch.Storage(&logical.InmemStorage{}, step), people: people}
	e.proxy = httptest.NewServer(watch.HTTP(vault, step))
	e.Address = e.proxy.URL
	return e, e.Restart(ctx)
}

// Close ends the proxy.
func (e *Engine) Close() { e.proxy.Close() }

// Restart is what Vault does after its plugin died: a new engine over the same storage.
func (e *Engine) Restart(ctx context.Context) error {
	backend, err := engine.Factory(ctx, &logical.BackendConfig{
		Logger: hclog.NewNullLogger(),
		System: bystanders{
			StaticSystemView: logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
			people:           e.people,
		},
	})
	e.backend = backend
	return err
}

// Stop is what Vault does before it disables or reloads the plugin. The stopped engine is called on until [Engine.Restart].
func (e *Engine) Stop(ctx context.Context) { e.backend.Cleanup(ctx) }

// Call is a call of somebody's. A refusal is returned as an error.
func (e *Engine) Call(ctx context.Context, op logical.Operation, who, path string, data map[string]any) (*logical.Response, error) {
	return e.handle(ctx, &logical.Request{Operation: op, Path: path, Data: data, EntityID: who, DisplayName: who})
}

// Periodic is Vault's call for periodic work.
func (e *Engine) Periodic(ctx context.Context) error {
	_, err := e.handle(ctx, &logical.Request{Operation: logical.RollbackOperation})
	return err
}

// Revoke is Vault's call when a lease ends.
func (e *Engine) Revoke(ctx context.Context, lease *logical.Secret) error {
	_, err := e.handle(ctx, &logical.Request{Operation: logical.RevokeOperation, Secret: lease})
	return err
}

func (e *Engine) handle(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	req.Storage = e.storage
	response, err := e.backend.HandleRequest(ctx, req)
	if err == nil && response.IsError() {
		err = response.Error()
	}
	return response, err
}

// bystanders answers for Vault's identity store.
type bystanders struct {
	logical.StaticSystemView
	people []string
}

// EntityInfo knows the people of the engine and nobody else.
func (b bystanders) EntityInfo(id string) (*logical.Entity, error) {
	if !slices.Contains(b.people, id) {
		return nil, nil
	}
	return &logical.Entity{ID: id, Name: id, Aliases: []*logical.Alias{{MountAccessor: "login", Name: id}}}, nil
}

// GroupsForEntity has nobody in any identity group.
func (b bystanders) GroupsForEntity(string) ([]*logical.Group, error) { return nil, nil }
