package vaulttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
	front     *forwarder // nil with one node
	server    string     // path of the server's binary
	unsealKey string
	rootToken string
	root      *api.Client

	mu    sync.Mutex
	taken map[string]bool // names of people, mounts and groups in use
	auths map[string]string
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
	c := &Cluster{options: o, box: box, server: server, taken: map[string]bool{}, auths: map[string]string{}}
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
	for i := range max(1, o.Nodes) {
		node, err := c.addNode(ctx, fmt.Sprintf("node%d", i+1))
		if err != nil {
			return nil, err
		}
		if i == 0 {
			err = c.initialise(ctx, node)
		} else {
			err = c.join(ctx, node)
		}
		if err != nil {
			return nil, err
		}
	}
	if o.Nodes > 1 {
		if c.front, err = newForwarder(c.listRunningNodes); err != nil { //nolint:contextcheck // it goes on after the start
			return nil, err
		}
		if err := c.awaitVoters(ctx); err != nil {
			return nil, err
		}
	}
	if c.root, err = newClient(c.Address(), c.rootToken); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// prepare enables the audit log and registers the plugin.
func (c *Cluster) prepare(ctx context.Context) error {
	err := c.root.Sys().EnableAuditWithOptionsWithContext(ctx, "file", &api.EnableAuditOptions{
		Type:    "file",
		Options: map[string]string{"file_path": c.auditPath(), "log_raw": fmt.Sprint(c.options.RawAudit)},
	})
	if err != nil {
		return fmt.Errorf("enabling the audit log: %w", err)
	}
	// Without a version given, Vault takes the one that the binary reports.
	err = c.root.Sys().RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name: PluginName, Type: api.PluginTypeSecrets, Command: PluginName, SHA256: c.PluginSHA256,
	})
	if err != nil {
		return fmt.Errorf("registering the plugin: %w", err)
	}
	return nil
}

// Close ends all servers and removes their data. It fails if the race detector reported a race.
func (c *Cluster) Close() error {
	if c.front != nil {
		c.front.close()
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
	_, found, raced := strings.Cut(log, warning)
	if !raced {
		return nil
	}
	return fmt.Errorf("the plugin has a %s:%.4000s", warning, found)
}

// Address is the URL of a running node. With several nodes it is the URL of a load balancer before them.
func (c *Cluster) Address() string {
	if c.front != nil {
		return "http://" + c.front.addr()
	}
	return c.Nodes[0].Address
}

// Binary is the path of the server's program, which is also Vault's command line.
func (c *Cluster) Binary() string { return c.server }

// MkdirTemp makes a folder that is removed with the cluster, even if this process is killed.
func (c *Cluster) MkdirTemp() (string, error) {
	dir, err := os.MkdirTemp(c.box.dir, "temp-")
	if err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}
	return dir, nil
}

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

// await calls done until it returns nil or the context ends. Its error contains the error of the last call.
func await(ctx context.Context, what string, done func(context.Context) error) error {
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
