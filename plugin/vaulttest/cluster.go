package vaulttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// Options say what to start. The zero value is one server that keeps its data in memory.
type Options struct {
	// Nodes is the number of nodes of a Raft cluster, whose data survives Stop and Kill. 0 starts a single server
	// that keeps its data in memory, which is quickest.
	Nodes int
	// LogLevel of the server and the plugin; "trace" if empty.
	LogLevel string
	// Race builds the plugin with the race detector. Close fails if the detector reported a race.
	Race bool
	// Env (KEY=value) is added to the servers' environment, which the plugin inherits. The developer's own
	// VAULT_* variables are not passed on.
	Env []string
	// RawAudit makes the audit log show values instead of their hashes.
	RawAudit bool
}

// A Cluster is one or more Vault servers that share their data, unsealed, with the engine's plugin in the
// catalogue. Its methods may be called from several goroutines.
type Cluster struct {
	// Nodes are in the order in which they were started. The first one initialised the cluster.
	Nodes []*Node
	// PluginSHA256 is the checksum that the plugin is registered with.
	PluginSHA256 string

	options   Options
	box       *sandbox
	front     *http.Server // nil with one node
	server    string       // path of the server's binary
	unsealKey string
	root      *api.Client

	mu    sync.Mutex
	taken map[string]bool // names of people and groups, and paths of mounts
}

// Start starts a cluster. If there is no Vault server on the machine it obtains one first, which takes minutes, and
// reports that on stderr. The context bounds the start only.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	if o.LogLevel == "" {
		o.LogLevel = "trace"
	}
	server, err := obtain(ctx, "vault")
	if err != nil {
		return nil, err
	}
	box, err := newSandbox("vault")
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: o, box: box, server: server, taken: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	// Sockets of the plugin go to the temporary folder, and their paths must be short.
	for _, dir := range []string{"t", "plugins"} {
		if err := os.Mkdir(filepath.Join(box.dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("starting Vault: %w", err)
		}
	}
	if c.PluginSHA256, err = installPlugin(ctx, o.Race, filepath.Join(box.dir, "plugins")); err != nil {
		return nil, err
	}
	for range max(1, o.Nodes) {
		if err := c.addNode(ctx); err != nil {
			return nil, err
		}
	}
	if o.Nodes > 1 {
		if err := c.awaitVoters(ctx); err != nil {
			return nil, err
		}
		if err := c.startFront(); err != nil {
			return nil, err
		}
		if c.root, err = c.Client(c.root.Token()); err != nil {
			return nil, err
		}
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// prepare enables the audit log and registers the plugin.
func (c *Cluster) prepare(ctx context.Context) error {
	err := c.put(ctx, "sys/audit/file", map[string]any{
		"type": "file", "options": map[string]any{"file_path": c.auditPath(), "log_raw": fmt.Sprint(c.options.RawAudit)},
	})
	if err != nil {
		return err
	}
	// Without a version given, Vault takes the one that the binary reports.
	return c.put(ctx, "sys/plugins/catalog/secret/"+PluginName, map[string]any{"command": PluginName, "sha256": c.PluginSHA256})
}

// Close ends all servers and removes their data. It fails if the race detector reported a race.
func (c *Cluster) Close() error {
	if c.front != nil {
		c.front.Close() //nolint:errcheck // nobody calls any more
	}
	var ending sync.WaitGroup
	for _, n := range c.Nodes {
		if c.options.Race { // only an orderly end gets everything into the log
			ending.Go(n.Stop)
		} else {
			ending.Go(n.Kill)
		}
	}
	ending.Wait()
	err := c.raceError()
	return errors.Join(err, c.box.close())
}

func (c *Cluster) raceError() error {
	const warning = "WARNING: DATA RACE"
	log, err := c.Log()
	if err != nil {
		return err
	}
	if _, found, raced := strings.Cut(log, warning); raced {
		return fmt.Errorf("the plugin has a %s:%.4000s", warning, found)
	}
	return nil
}

// Address is the URL of a running node. With several nodes it is the URL of a load balancer before them.
func (c *Cluster) Address() string {
	if c.front != nil {
		return "http://" + c.front.Addr
	}
	return c.Nodes[0].Address
}

// Binary is the path of the server's program, which is also Vault's command line.
func (c *Cluster) Binary() string { return c.server }

// Dir is the cluster's folder, which is removed with it even if this process is killed.
func (c *Cluster) Dir() string { return c.box.dir }

// Root is a client with the root token, for setting things up and for checking what the engine did.
func (c *Cluster) Root() *api.Client { return c.root }

// Client is a client with the given token at the cluster's address.
func (c *Cluster) Client(token string) (*api.Client, error) { return newClient(c.Address(), token) }

// Log returns what the servers and their plugins have logged so far.
func (c *Cluster) Log() (string, error) {
	var all strings.Builder
	for _, n := range c.Nodes {
		text, err := os.ReadFile(n.LogPath())
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("reading the log of %s: %w", n.Name, err)
		}
		all.Write(text)
	}
	return all.String(), nil
}

// AuditLog returns Vault's audit log so far, one JSON object a line.
func (c *Cluster) AuditLog() (string, error) {
	text, err := os.ReadFile(c.auditPath())
	if err != nil {
		return "", fmt.Errorf("reading the audit log: %w", err)
	}
	return string(text), nil
}

func (c *Cluster) auditPath() string { return filepath.Join(c.box.dir, "audit.log") }

// reserveName returns the name if nothing of the kind has it yet, else the name with a number.
func (c *Cluster) reserveName(kind, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	free := name
	for i := 2; c.taken[kind+" "+free]; i++ {
		free = fmt.Sprintf("%s-%d", name, i)
	}
	c.taken[kind+" "+free] = true
	return free
}

// enable mounts something at a path below sys/auth or sys/mounts, unless the cluster did so before.
func (c *Cluster) enable(ctx context.Context, path, kind string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken[path] {
		return nil
	}
	if err := c.put(ctx, path, map[string]any{"type": kind}); err != nil {
		return err
	}
	c.taken[path] = true
	return nil
}

// await calls done until it returns nil, the context ends or the time is up. Its error contains the error of the last call.
func await(ctx context.Context, limit time.Duration, what string, done func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // the error of a call that the deadline cut off says nothing
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last try gave: %w", what, context.Cause(ctx), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func generateText() string { return strings.ToLower(rand.Text()) }
