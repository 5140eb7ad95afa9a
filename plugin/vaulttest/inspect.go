package vaulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hashicorp/vault/api"
)

// TokenAccessors lists the accessors of all live tokens.
func (c *Cluster) TokenAccessors(ctx context.Context) ([]string, error) {
	return c.list(ctx, "auth/token/accessors")
}

// A Token is what Vault tells about a token by its accessor.
type Token struct {
	Accessor       string            `json:"accessor"`
	DisplayName    string            `json:"display_name"`
	EntityID       string            `json:"entity_id"`
	ExplicitMaxTTL int               `json:"explicit_max_ttl"` // seconds
	Meta           map[string]string `json:"meta"`
	Orphan         bool              `json:"orphan"`
	Policies       []string          `json:"policies"`
	Renewable      bool              `json:"renewable"`
	Role           string            `json:"role"`
	TTL            int               `json:"ttl"` // seconds left
	Type           string            `json:"type"`
}

// Token looks a token up. It returns nil without an error if the token has ended.
func (c *Cluster) Token(ctx context.Context, accessor string) (*Token, error) {
	secret, err := c.root.Logical().WriteWithContext(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
	var answer *api.ResponseError
	if errors.As(err, &answer) && (strings.Contains(err.Error(), "invalid accessor") || answer.StatusCode == http.StatusForbidden) {
		// Vault answers the root token with 403 if the accessor leads to no token, because a server was killed while
		// the token was made or revoked.
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up a token: %w", err)
	}
	var t Token
	raw, err := json.Marshal(secret.Data)
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil {
		return nil, fmt.Errorf("looking up a token: %w", err)
	}
	return &t, nil
}

// Tokens lists the live tokens for which match returns true.
func (c *Cluster) Tokens(ctx context.Context, match func(*Token) bool) ([]*Token, error) {
	accessors, err := c.TokenAccessors(ctx)
	if err != nil {
		return nil, err
	}
	var found []*Token
	for _, accessor := range accessors {
		t, err := c.Token(ctx, accessor)
		if err != nil {
			return nil, err
		}
		if t != nil && match(t) {
			found = append(found, t)
		}
	}
	return found, nil
}

// GrantTokens lists the live tokens that came from this mount's token role.
func (m *Mount) GrantTokens(ctx context.Context) ([]*Token, error) {
	return m.cluster.Tokens(ctx, func(t *Token) bool { return t.Role == m.TokenRole })
}

// EngineTokens lists the live tokens of this mount's engine.
func (m *Mount) EngineTokens(ctx context.Context) ([]*Token, error) {
	return m.cluster.Tokens(ctx, func(t *Token) bool { return t.Meta["role_name"] == m.AppRole })
}

// Leases lists the ids of all live leases below a path, which ends with a slash.
func (c *Cluster) Leases(ctx context.Context, prefix string) ([]string, error) {
	const root = "sys/leases/lookup/"
	leases, err := c.listAll(ctx, root+prefix)
	for i, path := range leases {
		leases[i] = strings.TrimPrefix(path, root)
	}
	return leases, err
}

// Leases lists the ids of all live leases of this mount.
func (m *Mount) Leases(ctx context.Context) ([]string, error) {
	return m.cluster.Leases(ctx, m.Path+"/")
}

// Storage returns everything that the engine has stored at this mount, by key. A test compares it before and after.
func (m *Mount) Storage(ctx context.Context) (map[string]string, error) {
	root := "sys/raw/logical/" + m.UUID + "/"
	paths, err := m.cluster.listAll(ctx, root)
	if err != nil {
		return nil, err
	}
	stored := map[string]string{}
	for _, path := range paths {
		secret, err := m.cluster.read(ctx, path)
		if err != nil {
			return nil, err
		}
		if secret != nil { // not deleted since the list
			stored[strings.TrimPrefix(path, root)], _ = secret.Data["value"].(string)
		}
	}
	return stored, nil
}

// listAll returns the paths of all keys below a path, which ends with a slash, however deep they are.
func (c *Cluster) listAll(ctx context.Context, path string) ([]string, error) {
	keys, err := c.list(ctx, path)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, key := range keys {
		if !strings.HasSuffix(key, "/") {
			all = append(all, path+key)
			continue
		}
		below, err := c.listAll(ctx, path+key)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// PluginPIDs lists the process ids of the engine's plugin processes below this server.
func (n *Node) PluginPIDs() ([]int, error) {
	p := n.process.Load()
	if !p.running() {
		return nil, fmt.Errorf("looking for the plugin of %s: the server is not running", n.Name)
	}
	// POSIX defines these columns of ps; it does not define /proc.
	out, err := exec.Command("ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "args=").Output()
	if err != nil {
		return nil, fmt.Errorf("looking for the plugin of %s: %w", n.Name, err)
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		var pid, parent int
		var program string
		_, err := fmt.Sscan(line, &pid, &parent, &program) // fails for a process without a name
		if err == nil && parent == p.pid() && filepath.Base(program) == PluginName {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// KillPlugin kills (-9) the engine's plugin processes below this server. Vault starts the plugin again at the next call.
func (n *Node) KillPlugin() error {
	pids, err := n.PluginPIDs()
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("killing the plugin of %s: none is running", n.Name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing the plugin of %s: %w", n.Name, err)
		}
	}
	return nil
}
