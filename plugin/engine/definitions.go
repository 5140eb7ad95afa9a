package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// definition is what approver groups, policies and roles have in common: they are named, listed, read and deleted alike.
type definition[T any] struct {
	kind      string
	catalogue *store.Catalogue[T]
	// describe gives the fields of a read, summarise those of a detailed list.
	describe, summarise func(T) map[string]any
	// usedBy lists what still names the object, in words.
	usedBy func(ctx context.Context, s logical.Storage, name string) ([]string, error)
}

type definitionPaths struct {
	prefix, display string
	fields          map[string]*framework.FieldSchema
	write           framework.OperationFunc
	synopsis, help  string
}

func paths[T any](b *backend, def definition[T], p definitionPaths) []*framework.Path {
	p.fields["name"] = &framework.FieldSchema{Type: framework.TypeString, Description: "Name of the " + def.kind + ".", Required: true}
	write := func(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
		if err := store.CheckName(field[string](d, "name")); err != nil {
			return refused(fmt.Errorf("name: %w", err)), nil
		}
		return p.write(ctx, req, d)
	}
	exists := func(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
		value, err := def.catalogue.Get(ctx, req.Storage, field[string](d, "name"))
		return value != nil, err
	}
	return []*framework.Path{{
		Pattern:      p.prefix + "/?",
		DisplayAttrs: display(p.prefix),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: reading(def.list, "List the names; -detailed shows a summary of each."),
		},
		HelpSynopsis:    p.synopsis,
		HelpDescription: p.help,
	}, {
		Pattern:        p.prefix + "/" + framework.GenericNameRegex("name"),
		DisplayAttrs:   display(p.display),
		Fields:         p.fields,
		ExistenceCheck: exists,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   reading(def.read, "Read one."),
			logical.CreateOperation: changing(write, "Create one."),
			logical.UpdateOperation: changing(write, "Change one. Fields that are not given stay."),
			logical.DeleteOperation: changing(b.deleting(def.remove), "Delete one. Refused while something names it."),
		},
		HelpSynopsis:    p.synopsis,
		HelpDescription: p.help,
	}}
}

func (def definition[T]) list(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := def.catalogue.List(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	info := make(map[string]any, len(names))
	for _, name := range names {
		value, err := def.catalogue.Get(ctx, req.Storage, name)
		if err != nil {
			return nil, err
		}
		if value != nil {
			info[name] = def.summarise(*value)
		}
	}
	return logical.ListResponseWithInfo(names, info), nil
}

func (def definition[T]) read(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	value, err := def.catalogue.Get(ctx, req.Storage, field[string](d, "name"))
	if err != nil || value == nil {
		return nil, err
	}
	return &logical.Response{Data: def.describe(*value)}, nil
}

func (def definition[T]) remove(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := field[string](d, "name")
	users, err := def.usedBy(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return refused(fmt.Errorf("%s %q is used by %s; change or delete that first", def.kind, name, strings.Join(users, ", "))), nil
	}
	return nil, def.catalogue.Delete(ctx, req.Storage, name)
}

func (b *backend) deleting(handler framework.OperationFunc) framework.OperationFunc {
	return func(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
		b.definitions.Lock()
		defer b.definitions.Unlock()
		return handler(ctx, req, d)
	}
}

// namesWhere lists, as `kind "name"`, the objects of a catalogue for which the condition holds.
func namesWhere[T any](ctx context.Context, s logical.Storage, kind string, catalogue *store.Catalogue[T], condition func(T) bool) ([]string, error) {
	names, err := catalogue.List(ctx, s)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range names {
		value, err := catalogue.Get(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if value != nil && condition(*value) {
			found = append(found, fmt.Sprintf("%s %q", kind, name))
		}
	}
	return found, nil
}

func withRevision(r approval.Revision, data map[string]any) map[string]any {
	data["version"] = r.Version
	data["updated_at"] = timestamp(r.UpdatedAt)
	data["updated_by"] = r.UpdatedBy
	return data
}

// revise is the revision of what this call writes.
func (b *backend) revise(current approval.Revision, req *logical.Request) approval.Revision {
	return approval.Revision{Version: current.Version + 1, UpdatedAt: b.now().UTC().Round(0), UpdatedBy: req.DisplayName}
}

// field is a field's value, or its type's zero value if it was not given. The schema has the type, so another one is a
// mistake of this package's.
func field[T any](d *framework.FieldData, name string) T {
	value, ok := d.Get(name).(T)
	if !ok {
		panic(fmt.Sprintf("engine: field %q holds a %T, not a %T", name, d.Get(name), value))
	}
	return value
}

// given sets the target if the field was given.
func given[T any](d *framework.FieldData, name string, target *T) {
	if _, ok := d.GetOk(name); ok {
		*target = field[T](d, name)
	}
}

// givenSeconds sets a duration if the field was given.
func givenSeconds(d *framework.FieldData, name string, target *time.Duration) {
	if _, ok := d.GetOk(name); ok {
		*target = time.Duration(field[int](d, name)) * time.Second
	}
}

// answer is nothing, or turns a problem of the caller's into a refusal, and a fault of the system into an error.
func answer(problem, fault error) (*logical.Response, error) {
	if fault != nil {
		return nil, fault
	}
	if problem == nil {
		return nil, nil
	}
	return refused(problem), nil
}
