package store

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
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

// maxNameBytes is far below what any storage accepts as a key.
const maxNameBytes = 256

var namePattern = regexp.MustCompile(`\A\w(?:[\w.-]*\w)?\z`)

// CheckName refuses what cannot be the name of an object, such as what a storage would take for a relative path.
func CheckName(name string) error {
	if len(name) <= maxNameBytes && namePattern.MatchString(name) && !strings.Contains(name, "..") {
		return nil
	}
	return fmt.Errorf("%.64q is not a name; accepted are up to %d letters, digits, _, - and single dots, with a letter, digit or _ at both ends",
		name, maxNameBytes)
}

// Get returns the object of that name, or nil. There is none of a name that is no name.
func (c *Catalogue[T]) Get(ctx context.Context, s logical.Storage, name string) (*T, error) {
	c.mu.RLock()
	value := c.cache[name]
	c.mu.RUnlock()
	if value != nil || CheckName(name) != nil {
		return value, nil
	}
	// The lock is held while reading, so that a write or an invalidation meanwhile is not overwritten with what it replaced.
	c.mu.Lock()
	defer c.mu.Unlock()
	value, err := read[T](ctx, s, c.prefix+name)
	if err == nil && value != nil {
		c.cache[name] = value
	}
	return value, err
}

// Put writes the object under that name.
func (c *Catalogue[T]) Put(ctx context.Context, s logical.Storage, name string, value T) error {
	if err := CheckName(name); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A failed write may or may not have reached the storage, so the cache knows nothing until it is read again.
	delete(c.cache, name)
	if err := write(ctx, s, c.prefix+name, value); err != nil {
		return err
	}
	c.cache[name] = &value
	return nil
}

// Delete removes the object of that name, if there is one.
func (c *Catalogue[T]) Delete(ctx context.Context, s logical.Storage, name string) error {
	if CheckName(name) != nil {
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
