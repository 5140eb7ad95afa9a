// Package enginetest runs the engine inside the test process, over a storage and against a Vault of which it sees every
// call: to count the calls, or to make one of them fail. The Vault is a real one; only the people are made up, because
// Vault answers for people over a channel that only a plugin process has.
package enginetest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine"
)

// Step sees one call of the engine's, named such as "storage put open/…" or "http PUT /v1/…". It makes the call by
// calling do, or not, and what it returns is what the engine gets to know.
type Step func(name string, do func() error) error

// Stage is one engine over one storage.
type Stage struct {
	// Address is where the engine reaches Vault: a proxy before the real one.
	Address string

	backend logical.Backend
	storage logical.Storage
	people  map[string]bool
	proxy   *httptest.Server
}

// New starts an engine that reaches the Vault at the given address. The people are entity ids, each with a login of the same name.
func New(ctx context.Context, vaultAddress string, step Step, people ...string) (*Stage, error) {
	vault, err := url.Parse(vaultAddress)
	if err != nil {
		return nil, fmt.Errorf("the address of Vault: %w", err)
	}
	s := &Stage{storage: seenStorage{Storage: &logical.InmemStorage{}, step: step}, people: map[string]bool{}}
	for _, id := range people {
		s.people[id] = true
	}
	s.proxy = httptest.NewServer(seenHTTP(vault, step))
	s.Address = s.proxy.URL
	return s, s.Restart(ctx)
}

// Close ends the proxy.
func (s *Stage) Close() { s.proxy.Close() }

// Restart is what Vault does after its plugin died: a new engine over the same storage.
func (s *Stage) Restart(ctx context.Context) error {
	backend, err := engine.Factory(ctx, &logical.BackendConfig{
		Logger: hclog.NewNullLogger(),
		System: bystanders{
			StaticSystemView: logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
			people:           s.people,
		},
	})
	s.backend = backend
	return err
}

// Call is a call of somebody's. A refusal is returned as an error.
func (s *Stage) Call(ctx context.Context, op logical.Operation, who, path string, data map[string]any) (*logical.Response, error) {
	return s.handle(ctx, &logical.Request{Operation: op, Path: path, Data: data, EntityID: who, DisplayName: who})
}

// Periodic is Vault's call for periodic work.
func (s *Stage) Periodic(ctx context.Context) error {
	_, err := s.handle(ctx, &logical.Request{Operation: logical.RollbackOperation})
	return err
}

// Revoke is Vault's call when a lease ends.
func (s *Stage) Revoke(ctx context.Context, lease *logical.Secret) error {
	_, err := s.handle(ctx, &logical.Request{Operation: logical.RevokeOperation, Secret: lease})
	return err
}

func (s *Stage) handle(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	req.Storage = s.storage
	response, err := s.backend.HandleRequest(ctx, req)
	if err == nil && response.IsError() {
		err = response.Error()
	}
	return response, err
}

// seenStorage is Vault's storage for the engine.
type seenStorage struct {
	logical.Storage
	step Step
}

// List is one step.
func (s seenStorage) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.step("storage list "+prefix, func() (err error) { keys, err = s.Storage.List(ctx, prefix); return err })
	return keys, err
}

// Get is one step.
func (s seenStorage) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = s.step("storage get "+key, func() (err error) { entry, err = s.Storage.Get(ctx, key); return err })
	return entry, err
}

// Put is one step.
func (s seenStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.step("storage put "+entry.Key, func() error { return s.Storage.Put(ctx, entry) })
}

// Delete is one step.
func (s seenStorage) Delete(ctx context.Context, key string) error {
	return s.step("storage delete "+key, func() error { return s.Storage.Delete(ctx, key) })
}

// seenHTTP passes calls on to Vault. One that the step fails ends in a broken connection, answered or not.
func seenHTTP(vault *url.URL, step Step) http.Handler {
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(vault) }}
	return http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		answer := httptest.NewRecorder()
		if step("http "+in.Method+" "+in.URL.Path, func() error { forward.ServeHTTP(answer, in); return nil }) != nil {
			panic(http.ErrAbortHandler)
		}
		for name, values := range answer.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(answer.Code)
		_, _ = out.Write(answer.Body.Bytes()) // a caller that has gone is no concern of the proxy's
	})
}

// bystanders answers for Vault's identity store.
type bystanders struct {
	logical.StaticSystemView
	people map[string]bool
}

// EntityInfo knows the people of the stage and nobody else.
func (b bystanders) EntityInfo(id string) (*logical.Entity, error) {
	if !b.people[id] {
		return nil, nil
	}
	return &logical.Entity{ID: id, Name: id, Aliases: []*logical.Alias{{MountAccessor: "login", Name: id}}}, nil
}

// GroupsForEntity has nobody in any identity group.
func (b bystanders) GroupsForEntity(string) ([]*logical.Group, error) { return nil, nil }
