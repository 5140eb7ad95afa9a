package client

import (
	"context"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Definitions are the approver groups, the policies or the roles of a mount. T is one of them, S what a detailed list
// shows of it.
type Definitions[T, S any] struct {
	client     *Client
	table      wire.Table
	collection string
}

// ApproverGroups are those of the mount.
func (c *Client) ApproverGroups() Definitions[wire.ApproverGroup, wire.ApproverGroupSummary] {
	return DefinitionsAt[wire.ApproverGroup, wire.ApproverGroupSummary](c, wire.ApproverGroupTable, "approver-groups")
}

// Policies are those of the mount.
func (c *Client) Policies() Definitions[wire.Policy, wire.PolicySummary] {
	return DefinitionsAt[wire.Policy, wire.PolicySummary](c, wire.PolicyTable, "policies")
}

// Roles are those of the mount.
func (c *Client) Roles() Definitions[wire.Role, wire.RoleSummary] {
	return DefinitionsAt[wire.Role, wire.RoleSummary](c, wire.RoleTable, "roles")
}

// DefinitionsAt are the definitions in a collection of the API, for programs that work with a table of their own.
func DefinitionsAt[T, S any](c *Client, table wire.Table, collection string) Definitions[T, S] {
	return Definitions[T, S]{client: c, table: table, collection: collection}
}

// Read reads one; [ErrAbsent] if there is none of that name.
func (d Definitions[T, S]) Read(ctx context.Context, name string) (T, error) {
	return decode[T](d.client.read(ctx, d.path(name), nil))
}

// Write stores one whole: a field that is zero is stored as zero, so begin with [wire.NewPolicy] or [wire.NewRole], which
// have the defaults. To change what is there, use [Definitions.Change]: what a read answers also has the windows that only
// followed from others. It returns the engine's warnings.
func (d Definitions[T, S]) Write(ctx context.Context, name string, value T) (warnings []string, err error) {
	fields, err := wire.EncodeWhole(d.table, value)
	if err != nil {
		return nil, err
	}
	return d.Change(ctx, name, fields)
}

// Change writes the given fields and leaves the others as they are.
func (d Definitions[T, S]) Change(ctx context.Context, name string, fields map[string]any) (warnings []string, err error) {
	return warningsOf(d.client.write(ctx, d.path(name), fields))
}

// Delete deletes one. It is refused while another definition names it. [ErrAbsent] never comes of it: the engine says
// nothing of what was not there.
func (d Definitions[T, S]) Delete(ctx context.Context, name string) error {
	return d.client.delete(ctx, d.path(name))
}

// List lists all by name.
func (d Definitions[T, S]) List(ctx context.Context) (map[string]S, error) {
	secret, err := d.client.list(ctx, d.collection, nil)
	if err != nil {
		return nil, orEmpty(err)
	}
	info, err := decode[struct {
		Info map[string]S `json:"key_info"`
	}](secret, nil)
	return info.Info, err
}

func (d Definitions[T, S]) path(name string) string { return d.collection + "/" + name }

// CheckPolicy tells whether a policy can be met by the people there are now.
func (c *Client) CheckPolicy(ctx context.Context, name string) (wire.PolicyCheck, error) {
	return decode[wire.PolicyCheck](c.read(ctx, c.Policies().path(name)+"/check", nil))
}

// Config reads the configuration, without its secrets; [ErrAbsent] if there is none.
func (c *Client) Config(ctx context.Context) (wire.Config, error) {
	return decode[wire.Config](c.read(ctx, configPath, nil))
}

// Configure stores the configuration whole, but for the secrets, which stay as they are where they are empty. It
// returns the engine's warnings.
func (c *Client) Configure(ctx context.Context, config wire.Config) (warnings []string, err error) {
	fields, err := wire.EncodeWhole(wire.ConfigTable, config)
	if err != nil {
		return nil, err
	}
	return c.ChangeConfig(ctx, fields)
}

// ChangeConfig writes the given fields and leaves the others as they are.
func (c *Client) ChangeConfig(ctx context.Context, fields map[string]any) (warnings []string, err error) {
	return warningsOf(c.write(ctx, configPath, fields))
}

// DeleteConfig deletes the configuration.
func (c *Client) DeleteConfig(ctx context.Context) error { return c.delete(ctx, configPath) }

// RotateRoot replaces the engine's secret_id by one that only the engine knows. It returns the engine's warnings.
func (c *Client) RotateRoot(ctx context.Context) (warnings []string, err error) {
	return warningsOf(c.write(ctx, configPath+"/rotate-root", nil))
}

const configPath = "config"

// Status tells how the engine is doing.
func (c *Client) Status(ctx context.Context) (wire.Status, error) {
	return decode[wire.Status](c.read(ctx, "status", nil))
}

// Tidy removes ended requests past their retention, and tells how many.
func (c *Client) Tidy(ctx context.Context) (wire.Tidied, error) {
	return decode[wire.Tidied](c.write(ctx, "tidy", nil))
}
