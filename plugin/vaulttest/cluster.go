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
	// Nodes above 0 makes a Raft cluster of so many nodes, whose data survives Stop and Kill. 0 is a single
	// server without storage on disk, which starts quickest.
	Nodes int
	// LogLevel of the server and so of the plugin; "trace" if empty.
	LogLevel string
	// Race builds the plugin with the race detector; what it finds makes Close fail.
	Race bool
	// Env is added to the servers' environment, KEY=value, and is thereby inherited by the plugin. None of
	// the developer's own VAULT_* variables are.
	Env []string
	// PluginBinary is taken instead of building one. Empty: $PLUGIN_BINARY, else the source tree is built.
	PluginBinary string
	// RawAudit writes what passes through the API into the audit log as it is, rather than hashed.
	RawAudit bool
}

// A Cluster is one or more Vault servers that share their data, unsealed, with the engine's plugin in the
// catalogue. Its methods may be called from several goroutines.
type Cluster struct {
	// Nodes in the order in which they were made; the first one initialised the cluster.
	Nodes []*Node
	// PluginSHA256 is what the plugin is registered with.
	PluginSHA256 string

	options   Options
	box       *sandbox
	front     *forwarder // nil with one node
	server    string     // path of the server's binary
	unsealKey string
	rootToken string
	root      *api.Client

	mu    sync.Mutex
	taken map[string]bool // names of people, mounts and groups given away so far
	auths map[string]string
}

// Start gives a running cluster. It obtains a Vault server first if there is none, which takes minutes and
// tells so on stderr. The context bounds the start only.
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
	if c.PluginSHA256, err = installPlugin(ctx, o, filepath.Join(box.dir, "plugins")); err != nil {
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
		if c.front, err = newForwarder(c.frontOrder); err != nil { //nolint:contextcheck // it goes on after the start
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

// prepare sets up what every test needs: the audit log, the plugin in the catalogue.
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

// Close ends all servers and removes what they stored. It fails when the race detector found something.
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

// Address leads to a node that is up: with several nodes it is that of a load balancer before them.
func (c *Cluster) Address() string {
	if c.front != nil {
		return "http://" + c.front.addr()
	}
	return c.Nodes[0].Address
}

// Binary is the path of the server's program, which is its command line, too.
func (c *Cluster) Binary() string { return c.server }

// MkdirTemp makes a folder that goes with the cluster, also when this process is killed.
func (c *Cluster) MkdirTemp() (string, error) {
	dir, err := os.MkdirTemp(c.box.dir, "temp-")
	if err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}
	return dir, nil
}

// Root is a client with the root token: for setting things up, and for looking behind the engine's back.
func (c *Cluster) Root() *api.Client { return c.root }

// Client is a client with the given token at the cluster's address.
func (c *Cluster) Client(token string) (*api.Client, error) { return newClient(c.Address(), token) }

// Log is all that the servers and their plugins have logged up to now.
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

// AuditLog is Vault's audit log up to now, one JSON object a line.
func (c *Cluster) AuditLog() (string, error) {
	text, err := os.ReadFile(c.auditPath())
	if err != nil {
		return "", fmt.Errorf("reading the audit log: %w", err)
	}
	return string(text), nil
}

func (c *Cluster) auditPath() string { return filepath.Join(c.box.dir, "audit.log") }

// unused is the given name if it is the first of its kind, else one made from it.
func (c *Cluster) unused(kind, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	free := name
	for i := 2; c.taken[kind+" "+free]; i++ {
		free = fmt.Sprintf("%s-%d", name, i)
	}
	c.taken[kind+" "+free] = true
	return free
}

// await polls until done says yes or the context ends. The error of the last try is part of the answer.
func await(ctx context.Context, what string, done func(context.Context) error) error {
	var last error
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // a try that the end of the time broke off tells nothing
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last try gave: %w", what, context.Cause(ctx), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func randomText() string { return strings.ToLower(rand.Text()) }
