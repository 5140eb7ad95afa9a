package approval

import "slices"

// Alias is one login of an entity: the accessor of the auth mount and the name there.
type Alias struct {
	MountAccessor string `json:"mount_accessor"`
	Name          string `json:"name"`
}

// Person is who did something, frozen at the moment of doing it. The aliases are kept because entities can be
// merged later, while a login stays the login of one human being.
type Person struct {
	EntityID string  `json:"entity_id"`
	Name     string  `json:"name"`
	Aliases  []Alias `json:"aliases,omitempty"`
}

// Standing is what the identity store says of one entity at one moment. The zero value is an entity that does not exist.
type Standing struct {
	Person
	// Exists is false for an entity that is unknown, deleted, or merged into another one.
	Exists   bool
	Disabled bool
	// Groups are the names of the approver groups the entity belongs to.
	Groups []string
	// Metadata is the entity's own metadata, for templates.
	Metadata map[string]string
}

// problem says why an entity can do nothing, or "" if it can.
func (s Standing) problem() string {
	switch {
	case !s.Exists || s.EntityID == "":
		return "no longer exists in Vault (deleted or merged into another entity)"
	case s.Disabled:
		return "is disabled in Vault"
	}
	return ""
}

// Roster holds the standing of entities by entity id. An absent entity does not exist.
type Roster map[string]Standing

// people tells which entities are one human being: those that share an entity id or a login, directly or through others.
// It leads from each entity id and login to another of the same human being, in the end to the one that stands for all.
type people map[string]string

func (p people) find(key string) string {
	for {
		next, known := p[key]
		if !known || next == key {
			return key
		}
		key = next
	}
}

// add links the person's entity id with every login in the given snapshots of it.
func (p people) add(snapshots ...Person) {
	for _, person := range snapshots {
		own := p.of(person)
		for _, alias := range person.Aliases {
			p[p.find("alias\x00"+alias.MountAccessor+"\x00"+alias.Name)] = own
		}
	}
}

func (p people) of(person Person) string { return p.find("entity\x00" + person.EntityID) }

// isSamePerson reports whether two snapshots are of one human being.
func isSamePerson(a, b Person) bool {
	return a.EntityID == b.EntityID ||
		slices.ContainsFunc(a.Aliases, func(alias Alias) bool { return slices.Contains(b.Aliases, alias) })
}
