// Package store keeps the engine's objects in Vault's storage. It is the one place that knows storage keys.
//
//	config              the engine's configuration
//	group/NAME          approver groups
//	policy/NAME         policies
//	role/NAME           roles
//	open/ID             requests about which something may still have to be done
//	ended/YYYYMM/ID     requests that are over, by the month in their id
//	by/ENTITY/ID        a marker for each ended request, by its requester
//
// Cost follows what is open, not what ever was: nothing here lists or reads ended/ unless it is asked for ended requests.
//
// An error of the storage is returned as an error. It is never taken for an absent object: absence is a nil pointer without an error.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

const (
	// ConfigKey is where the configuration lies; the engine has it seal-wrapped.
	ConfigKey = "config"

	groupPrefix  = "group/"
	policyPrefix = "policy/"
	rolePrefix   = "role/"
	openPrefix   = "open/"
	endedPrefix  = "ended/"
	byPrefix     = "by/"
)

// Store is all that the engine keeps; C is its configuration. One instance serves one mount.
type Store[C any] struct {
	Config   *Single[C]
	Groups   *Catalogue[approval.ApproverGroup]
	Policies *Catalogue[approval.Policy]
	Roles    *Catalogue[approval.Role]
	Requests *Requests
}

// New returns a store with empty caches.
func New[C any]() *Store[C] {
	return &Store[C]{
		Config:   &Single[C]{newCatalogue[C]("")},
		Groups:   newCatalogue[approval.ApproverGroup](groupPrefix),
		Policies: newCatalogue[approval.Policy](policyPrefix),
		Roles:    newCatalogue[approval.Role](rolePrefix),
		Requests: newRequests(),
	}
}

// Invalidate forgets what is cached of a key that another node wrote.
func (s *Store[C]) Invalidate(key string) {
	switch {
	case key == ConfigKey:
		s.Config.all.forget(ConfigKey)
	case strings.HasPrefix(key, groupPrefix):
		s.Groups.forget(strings.TrimPrefix(key, groupPrefix))
	case strings.HasPrefix(key, policyPrefix):
		s.Policies.forget(strings.TrimPrefix(key, policyPrefix))
	case strings.HasPrefix(key, rolePrefix):
		s.Roles.forget(strings.TrimPrefix(key, rolePrefix))
	case strings.HasPrefix(key, openPrefix):
		s.Requests.forget(strings.TrimPrefix(key, openPrefix))
	}
}

// recordVersion is the version of everything this package writes.
const recordVersion = 1

// record is the stored form of a value.
type record[T any] struct {
	Version int `json:"v"`
	Body    *T  `json:"body"`
}

func write[T any](ctx context.Context, s logical.Storage, key string, value T) error {
	body, err := json.Marshal(record[T]{Version: recordVersion, Body: &value})
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	if err := s.Put(ctx, &logical.StorageEntry{Key: key, Value: body}); err != nil {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	return nil
}

// read returns nil without an error when there is nothing at the key.
func read[T any](ctx context.Context, s logical.Storage, key string) (*T, error) {
	entry, err := s.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	if entry == nil {
		return nil, nil
	}
	value, err := decode[T](entry.Value)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return value, nil
}

// ErrUnreadable is part of every error about a record that is there but not wholly understood.
var ErrUnreadable = errors.New("unreadable record")

// decode refuses whatever it does not know: half a policy must not pass for a policy.
func decode[T any](text []byte) (*T, error) {
	var version struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("%w: it is damaged: %w", ErrUnreadable, err)
	}
	if version.Version != recordVersion {
		return nil, fmt.Errorf("%w: it has version %d, this plugin knows %d: it was written by another release", ErrUnreadable, version.Version, recordVersion)
	}
	var r record[T]
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	if err := decoder.Decode(&r); err != nil {
		return nil, fmt.Errorf("%w: it is damaged: %w", ErrUnreadable, err)
	}
	if r.Body == nil {
		return nil, fmt.Errorf("%w: it is damaged: it holds nothing", ErrUnreadable)
	}
	return r.Body, nil
}

// list returns the keys under a prefix in order.
func list(ctx context.Context, s logical.Storage, prefix string) ([]string, error) {
	keys, err := s.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	slices.Sort(keys)
	return keys, nil
}

func remove(ctx context.Context, s logical.Storage, key string) error {
	if err := s.Delete(ctx, key); err != nil {
		return fmt.Errorf("deleting %s: %w", key, err)
	}
	return nil
}
