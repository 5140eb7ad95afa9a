package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/store"
	"github.com/vault-jit/vault-jit/plugin/text"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// definition is what approver groups, policies and roles have in common: they are named, written, listed, read and
// deleted alike.
type definition[T any, P definable[T]] struct {
	kind, collection, suffix string
	table                    wire.Table
	synopsis, help           string

	catalogue *store.Catalogue[T]
	// define, if it is not nil, is the definition with the given fields in place of what [wire.Define] makes; show, if it
	// is not nil, is what a read shows in place of what [wire.Show] does.
	define func(name string, current *T, given map[string]any) (T, error)
	show   func(T) (map[string]any, error)
	// check, if it is not nil, refuses one that names what does not exist. It asks the storage only.
	check func(ctx context.Context, c *call, value T) error
	// foresee, if it is not nil, refuses one that could never work, and tells of one that may not. It may ask Vault.
	foresee func(ctx context.Context, c *call, value T) (warnings []string, err error)
	// warn, if it is not nil, tells what to know of one that is stored.
	warn func(ctx context.Context, c *call, value T) (warnings []string, err error)
	// usedBy, if it is not nil, lists what still names the definition, in words.
	usedBy func(ctx context.Context, s logical.Storage, name string) ([]string, error)
}

// definable is what a definition of the core can do.
type definable[T any] interface {
	*T
	Validate() error
	Revise(now time.Time, by string)
}

func (def definition[T, P]) paths(b *backend) []*framework.Path {
	name := wire.NameField(def.kind)
	if def.define == nil {
		def.define = func(name string, current *T, given map[string]any) (T, error) {
			return wire.Define(def.table, name, current, given)
		}
	}
	if def.show == nil {
		def.show = func(value T) (map[string]any, error) { return wire.Show(def.table, value) }
	}
	if def.check == nil {
		def.check = func(context.Context, *call, T) error { return nil }
	}
	if def.usedBy == nil {
		def.usedBy = func(context.Context, logical.Storage, string) ([]string, error) { return nil, nil }
	}
	return []*framework.Path{b.accept(wire.Table{}, &framework.Path{
		Pattern:         def.collection + "/?",
		DisplayAttrs:    display(def.collection),
		Operations:      operations{logical.ListOperation: b.reading(def.list, "List the names; -detailed shows a summary of each.")},
		HelpSynopsis:    def.synopsis,
		HelpDescription: def.help,
	}), b.accept(def.table.With(name), &framework.Path{
		Pattern:        def.collection + "/" + framework.GenericNameRegex(name.Name),
		DisplayAttrs:   display(def.suffix),
		ExistenceCheck: def.exists,
		Operations: operations{
			logical.ReadOperation:   answering(def.table, b.reading(def.read, "Read one.")),
			logical.CreateOperation: b.writing(def.write, "Create one."),
			logical.UpdateOperation: b.writing(def.write, "Change one. Fields that are not given stay."),
			logical.DeleteOperation: b.writing(def.remove, "Delete one. Refused while something names it."),
		},
		HelpSynopsis:    def.synopsis,
		HelpDescription: def.help,
	})}
}

func (def definition[T, P]) exists(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
	name, _ := d.Raw["name"].(string)
	value, err := def.catalogue.Get(ctx, req.Storage, name)
	return value != nil, err
}

// writeTries is how often a definition is put together again because somebody else wrote it meanwhile.
const writeTries = 5

func (def definition[T, P]) write(ctx context.Context, c *call) (*logical.Response, error) {
	name := c.text("name")
	if err := text.CheckName(name); err != nil {
		return nil, refusal.In("name", err)
	}
	for range writeTries {
		value, warnings, stored, err := def.store(ctx, c, name)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", def.kind, name, err)
		}
		if stored && def.warn != nil {
			if warnings, err = def.warn(ctx, c, value); err != nil {
				warnings = []string{fmt.Sprintf("it is stored, but what to know of it cannot be told now: %v", err)}
			}
		}
		if stored {
			return answerWarnings(warnings), nil
		}
	}
	return nil, refusal.Newf("name", "%s %q is being changed by others all the time; try again", def.kind, name)
}

// store stores the definition with the given fields, unless it changed while it was put together: foresee may ask Vault,
// and no lock is held meanwhile.
func (def definition[T, P]) store(ctx context.Context, c *call, name string) (value T, warnings []string, stored bool, err error) {
	current, err := def.catalogue.Get(ctx, c.req.Storage, name)
	if err == nil {
		value, err = def.define(name, current, c.given)
	}
	if err == nil {
		err = P(&value).Validate()
	}
	if err == nil {
		err = def.check(ctx, c, value)
	}
	if err == nil && def.foresee != nil {
		warnings, err = def.foresee(ctx, c, value)
	}
	if err != nil {
		return value, nil, false, err
	}
	c.definitions.Lock()
	defer c.definitions.Unlock()
	now, err := def.catalogue.Get(ctx, c.req.Storage, name)
	if err != nil || now != current {
		return value, nil, false, err
	}
	if err := def.check(ctx, c, value); err != nil {
		return value, nil, false, err
	}
	P(&value).Revise(c.now(), c.req.DisplayName)
	return value, warnings, true, def.catalogue.Put(ctx, c.req.Storage, name, value)
}

// visit calls see for each value of a catalogue, in the order of the names, which it returns.
func visit[T any](
	ctx context.Context, s logical.Storage, catalogue *store.Catalogue[T], see func(name string, value T) error,
) ([]string, error) {
	names, err := catalogue.List(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		value, err := catalogue.Get(ctx, s, name)
		if err == nil && value != nil {
			err = see(name, *value)
		}
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (def definition[T, P]) list(ctx context.Context, c *call) (*logical.Response, error) {
	info := map[string]any{}
	names, err := visit(ctx, c.req.Storage, def.catalogue, func(name string, value T) error {
		shown, err := def.show(value)
		info[name] = def.table.Summarise(shown)
		return err
	})
	if err != nil {
		return nil, err
	}
	return logical.ListResponseWithInfo(names, info), nil
}

func (def definition[T, P]) read(ctx context.Context, c *call) (*logical.Response, error) {
	value, err := def.catalogue.Get(ctx, c.req.Storage, c.text("name"))
	if err != nil || value == nil {
		return nil, err
	}
	shown, err := def.show(*value)
	return &logical.Response{Data: shown}, err
}

func (def definition[T, P]) remove(ctx context.Context, c *call) (*logical.Response, error) {
	c.definitions.Lock()
	defer c.definitions.Unlock()
	name := c.text("name")
	users, err := def.usedBy(ctx, c.req.Storage, name)
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return nil, refusal.New("name", fmt.Sprintf("%s %q is used by %s", def.kind, name, strings.Join(users, ", ")), "change or delete that first")
	}
	return nil, def.catalogue.Delete(ctx, c.req.Storage, name)
}

// listUsers lists, as `kind "name"`, the objects of a catalogue for which the condition holds.
func listUsers[T any](ctx context.Context, s logical.Storage, kind string, catalogue *store.Catalogue[T], condition func(T) bool) ([]string, error) {
	var found []string
	_, err := visit(ctx, s, catalogue, func(name string, value T) error {
		if condition(value) {
			found = append(found, fmt.Sprintf("%s %q", kind, name))
		}
		return nil
	})
	return found, err
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
