package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

var errNoEntity = errors.New("this token has no entity, so nobody would be answerable; log in as a person or a machine with an entity (root tokens and some batch tokens have none)")

// lookup asks the identity store, each thing once and only when it matters: each question costs about as much as a read
// of the storage. One lookup serves one call of a handler, never longer: what it knows is as fresh as the call.
type lookup struct {
	b        *backend
	storage  logical.Storage
	entities map[string]approval.Standing // without approver groups
	groups   map[string][]string          // identity group ids by entity id
	longest  time.Duration
}

func (b *backend) newLookup(s logical.Storage) *lookup {
	return &lookup{b: b, storage: s, entities: map[string]approval.Standing{}, groups: map[string][]string{}}
}

// maxWindow is the longest lease the mount allows.
func (l *lookup) maxWindow() time.Duration {
	if l.longest == 0 {
		l.longest = l.b.System().MaxLeaseTTL()
	}
	return l.longest
}

// entity is the standing of an entity, without regard to approver groups.
func (l *lookup) entity(entityID string) (approval.Standing, error) {
	if standing, known := l.entities[entityID]; known {
		return standing, nil
	}
	entity, err := l.b.System().EntityInfo(entityID)
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

// identityGroups lists the ids of the identity groups that an entity is in, directly or through others.
func (l *lookup) identityGroups(entityID string) ([]string, error) {
	if ids, known := l.groups[entityID]; known {
		return ids, nil
	}
	groups, err := l.b.System().GroupsForEntity(entityID)
	if err != nil {
		return nil, fmt.Errorf("looking up the groups of entity %s: %w", entityID, err)
	}
	ids := make([]string, len(groups))
	for i, group := range groups {
		ids[i] = group.ID
	}
	l.groups[entityID] = ids
	return ids, nil
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

// standing is an entity's standing with regard to the given approver groups.
func (l *lookup) standing(ctx context.Context, entityID string, groups []string) (approval.Standing, error) {
	standing, err := l.entity(entityID)
	if err != nil || !standing.Exists {
		return standing, err
	}
	for _, name := range groups {
		group, err := l.b.store.Groups.Get(ctx, l.storage, name)
		if err != nil {
			return approval.Standing{}, err
		}
		if group == nil {
			continue
		}
		var own []string
		if len(group.IdentityGroupIDs) > 0 && !group.Has(entityID, nil) {
			if own, err = l.identityGroups(entityID); err != nil {
				return approval.Standing{}, err
			}
		}
		if group.Has(entityID, own) {
			standing.Groups = append(standing.Groups, name)
		}
	}
	return standing, nil
}

// standingEverywhere is an entity's standing with regard to all approver groups that can be read. Nobody is in another one.
func (l *lookup) standingEverywhere(ctx context.Context, entityID string) (approval.Standing, error) {
	names, err := l.b.store.Groups.List(ctx, l.storage)
	if err != nil {
		return approval.Standing{}, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, err := l.b.store.Groups.Get(ctx, l.storage, name)
		if !errors.Is(err, store.ErrUnreadable) {
			return false
		}
		l.b.Logger().Error("an approver group cannot be read", "name", name, "problem", err)
		return true
	})
	return l.standing(ctx, entityID, names)
}

// caller is who made the call at hand.
type caller struct {
	approval.Standing // without approver groups
	auditor           bool
}

// caller identifies who calls. A problem is the caller's own; a fault is the system's.
func (l *lookup) caller(ctx context.Context, req *logical.Request) (who caller, problem, fault error) {
	if req.EntityID == "" {
		return caller{}, errNoEntity, nil
	}
	if who.Standing, fault = l.entity(req.EntityID); fault != nil {
		return caller{}, nil, fault
	}
	if !who.Exists {
		return caller{}, errors.New("the entity of this token no longer exists in Vault (deleted or merged into another one): log in again"), nil
	}
	if who.Disabled {
		return caller{}, errors.New("the entity of this token is disabled in Vault"), nil
	}
	config, err := l.b.store.Config.Get(ctx, l.storage)
	if err != nil {
		return caller{}, nil, err
	}
	if config != nil && len(config.AuditorGroupIDs) > 0 {
		groups, err := l.identityGroups(req.EntityID)
		if err != nil {
			return caller{}, nil, err
		}
		who.auditor = slices.ContainsFunc(groups, func(id string) bool { return slices.Contains(config.AuditorGroupIDs, id) })
	}
	return who, nil, nil
}

// claimFacts gathers everything that decides whether a request can be claimed.
func (l *lookup) claimFacts(ctx context.Context, r approval.Request) (approval.ClaimFacts, error) {
	facts := approval.ClaimFacts{Roster: approval.Roster{}, MaxWindow: l.maxWindow()}
	requester := r.Ask.Requester.EntityID
	var err error
	if facts.Role, err = l.b.store.Roles.Get(ctx, l.storage, r.Ask.Role); err != nil {
		return facts, err
	}
	if facts.Role != nil && len(facts.Role.RequesterIdentityGroupIDs) > 0 {
		if facts.IdentityGroupIDs, err = l.identityGroups(requester); err != nil {
			return facts, err
		}
	}
	if facts.Policy, err = l.b.store.Policies.Get(ctx, l.storage, r.Ask.Policy.Name); err != nil {
		return facts, err
	}
	groups := r.Ask.Policy.Groups()
	if facts.Policy != nil {
		groups = append(groups, facts.Policy.Groups()...)
		slices.Sort(groups)
		groups = slices.Compact(groups)
	}
	if facts.Requester, err = l.entity(requester); err != nil {
		return facts, err
	}
	facts.Roster[requester] = facts.Requester
	for _, d := range r.Decisions {
		if facts.Roster[d.Approver.EntityID], err = l.standing(ctx, d.Approver.EntityID, groups); err != nil {
			return facts, err
		}
	}
	return facts, nil
}

// censusPeople bounds how many members of one approver group are looked at: twice what one rule can ask for.
const censusPeople = 2 * approval.MaxApprovals

// censusTime bounds how long a census waits for Vault. It decides nothing, and whoever reads a request waits for it.
const censusTime = 3 * time.Second

// census finds out who is in the approver groups, as far as the engine may know.
func (l *lookup) census(ctx context.Context, groups []string) (approval.Census, error) {
	asking, cancel := context.WithTimeout(ctx, censusTime)
	defer cancel()
	census := approval.Census{}
	for _, name := range groups {
		group, err := l.b.store.Groups.Get(ctx, l.storage, name)
		if err != nil {
			return nil, err
		}
		if group == nil {
			continue
		}
		members, err := l.members(asking, *group)
		if err != nil {
			return nil, err
		}
		census[name] = members
	}
	return census, nil
}

func (l *lookup) members(ctx context.Context, group approval.ApproverGroup) (approval.Members, error) {
	var members approval.Members
	ids := slices.Clone(group.EntityIDs)
	for _, groupID := range group.IdentityGroupIDs {
		var more []string
		known := false
		if vault, err := l.b.issuerFor(ctx, l.storage); err == nil {
			more, known = vault.GroupMembers(ctx, groupID)
		}
		ids = append(ids, more...)
		if !known {
			members.Unknown = append(members.Unknown, groupID)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > censusPeople {
		ids = ids[:censusPeople]
		members.Unknown = append(members.Unknown, "and more")
	}
	for _, id := range ids {
		standing, err := l.entity(id)
		if err != nil {
			return members, err
		}
		members.People = append(members.People, standing)
	}
	// By name, because people read it.
	slices.SortFunc(members.People, func(a, b approval.Standing) int { return strings.Compare(a.Name, b.Name) })
	return members, nil
}
