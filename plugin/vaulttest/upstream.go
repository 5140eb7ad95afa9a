package vaulttest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// An Upstream is a path of another engine, and the policy that a grant token needs to use it.
type Upstream struct {
	// Path returns a leased credential.
	Path string
	// Policy is the name of the ACL policy that allows that path and nothing else.
	Policy string

	mount   string
	cluster *Cluster
}

// EnableDatabase mounts Vault's database engine for a PostgreSQL, unless that has been done, and adds a role whose users
// have the given leases.
func (c *Cluster) EnableDatabase(
	ctx context.Context, mount string, pg *Postgres, role string, defaultTTL, maxTTL time.Duration,
) (*Upstream, error) {
	if err := c.enable(ctx, "sys/mounts/"+mount, "database"); err != nil {
		return nil, err
	}
	err := c.put(ctx, mount+"/config/postgres", map[string]any{
		"plugin_name": "postgresql-database-plugin",
		// Without a pool Vault reconnects to a server that was restarted.
		"max_idle_connections": -1,
		"connection_url":       fmt.Sprintf("postgresql://{{username}}:{{password}}@%s/%s?sslmode=disable", pg.Address, pg.Database),
		"username":             pg.AdminUser,
		"password":             pg.AdminPassword,
		"allowed_roles":        "*",
	})
	if err != nil {
		return nil, err
	}
	err = c.put(ctx, mount+"/roles/"+role, map[string]any{
		"db_name": "postgres",
		"creation_statements": []string{
			`CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
		},
		// Revocation also ends open sessions.
		"revocation_statements": []string{
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'`,
			`DROP ROLE IF EXISTS "{{name}}"`,
		},
		"default_ttl": defaultTTL.String(),
		"max_ttl":     maxTTL.String(),
	})
	if err != nil {
		return nil, err
	}
	return c.makeUpstream(ctx, mount, role, "read")
}

// EnableSSHOTP mounts Vault's ssh engine, unless that has been done, and adds a role for one-time passwords, which are the
// cheapest leased credentials. A write with "ip", any address of 127.0.0.0/8, makes one.
func (c *Cluster) EnableSSHOTP(ctx context.Context, mount, role string) (*Upstream, error) {
	if err := c.enable(ctx, "sys/mounts/"+mount, "ssh"); err != nil {
		return nil, err
	}
	err := c.put(ctx, mount+"/roles/"+role, map[string]any{
		"key_type": "otp", "default_user": "ubuntu", "cidr_list": "127.0.0.0/8",
	})
	if err != nil {
		return nil, err
	}
	return c.makeUpstream(ctx, mount, role, "update")
}

// VerifySSHOTP reports whether a one-time password works. A password that works is used up by that.
func (u *Upstream) VerifySSHOTP(ctx context.Context, otp string) (works bool, err error) {
	_, err = u.cluster.write(ctx, u.mount+"/verify", map[string]any{"otp": otp})
	if err != nil && strings.Contains(err.Error(), "OTP not found") {
		return false, nil
	}
	return err == nil, err
}

// Leases lists the ids of the live leases of the path.
func (u *Upstream) Leases(ctx context.Context) ([]string, error) {
	return u.cluster.Leases(ctx, u.Path+"/")
}

func (c *Cluster) makeUpstream(ctx context.Context, mount, role, capability string) (*Upstream, error) {
	u := &Upstream{Path: mount + "/creds/" + role, Policy: mount + "-" + role, mount: mount, cluster: c}
	return u, c.Policy(ctx, u.Policy, fmt.Sprintf("path %q { capabilities = [%q] }", u.Path, capability))
}
