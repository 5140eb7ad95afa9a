package people

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/session"
)

// World is everything that a claim, and the verdict on it, depends on now, but for the census. It asks Vault's identity
// store alone, nothing over HTTP.
func (l *Lookup) World(ctx context.Context, r approval.Request) (approval.World, error) {
	requester := r.Ask.Requester.EntityID
	w := approval.World{Roster: approval.Roster{}, MaxWindow: l.LongestLease()}
	var err error
	if w.Role, err = l.roleNow(ctx, r.Ask.Role, requester); err != nil {
		return approval.World{}, err
	}
	if w.Policy, err = l.Policies.Get(ctx, l.storage, r.Ask.Policy.Name); err != nil {
		return approval.World{}, err
	}
	if w.Requester, err = l.Entity(requester); err != nil {
		return approval.World{}, err
	}
	w.Roster[requester] = w.Requester
	groups := r.Ask.Policy.Groups()
	if w.Policy != nil {
		groups = append(groups, w.Policy.Groups()...)
		slices.Sort(groups)
		groups = slices.Compact(groups)
	}
	for _, d := range r.Decisions {
		if w.Roster[d.Approver.EntityID], err = l.Standing(ctx, d.Approver.EntityID, groups); err != nil {
			return approval.World{}, err
		}
	}
	return w, nil
}

// WorldNow is the world as it is at this moment, whatever was asked before in the same call.
func (c Caller) WorldNow(ctx context.Context, r approval.Request) (approval.World, error) {
	if c.lookup == nil {
		return approval.World{}, nil
	}
	return c.lookup.Source.Lookup(c.lookup.storage).World(ctx, r)
}

func (l *Lookup) roleNow(ctx context.Context, name, requester string) (*approval.RoleNow, error) {
	role, err := l.Roles.Get(ctx, l.storage, name)
	if err != nil || role == nil {
		return nil, err
	}
	own, err := l.IdentityGroups(requester, role.RequesterIdentityGroupIDs)
	if err != nil {
		return nil, err
	}
	return role.Now(requester, own)
}

const (
	// maxMembers bounds how many members of one approver group are looked at: twice what one rule can ask for.
	maxMembers = 2 * approval.MaxApprovals
	// CensusTime bounds how long a census waits for Vault. It decides nothing, and whoever reads a request waits for it.
	CensusTime = 3 * time.Second
)

// Census finds out who is in the approver groups, as far as the engine may know. It asks Vault over HTTP, so no lock may
// be held meanwhile.
func (l *Lookup) Census(ctx context.Context, groups []string) (approval.Census, error) {
	asking, cancel := context.WithTimeout(ctx, CensusTime)
	defer cancel()
	census := approval.Census{}
	for _, name := range groups {
		group, err := l.Groups.Get(ctx, l.storage, name)
		if err != nil {
			return nil, err
		}
		if group == nil {
			continue
		}
		if census[name], err = l.listMembers(asking, *group); err != nil {
			return nil, err
		}
	}
	return census, nil
}

func (l *Lookup) listMembers(ctx context.Context, group approval.ApproverGroup) (approval.Members, error) {
	var members approval.Members
	ids := slices.Clone(group.EntityIDs)
	for _, groupID := range group.IdentityGroupIDs {
		var more []string
		known := false
		if vault, err := l.Session(ctx, l.storage); err == nil {
			more, known = collectMembers(ctx, vault, groupID, map[string]bool{})
		}
		ids = append(ids, more...)
		if !known {
			members.Unknown = append(members.Unknown, groupID)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > maxMembers {
		ids = ids[:maxMembers]
		members.Unknown = append(members.Unknown, "and more")
	}
	for _, id := range ids {
		standing, err := l.Entity(id)
		if err != nil {
			return members, err
		}
		members.People = append(members.People, standing)
	}
	// By name, because people read it.
	slices.SortFunc(members.People, func(a, b approval.Standing) int { return strings.Compare(a.Name, b.Name) })
	return members, nil
}

// collectMembers lists the entity ids of a Vault identity group and of the groups inside it that can be read, but for
// groups that it has seen; known is false if any could not be.
func collectMembers(ctx context.Context, vault *session.Session, groupID string, seen map[string]bool) (entityIDs []string, known bool) {
	if seen[groupID] {
		return nil, true
	}
	seen[groupID] = true
	group, err := readGroup(ctx, vault, groupID)
	if err != nil || !session.IsPathSegment(groupID) {
		return nil, false
	}
	known = true
	entityIDs = session.ListWords(group["member_entity_ids"])
	for _, inner := range session.ListWords(group["member_group_ids"]) {
		more, ok := collectMembers(ctx, vault, inner, seen)
		entityIDs, known = append(entityIDs, more...), known && ok
	}
	return entityIDs, known
}

// readGroup is what Vault says of an identity group; nil if there is none.
func readGroup(ctx context.Context, vault *session.Session, id string) (map[string]any, error) {
	if !session.IsPathSegment(id) {
		return nil, nil // no group has such an id
	}
	answer, err := vault.Read(ctx, "identity/group/id/"+id)
	return answer.Data, err
}

// GroupWarnings tells which ids are of no identity group, if the engine may look.
func GroupWarnings(ctx context.Context, vault *session.Session, ids []string) []string {
	var warnings []string
	for _, id := range ids {
		if group, err := readGroup(ctx, vault, id); err == nil && group == nil {
			warnings = append(warnings, fmt.Sprintf("Vault knows no identity group with the id %q (a group's name is not its id)", id))
		}
	}
	return warnings
}
