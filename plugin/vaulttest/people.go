package vaulttest

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// A Person is a userpass user with an identity entity.
type Person struct {
	// Name of the user, the entity and the alias.
	Name string
	// EntityID is the id by which the engine knows the person.
	EntityID string
	// AuthMount is the userpass mount that the person logs in at.
	AuthMount string
	// Password to log in with.
	Password string
	// Client has the token of the last login.
	Client *api.Client

	cluster *Cluster
}

// Person makes a person with the given ACL policies and logs in. A second person of the same name is called name-2.
func (c *Cluster) Person(ctx context.Context, name string, policies ...string) (*Person, error) {
	return c.PersonAt(ctx, "userpass", name, policies...)
}

// PersonAt makes a person at the given userpass mount. Entities can be merged only if their aliases are at different
// mounts.
func (c *Cluster) PersonAt(ctx context.Context, authMount, name string, policies ...string) (*Person, error) {
	if err := c.enable(ctx, "sys/auth/"+authMount, "userpass"); err != nil {
		return nil, err
	}
	mounted, err := c.root.Sys().GetAuthWithContext(ctx, authMount)
	if err != nil {
		return nil, fmt.Errorf("reading auth/%s: %w", authMount, err)
	}
	p := &Person{Name: c.reserveName("person", name), AuthMount: authMount, Password: generateText(), cluster: c}
	err = c.put(ctx, "auth/"+authMount+"/users/"+p.Name, map[string]any{
		"password": p.Password, "token_policies": policies,
	})
	if err != nil {
		return nil, err
	}
	entity, err := c.write(ctx, "identity/entity", map[string]any{"name": p.Name})
	if err != nil {
		return nil, err
	}
	if p.EntityID, err = needString(entity, "id", "entity "+p.Name); err != nil {
		return nil, err
	}
	err = c.put(ctx, "identity/entity-alias", map[string]any{
		"name": p.Name, "canonical_id": p.EntityID, "mount_accessor": mounted.Accessor,
	})
	if err != nil {
		return nil, err
	}
	return p, p.Login(ctx)
}

// Login logs in again and replaces Client. Earlier clients keep their tokens.
func (p *Person) Login(ctx context.Context) error {
	client, err := p.cluster.Client("")
	if err != nil {
		return err
	}
	secret, err := client.Logical().WriteWithContext(ctx, "auth/"+p.AuthMount+"/login/"+p.Name, map[string]any{"password": p.Password})
	if err != nil {
		return fmt.Errorf("logging in %s: %w", p.Name, err)
	}
	if secret == nil || secret.Auth == nil {
		return fmt.Errorf("logging in %s: Vault gave no token", p.Name)
	}
	client.SetToken(secret.Auth.ClientToken)
	p.Client = client
	return nil
}

// At makes a client of the person's at one node of the cluster.
func (p *Person) At(n *Node) (*api.Client, error) { return n.Client(p.Client.Token()) }

// Write writes with the person's token and returns Vault's answer or error unchanged.
func (p *Person) Write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	return p.Client.Logical().WriteWithContext(ctx, path, data)
}

// Read reads with the person's token and returns Vault's answer or error unchanged.
func (p *Person) Read(ctx context.Context, path string) (*api.Secret, error) {
	return p.Client.Logical().ReadWithContext(ctx, path)
}

// SetDisabled disables the person's entity, or enables it again.
func (p *Person) SetDisabled(ctx context.Context, disabled bool) error {
	return p.cluster.put(ctx, "identity/entity/id/"+p.EntityID, map[string]any{"disabled": disabled})
}

// Delete deletes the person's entity.
func (p *Person) Delete(ctx context.Context) error {
	return p.cluster.delete(ctx, "identity/entity/id/"+p.EntityID)
}

// MergeEntities merges the first person's entity into the second one's and deletes it. Both must be at different auth
// mounts, see PersonAt.
func (c *Cluster) MergeEntities(ctx context.Context, from, into *Person) error {
	return c.put(ctx, "identity/entity/merge", map[string]any{
		"from_entity_ids": []string{from.EntityID}, "to_entity_id": into.EntityID,
	})
}

// A Group is an internal group of Vault's identities.
type Group struct {
	// Name of the group.
	Name string
	// ID of the group, to which approver groups and roles refer.
	ID string

	cluster *Cluster
}

// Group makes a group of people. A second group of the same name is called name-2.
func (c *Cluster) Group(ctx context.Context, name string, people ...*Person) (*Group, error) {
	g := &Group{Name: c.reserveName("group", name), cluster: c}
	made, err := c.write(ctx, "identity/group", map[string]any{
		"name": g.Name, "type": "internal", "member_entity_ids": entityIDs(people),
	})
	if err != nil {
		return nil, err
	}
	g.ID, err = needString(made, "id", "group "+g.Name)
	return g, err
}

// SetMembers replaces the group's members.
func (g *Group) SetMembers(ctx context.Context, people ...*Person) error {
	return g.cluster.put(ctx, "identity/group/id/"+g.ID, map[string]any{"member_entity_ids": entityIDs(people)})
}

// SetSubgroups replaces the group's subgroups, whose members are members of the group.
func (g *Group) SetSubgroups(ctx context.Context, groups ...*Group) error {
	ids := make([]string, 0, len(groups))
	for _, sub := range groups {
		ids = append(ids, sub.ID)
	}
	return g.cluster.put(ctx, "identity/group/id/"+g.ID, map[string]any{"member_group_ids": ids})
}

func entityIDs(people []*Person) []string {
	ids := make([]string, 0, len(people))
	for _, p := range people {
		ids = append(ids, p.EntityID)
	}
	return ids
}
