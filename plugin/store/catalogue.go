package store

import (
	"context"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/text"
)

// Catalogue keeps named objects of one kind, with a read-through cache. What it returns is shared: do not change it.
type Catalogue[T any] struct {
	prefix string
	mu     sync.RWMutex
	cache  map[string]*T
}

func newCatalogue[T any](prefix string) *Catalogue[T] {
	return &Catalogue[T]{prefix: prefix, cache: map[string]*T{}}
}

// Get returns the object of that name, or nil. An invalid name returns nil.
func (c *Catalogue[T]) Get(ctx context.Context, s logical.Storage, name string) (*T, error) {
	c.mu.RLock()
	value := c.cache[name]
	c.mu.RUnlock()
	if value != nil || text.CheckName(name) != nil {
		return value, nil
	}
	// The lock is held while reading: else the old object could be cached after a write or an invalidation.
	c.mu.Lock()
	defer c.mu.Unlock()
	value, err := readObject[T](ctx, s, c.prefix+name)
	if err == nil && value != nil {
		c.cache[name] = value
	}
	return value, err
}

// Put writes the object under that name.
func (c *Catalogue[T]) Put(ctx context.Context, s logical.Storage, name string, value T) error {
	if err := text.CheckName(name); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A failed write may have reached the storage or not, so the object is read again at the next use.
	delete(c.cache, name)
	if err := writeObject(ctx, s, c.prefix+name, value); err != nil {
		return err
	}
	c.cache[name] = &value
	return nil
}

// Delete removes the object of that name, if there is one. An invalid name is nobody's, so nothing is done.
func (c *Catalogue[T]) Delete(ctx context.Context, s logical.Storage, name string) error {
	if text.CheckName(name) != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cache, name)
	return remove(ctx, s, c.prefix+name)
}

// List returns the names in order.
func (c *Catalogue[T]) List(ctx context.Context, s logical.Storage) ([]string, error) {
	return list(ctx, s, c.prefix)
}

func (c *Catalogue[T]) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cache, name)
}

// Single keeps the one object of its kind.
type Single[T any] struct{ all *Catalogue[T] }

// Get returns the object, or nil.
func (s *Single[T]) Get(ctx context.Context, storage logical.Storage) (*T, error) {
	return s.all.Get(ctx, storage, ConfigKey)
}

// Put writes the object.
func (s *Single[T]) Put(ctx context.Context, storage logical.Storage, value T) error {
	return s.all.Put(ctx, storage, ConfigKey, value)
}

// Delete removes the object.
func (s *Single[T]) Delete(ctx context.Context, storage logical.Storage) error {
	return s.all.Delete(ctx, storage, ConfigKey)
}
