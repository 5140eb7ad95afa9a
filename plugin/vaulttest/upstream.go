package vaulttest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// An Upstream is a path of another engine that grants can be made of, and what a grant token needs for it.
type Upstream struct {
	// Path that gives a leased credential, for a role of the engine.
	Path string
	// Policy is the name of the ACL policy that gives that path and nothing else.
	Policy string
	// Mount is where the other engine is.
	Mount string

	cluster *Cluster
}

// EnableDatabase sets up Vault's database engine over a PostgreSQL, with a role whose users have the given
// leases. An engine that is there already is taken, so that it can have several roles.
func (c *Cluster) EnableDatabase(
	ctx context.Context, mount string, pg *Postgres, role string, defaultTTL, maxTTL time.Duration,
) (*Upstream, error) {
	if err := c.secrets(ctx, "database", mount); err != nil {
		return nil, err
	}
	err := put(ctx, c.root, mount+"/config/postgres", map[string]any{
		"plugin_name": "postgresql-database-plugin",
		// Its own connection pool would go on using sessions that a stopped server has forgotten.
		"max_idle_connections": -1,
		"connection_url":       fmt.Sprintf("postgresql://{{username}}:{{password}}@%s/%s?sslmode=disable", pg.Address, pg.Database),
		"username":             pg.AdminUser,
		"password":             pg.AdminPassword,
		"allowed_roles":        "*",
	})
	if err != nil {
		return nil, err
	}
	err = put(ctx, c.root, mount+"/roles/"+role, map[string]any{
		"db_name": "postgres",
		"creation_statements": []string{
			`CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
		},
		// A session that is open when access ends is ended, too.
		"revocation_statements": []string{
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'`,
			`DROP ROLE IF EXISTS "{{name}}"`,
		},
		"default_ttl": seconds(defaultTTL),
		"max_ttl":     seconds(maxTTL),
	})
	if err != nil {
		return nil, err
	}
	return c.upstream(ctx, mount, role, "read")
}

// EnableSSHOTP sets up Vault's ssh engine with a role for one-time passwords: the cheapest leased credential
// there is. It is asked for with a write of "ip", for which any address of 127.0.0.0/8 will do.
func (c *Cluster) EnableSSHOTP(ctx context.Context, mount, role string) (*Upstream, error) {
	if err := c.secrets(ctx, "ssh", mount); err != nil {
		return nil, err
	}
	err := put(ctx, c.root, mount+"/roles/"+role, map[string]any{
		"key_type": "otp", "default_user": "ubuntu", "cidr_list": "127.0.0.0/8",
	})
	if err != nil {
		return nil, err
	}
	return c.upstream(ctx, mount, role, "update")
}

// VerifySSHOTP tells whether a one-time password still works, and uses it up if it does.
func (u *Upstream) VerifySSHOTP(ctx context.Context, otp string) (works bool, err error) {
	_, err = u.cluster.root.Logical().WriteWithContext(ctx, u.Mount+"/verify", map[string]any{"otp": otp})
	if err != nil && strings.Contains(err.Error(), "OTP not found") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("verifying a one-time password: %w", err)
	}
	return true, nil
}

// Leases are the ids of what the path has given and has not been revoked or expired.
func (u *Upstream) Leases(ctx context.Context) ([]string, error) {
	return u.cluster.Leases(ctx, u.Path+"/")
}

// secrets mounts an engine unless it is there.
func (c *Cluster) secrets(ctx context.Context, kind, path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken["mount "+path] {
		return nil
	}
	if err := c.root.Sys().MountWithContext(ctx, path, &api.MountInput{Type: kind}); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", kind, path, err)
	}
	c.taken["mount "+path] = true
	return nil
}

func (c *Cluster) upstream(ctx context.Context, mount, role, capability string) (*Upstream, error) {
	u := &Upstream{Path: mount + "/creds/" + role, Policy: mount + "-" + role, Mount: mount, cluster: c}
	return u, c.Policy(ctx, u.Policy, fmt.Sprintf("path %q { capabilities = [%q] }", u.Path, capability))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }
