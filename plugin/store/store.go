// Package store keeps the engine's objects in Vault's storage. It is the one place that knows storage keys.
//
//	config              the engine's configuration
//	group/NAME          approver groups
//	policy/NAME         policies
//	role/NAME           roles
//	open/ID             requests about which something may still have to be done
//	ended/YYYYMM/ID     requests that are over, by the month in their id
//	seed                the key by which an id carries a mark of its requester
//
// Cost follows what is open, not what ever was: nothing here lists or reads ended/ unless it is asked for ended requests.
//
// An error of the storage is returned as an error. It is never taken for an absent object: absence is a nil pointer without an error.
package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

const (
	// ConfigKey is where the configuration lies; the engine has it seal-wrapped.
	ConfigKey = "config"
	// SeedKey is where the key lies that marks ids with their requester.
	SeedKey = "seed"

	groupPrefix  = "group/"
	policyPrefix = "policy/"
	rolePrefix   = "role/"
	openPrefix   = "open/"
	endedPrefix  = "ended/"
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
		Config:   newSingle[C](ConfigKey),
		Groups:   newCatalogue[approval.ApproverGroup](groupPrefix),
		Policies: newCatalogue[approval.Policy](policyPrefix),
		Roles:    newCatalogue[approval.Role](rolePrefix),
		Requests: &Requests{index: newIndex(), seed: newSingle[seed](SeedKey)},
	}
}

// Invalidate forgets what is cached of a key that another node wrote.
func (s *Store[C]) Invalidate(key string) {
	if name, open := strings.CutPrefix(key, openPrefix); open {
		if id, ours := parseID(name); ours {
			s.Requests.index.distrust(id)
		}
		return
	}
	s.Config.forget(key)
	s.Groups.forget(key)
	s.Policies.forget(key)
	s.Roles.forget(key)
	s.Requests.seed.forget(key)
}

// get returns nil without an error when there is nothing at the key.
func get(ctx context.Context, s logical.Storage, key string) (*logical.StorageEntry, error) {
	entry, err := s.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return entry, nil
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
