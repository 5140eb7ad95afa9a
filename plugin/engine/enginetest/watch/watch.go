// Package watch lets a test see every call that the engine makes to its storage and to Vault: to count the calls, to
// stop at one of them, or to make one of them fail.
package watch

import (
	"context"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"

	"github.com/hashicorp/vault/sdk/logical"
)

// Step sees one call of the engine's, named such as "storage put open/…" or "http PUT /v1/…". It makes the call by
// calling do, or not, and what it returns is what the engine gets to know.
type Step func(name string, do func() error) error

// Storage is the storage with a step for each call.
func Storage(s logical.Storage, step Step) logical.Storage { return seenStorage{s, step} }

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

// HTTP passes calls on to the Vault at the given URL. One that the step fails ends in a broken connection, answered or
// not.
func HTTP(vault *url.URL, step Step) http.Handler {
	forward := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(vault) },
		ErrorLog: log.New(io.Discard, "", 0), // a caller that has gone is no concern of the proxy's
	}
	return http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		answer := httptest.NewRecorder()
		if step("http "+in.Method+" "+in.URL.Path, func() error { forward.ServeHTTP(answer, in); return nil }) != nil {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(out.Header(), answer.Header())
		out.WriteHeader(answer.Code)
		_, _ = out.Write(answer.Body.Bytes()) // nor here
	})
}
