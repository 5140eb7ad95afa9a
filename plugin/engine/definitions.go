package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/store"
	"github.com/vault-jit/vault-jit/plugin/text"
)

// definition is what approver groups, policies and roles have in common: they are named, listed, read and deleted alike.
type definition[T any] struct {
	kind, collection, suffix string
	fields                   map[string]*framework.FieldSchema
	synopsis, help           string

	catalogue *store.Catalogue[T]
	write     handler
	// describe gives the fields of a read, summarise those of a detailed list.
	describe, summarise func(T) map[string]any
	// usedBy lists what still names the object, in words.
	usedBy func(ctx context.Context, s logical.Storage, name string) ([]string, error)
}

func (def definition[T]) paths(b *backend) []*framework.Path {
	def.fields["name"] = &framework.FieldSchema{Type: framework.TypeString, Description: "Name of the " + def.kind + ".", Required: true}
	write := func(ctx context.Context, c *call) (*logical.Response, error) {
		if err := text.CheckName(field[string](c.fields, "name")); err != nil {
			return nil, refusal.In("name", err)
		}
		return def.write(ctx, c)
	}
	exists := func(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
		value, err := def.catalogue.Get(ctx, req.Storage, field[string](d, "name"))
		return value != nil, err
	}
	return []*framework.Path{{
		Pattern:         def.collection + "/?",
		DisplayAttrs:    display(def.collection),
		Operations:      operations{logical.ListOperation: b.reading(def.list, "List the names; -detailed shows a summary of each.")},
		HelpSynopsis:    def.synopsis,
		HelpDescription: def.help,
	}, {
		Pattern:        def.collection + "/" + framework.GenericNameRegex("name"),
		DisplayAttrs:   display(def.suffix),
		Fields:         def.fields,
		ExistenceCheck: exists,
		Operations: operations{
			logical.ReadOperation:   b.reading(def.read, "Read one."),
			logical.CreateOperation: b.writing(write, "Create one."),
			logical.UpdateOperation: b.writing(write, "Change one. Fields that are not given stay."),
			logical.DeleteOperation: b.writing(def.remove, "Delete one. Refused while something names it."),
		},
		HelpSynopsis:    def.synopsis,
		HelpDescription: def.help,
	}}
}

// visit calls see for each value of a catalogue, in the order of the names, which it returns.
func visit[T any](
	ctx context.Context, s logical.Storage, catalogue *store.Catalogue[T], see func(name string, value T),
) ([]string, error) {
	names, err := catalogue.List(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		value, err := catalogue.Get(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if value != nil {
			see(name, *value)
		}
	}
	return names, nil
}

func (def definition[T]) list(ctx context.Context, c *call) (*logical.Response, error) {
	info := map[string]any{}
	names, err := visit(ctx, c.req.Storage, def.catalogue, func(name string, value T) { info[name] = def.summarise(value) })
	if err != nil {
		return nil, err
	}
	return logical.ListResponseWithInfo(names, info), nil
}

func (def definition[T]) read(ctx context.Context, c *call) (*logical.Response, error) {
	value, err := def.catalogue.Get(ctx, c.req.Storage, field[string](c.fields, "name"))
	if err != nil || value == nil {
		return nil, err
	}
	return &logical.Response{Data: def.describe(*value)}, nil
}

func (def definition[T]) remove(ctx context.Context, c *call) (*logical.Response, error) {
	c.definitions.Lock()
	defer c.definitions.Unlock()
	name := field[string](c.fields, "name")
	users, err := def.usedBy(ctx, c.req.Storage, name)
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return nil, refusal.Newf("", "%s %q is used by %s; change or delete that first", def.kind, name, strings.Join(users, ", "))
	}
	return nil, def.catalogue.Delete(ctx, c.req.Storage, name)
}

// listUsers lists, as `kind "name"`, the objects of a catalogue for which the condition holds.
func listUsers[T any](ctx context.Context, s logical.Storage, kind string, catalogue *store.Catalogue[T], condition func(T) bool) ([]string, error) {
	var found []string
	_, err := visit(ctx, s, catalogue, func(name string, value T) {
		if condition(value) {
			found = append(found, fmt.Sprintf("%s %q", kind, name))
		}
	})
	return found, err
}

// revise is the revision of what this call writes.
func (c *call) revise(current approval.Revision) approval.Revision {
	return approval.Revision{Version: current.Version + 1, UpdatedAt: c.now().UTC().Round(0), UpdatedBy: c.req.DisplayName}
}

// findShortfalls says in sentences which rules of a policy too few people could meet. It is certain if all members are known.
func (c *call) findShortfalls(ctx context.Context, policy approval.Policy) (shortfalls []string, certain bool, err error) {
	census, err := c.people.Census(ctx, policy.Groups())
	if err != nil {
		return nil, false, err
	}
	prospect := approval.Check(policy, approval.Person{}, census)
	for _, rule := range prospect.Rules {
		switch {
		case rule.Satisfiable:
		case rule.Known:
			shortfalls = append(shortfalls, fmt.Sprintf("rule %q needs %d approvals, but its approver groups lack %d people for that (one person counts for one rule)",
				rule.Name, rule.Approvals, -rule.Spare))
		default:
			shortfalls = append(shortfalls, fmt.Sprintf("rule %q needs %d approvals; whether its approver groups have enough people is not known, because not all members can be read",
				rule.Name, rule.Approvals))
		}
	}
	return shortfalls, prospect.Known, nil
}
