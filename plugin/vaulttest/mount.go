package vaulttest

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/examples/policies"
	"github.com/vault-jit/vault-jit/plugin/client"
)

// MountOptions say how to mount an engine.
type MountOptions struct {
	// Path of the mount, without slashes; a new "jit-…" if empty.
	Path string
	// AllowedPolicies are the token role's allowed_policies: the policies that grant tokens may have. AllowGrants
	// changes them later.
	AllowedPolicies []string
	// Config adds to or replaces fields of the engine's config; a nil value leaves a field out.
	Config map[string]any
	// Unconfigured leaves writing the config to the test.
	Unconfigured bool
	// ExtraPolicy is HCL added to the engine's own ACL policy, for capabilities that are optional.
	ExtraPolicy string
	// Tune is the configuration of the mount, for instance its longest lease.
	Tune api.MountConfigInput
}

// A Mount is one mount of the engine, with its own AppRole, token role and policies.
type Mount struct {
	// Path of the mount, without slashes.
	Path string
	// UUID of the mount: its storage is below logical/UUID.
	UUID string
	// AppRole is the name of the engine's own AppRole, with RoleID and the first SecretID.
	AppRole, RoleID, SecretID string
	// TokenRole is the name of the token role that grant tokens come from.
	TokenRole string
	// EnginePolicy is the name of the only ACL policy of the engine's own token.
	EnginePolicy string
	// UserPolicy is the name of the ACL policy that lets people use this mount.
	UserPolicy string

	cluster *Cluster
}

// leaseNarrowing is what ends the leases of one upstream only; a test's upstreams have paths of their own.
var leaseNarrowing = regexp.MustCompile(`(?m)^ *allowed_parameters = .*\n`)

// EnginePolicy returns the documented ACL policy of the engine, without what is optional. In tests it has no other
// capabilities.
func EnginePolicy(tokenRole, appRole string) string {
	needed, _, _ := strings.Cut(policies.Engine, policies.Optional)
	needed = leaseNarrowing.ReplaceAllString(needed, "")
	return strings.NewReplacer("/jit-grant", "/"+tokenRole, "/jit-engine/", "/"+appRole+"/").Replace(needed)
}

// userPolicy is the documented ACL policy of people who may request, decide and claim at a mount.
func userPolicy(mount string) string {
	return strings.ReplaceAll(policies.User, `"jit/`, `"`+mount+"/")
}

// Mount mounts the engine with its own AppRole, token role and ACL policies, and writes its config.
func (c *Cluster) Mount(ctx context.Context, o MountOptions) (*Mount, error) {
	path := o.Path
	if path == "" {
		path = "jit-" + generateText()[:8]
	}
	m := &Mount{
		Path: path, AppRole: path + "-engine", TokenRole: path + "-grant",
		EnginePolicy: path + "-engine", UserPolicy: path + "-user", cluster: c,
	}
	if err := m.enable(ctx, o.Tune); err != nil {
		return nil, err
	}
	if err := c.Policy(ctx, m.EnginePolicy, EnginePolicy(m.TokenRole, m.AppRole)+o.ExtraPolicy); err != nil {
		return nil, err
	}
	if err := c.Policy(ctx, m.UserPolicy, userPolicy(path)); err != nil {
		return nil, err
	}
	if err := m.AllowGrants(ctx, o.AllowedPolicies...); err != nil {
		return nil, err
	}
	if err := m.makeAppRole(ctx); err != nil {
		return nil, err
	}
	if o.Unconfigured {
		return m, nil
	}
	jit, err := m.Operated()
	if err != nil {
		return nil, err
	}
	config := map[string]any{
		"address": c.Address(), "role_id": m.RoleID, "secret_id": m.SecretID, "token_role": m.TokenRole,
	}
	maps.Copy(config, o.Config)
	maps.DeleteFunc(config, func(_ string, v any) bool { return v == nil })
	_, err = jit.ChangeConfig(ctx, config)
	return m, err
}

func (m *Mount) enable(ctx context.Context, tune api.MountConfigInput) error {
	err := m.cluster.root.Sys().MountWithContext(ctx, m.Path, &api.MountInput{Type: PluginName, Config: tune})
	if err != nil {
		return fmt.Errorf("mounting the engine: %w", err)
	}
	mounted, err := m.cluster.read(ctx, "sys/mounts/"+m.Path)
	if err != nil {
		return err
	}
	m.UUID, err = needString(mounted, "uuid", "mount "+m.Path)
	return err
}

func (m *Mount) makeAppRole(ctx context.Context) error {
	c := m.cluster
	if err := c.enable(ctx, "sys/auth/approle", "approle"); err != nil {
		return err
	}
	role := "auth/approle/role/" + m.AppRole
	err := c.put(ctx, role, map[string]any{
		"token_policies": m.EnginePolicy, "token_no_default_policy": true, "token_ttl": "1h",
	})
	if err != nil {
		return err
	}
	id, err := c.read(ctx, role+"/role-id")
	if err != nil {
		return err
	}
	if m.RoleID, err = needString(id, "role_id", role); err != nil {
		return err
	}
	m.SecretID, err = m.NewSecretID(ctx)
	return err
}

// NewSecretID makes another secret id of the engine's AppRole.
func (m *Mount) NewSecretID(ctx context.Context) (string, error) {
	role := "auth/approle/role/" + m.AppRole
	made, err := m.cluster.write(ctx, role+"/secret-id", nil)
	if err != nil {
		return "", err
	}
	return needString(made, "secret_id", role)
}

// AllowGrants sets which policies grant tokens may have.
func (m *Mount) AllowGrants(ctx context.Context, policies ...string) error {
	return m.WriteTokenRole(ctx, map[string]any{"allowed_policies": policies})
}

// WriteTokenRole writes the documented token role of this mount, with the given fields changed.
func (m *Mount) WriteTokenRole(ctx context.Context, fields map[string]any) error {
	role := map[string]any{
		"orphan": true, "token_type": "service", "renewable": false, "token_no_default_policy": true,
	}
	maps.Copy(role, fields)
	return m.cluster.put(ctx, "auth/token/roles/"+m.TokenRole, role)
}

// As is the engine at this mount, with the person's token.
func (m *Mount) As(p *Person) (*client.Client, error) { return client.New(p.Client, m.Path) }

// Operated is the engine at this mount, with the root token.
func (m *Mount) Operated() (*client.Client, error) { return client.New(m.cluster.root, m.Path) }

// Person makes a person who may use this mount.
func (m *Mount) Person(ctx context.Context, name string, policies ...string) (*Person, error) {
	return m.cluster.Person(ctx, name, append([]string{m.UserPolicy}, policies...)...)
}

// Disable unmounts the engine. Vault revokes its leases.
func (m *Mount) Disable(ctx context.Context) error {
	return m.cluster.delete(ctx, "sys/mounts/"+m.Path)
}

// Policy writes an ACL policy.
func (c *Cluster) Policy(ctx context.Context, name, rules string) error {
	return c.put(ctx, "sys/policies/acl/"+name, map[string]any{"policy": rules})
}
