package people

import (
	"sync/atomic"

	"github.com/hashicorp/vault/sdk/logical"
)

// Fake is a [Directory] of made-up people, for tests. What is not in it does not exist.
type Fake struct {
	Entities map[string]*logical.Entity
	// Groups are the ids of the identity groups that an entity is in, by entity id.
	Groups map[string][]string
	// Error, if set, is the answer to every question.
	Error error
	// Asked counts the questions.
	Asked atomic.Int64
}

// EntityInfo returns the entity, or nil.
func (f *Fake) EntityInfo(entityID string) (*logical.Entity, error) {
	f.Asked.Add(1)
	return f.Entities[entityID], f.Error
}

// GroupsForEntity lists the groups of the entity.
func (f *Fake) GroupsForEntity(entityID string) ([]*logical.Group, error) {
	f.Asked.Add(1)
	var groups []*logical.Group
	for _, id := range f.Groups[entityID] {
		groups = append(groups, &logical.Group{ID: id})
	}
	return groups, f.Error
}
