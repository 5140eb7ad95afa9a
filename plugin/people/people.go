// Package people answers who somebody is, and what a request depends on outside its record: Vault's identity store, the
// definitions as they are now, and who could approve.
package people

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// Directory is Vault's identity store, as far as it is asked. [Fake] stands beside it for tests.
type Directory interface {
	// EntityInfo returns the entity, or nil if it is unknown, deleted or merged into another one.
	EntityInfo(entityID string) (*logical.Entity, error)
	// GroupsForEntity lists the identity groups that the entity is in, directly or through others.
	GroupsForEntity(entityID string) ([]*logical.Group, error)
}

// Source is where answers come from.
type Source struct {
	Directory Directory
	Groups    *store.Catalogue[approval.ApproverGroup]
	Roles     *store.Catalogue[approval.Role]
	Policies  *store.Catalogue[approval.Policy]
	// Session reaches Vault, for the members of identity groups. An error of it means that they cannot be known.
	Session func(context.Context, logical.Storage) (*session.Session, error)
	// MaxWindow is the longest lease that the mount allows.
	MaxWindow func() time.Duration
	Logger    hclog.Logger
}

// Lookup asks each thing once and only when it matters: each question costs about as much as a read of the storage. It
// serves one call of a handler, never longer, so that what it knows is as fresh as the call.
type Lookup struct {
	Source
	storage  logical.Storage
	entities map[string]approval.Standing // without approver groups
	groups   map[string][]string          // identity group ids by entity id
	// LongestLease is the longest lease that the mount allows.
	LongestLease func() time.Duration
}

// Lookup begins a call.
func (s Source) Lookup(storage logical.Storage) *Lookup {
	return &Lookup{
		Source: s, storage: storage, entities: map[string]approval.Standing{}, groups: map[string][]string{},
		LongestLease: sync.OnceValue(s.MaxWindow),
	}
}

// Entity is the standing of an entity, without regard to approver groups.
func (l *Lookup) Entity(entityID string) (approval.Standing, error) {
	if standing, known := l.entities[entityID]; known {
		return standing, nil
	}
	entity, err := l.Directory.EntityInfo(entityID)
	if err != nil {
		return approval.Standing{}, fmt.Errorf("looking up entity %s: %w", entityID, err)
	}
	standing := approval.Standing{Person: approval.Person{EntityID: entityID}}
	if entity != nil && entity.ID == entityID {
		standing = standingOf(entity)
	}
	l.entities[entityID] = standing
	return standing, nil
}

func standingOf(entity *logical.Entity) approval.Standing {
	person := approval.Person{EntityID: entity.ID, Name: entity.Name}
	for _, alias := range entity.Aliases {
		person.Aliases = append(person.Aliases, approval.Alias{MountAccessor: alias.MountAccessor, Name: alias.Name})
	}
	slices.SortFunc(person.Aliases, func(a, b approval.Alias) int {
		return slices.Compare([]string{a.MountAccessor, a.Name}, []string{b.MountAccessor, b.Name})
	})
	// Entity names are often generated; a login name is what people know each other by.
	if len(person.Aliases) > 0 {
		person.Name = person.Aliases[0].Name
	}
	return approval.Standing{Person: person, Exists: true, Disabled: entity.Disabled, Metadata: entity.Metadata}
}

// IdentityGroups lists those of the given identity groups that an entity is in, directly or through others.
func (l *Lookup) IdentityGroups(entityID string, among []string) ([]string, error) {
	own, known := l.groups[entityID]
	if !known && len(among) > 0 {
		groups, err := l.Directory.GroupsForEntity(entityID)
		if err != nil {
			return nil, fmt.Errorf("looking up the groups of entity %s: %w", entityID, err)
		}
		for _, group := range groups {
			own = append(own, group.ID)
		}
		l.groups[entityID] = own
	}
	return slices.DeleteFunc(slices.Clone(own), func(id string) bool { return !slices.Contains(among, id) }), nil
}

// Standing is an entity's standing with regard to the given approver groups.
func (l *Lookup) Standing(ctx context.Context, entityID string, groups []string) (approval.Standing, error) {
	standing, err := l.Entity(entityID)
	if err != nil || !standing.Exists {
		return standing, err
	}
	for _, name := range groups {
		group, err := l.Groups.Get(ctx, l.storage, name)
		if err != nil {
			return approval.Standing{}, err
		}
		if group == nil {
			continue
		}
		if !group.Has(entityID, nil) {
			own, err := l.IdentityGroups(entityID, group.IdentityGroupIDs)
			if err != nil {
				return approval.Standing{}, err
			}
			if !group.Has(entityID, own) {
				continue
			}
		}
		standing.Groups = append(standing.Groups, name)
	}
	return standing, nil
}

// Caller is who made the call at hand, without approver groups.
type Caller struct {
	approval.Standing
	// Auditor is whether the caller sees every request and may end every grant.
	Auditor bool

	lookup *Lookup
}

// Caller identifies who calls, by the entity of the token. It refuses somebody who can do nothing.
func (l *Lookup) Caller(entityID string, auditorGroupIDs []string) (Caller, error) {
	if entityID == "" {
		return Caller{}, refusal.New("", "this token has no entity, so nobody would be answerable",
			"log in as a person or a machine with an entity (root tokens and some batch tokens have none)")
	}
	standing, err := l.Entity(entityID)
	if err != nil {
		return Caller{}, err
	}
	who := Caller{Standing: standing, lookup: l}
	if !who.Exists {
		return Caller{}, refusal.New("", "the entity of this token no longer exists in Vault (deleted or merged into another one): log in again", "")
	}
	if who.Disabled {
		return Caller{}, refusal.New("", "the entity of this token is disabled in Vault", "")
	}
	own, err := l.IdentityGroups(entityID, auditorGroupIDs)
	if err != nil {
		return Caller{}, err
	}
	who.Auditor = len(own) > 0
	return who, nil
}

// ForRequest is the caller's standing with regard to a request, and whether they may see it.
func (c Caller) ForRequest(ctx context.Context, r approval.Request) (standing approval.Standing, maySee bool, err error) {
	if c.lookup == nil {
		return approval.Standing{}, false, nil
	}
	standing, err = c.lookup.Standing(ctx, c.EntityID, r.Ask.Policy.Groups())
	return standing, err == nil && r.MaySee(standing, c.Auditor), err
}

// Everywhere is the caller's standing with regard to all approver groups that can be read. Nobody is in another one.
func (c Caller) Everywhere(ctx context.Context) (approval.Standing, error) {
	if c.lookup == nil {
		return approval.Standing{}, nil
	}
	names, err := c.lookup.Groups.List(ctx, c.lookup.storage)
	if err != nil {
		return approval.Standing{}, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, err := c.lookup.Groups.Get(ctx, c.lookup.storage, name)
		if !errors.Is(err, store.ErrUnreadable) {
			return false
		}
		c.lookup.Logger.Error("an approver group cannot be read", "name", name, "problem", err)
		return true
	})
	return c.lookup.Standing(ctx, c.EntityID, names)
}
