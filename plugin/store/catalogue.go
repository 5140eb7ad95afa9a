package store

import (
	"context"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/text"
)

// Catalogue keeps named objects of one kind, with a read-through cache. What it returns is shared: do not change it.
type Catalogue[T any] struct {
	prefix string
	mu     sync.Mutex
	cache  map[string]*T // by key
}

func newCatalogue[T any](prefix string) *Catalogue[T] {
	return &Catalogue[T]{prefix: prefix, cache: map[string]*T{}}
}

// Get returns the object of that name, or nil. An invalid name returns nil.
func (c *Catalogue[T]) Get(ctx context.Context, s logical.Storage, name string) (*T, error) {
	key := c.prefix + name
	// The lock is held while reading: else the old object could be cached after a write or an invalidation.
	c.mu.Lock()
	defer c.mu.Unlock()
	if value := c.cache[key]; value != nil {
		return value, nil
	}
	if text.CheckName(name) != nil { // nothing is cached under such a name
		return nil, nil
	}
	value, err := readObject[T](ctx, s, key)
	if err == nil && value != nil {
		c.cache[key] = value
	}
	return value, err
}

// Put writes the object under that name.
func (c *Catalogue[T]) Put(ctx context.Context, s logical.Storage, name string, value T) error {
	if err := text.CheckName(name); err != nil {
		return err
	}
	key := c.prefix + name
	c.mu.Lock()
	defer c.mu.Unlock()
	// A failed write may have reached the storage or not, so the object is read again at the next use.
	delete(c.cache, key)
	if err := writeObject(ctx, s, key, &value); err != nil {
		return err
	}
	c.cache[key] = &value
	return nil
}

// Delete removes the object of that name, if there is one. An invalid name is nobody's, so nothing is done.
func (c *Catalogue[T]) Delete(ctx context.Context, s logical.Storage, name string) error {
	if text.CheckName(name) != nil {
		return nil
	}
	key := c.prefix + name
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cache, key)
	return remove(ctx, s, key)
}

// List returns the names in order.
func (c *Catalogue[T]) List(ctx context.Context, s logical.Storage) ([]string, error) {
	return list(ctx, s, c.prefix)
}

// forget makes the next use read what is at the key again. A key of another catalogue waits for no lock of this one.
func (c *Catalogue[T]) forget(key string) {
	if !strings.HasPrefix(key, c.prefix) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cache, key)
}

// Single keeps the one object of its kind.
type Single[T any] struct {
	all *Catalogue[T]
	key string
}

func newSingle[T any](key string) *Single[T] { return &Single[T]{newCatalogue[T](""), key} }

func (s *Single[T]) forget(key string) {
	if key == s.key {
		s.all.forget(key)
	}
}

// Get returns the object, or nil.
func (s *Single[T]) Get(ctx context.Context, storage logical.Storage) (*T, error) {
	return s.all.Get(ctx, storage, s.key)
}

// Put writes the object.
func (s *Single[T]) Put(ctx context.Context, storage logical.Storage, value T) error {
	return s.all.Put(ctx, storage, s.key, value)
}

// Delete removes the object.
func (s *Single[T]) Delete(ctx context.Context, storage logical.Storage) error {
	return s.all.Delete(ctx, storage, s.key)
}
