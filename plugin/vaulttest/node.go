package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// startLimit bounds how long a server on a busy machine may take to answer and to unseal.
const startLimit = 90 * time.Second

const serverConfig = `%s

listener "tcp" {
  address         = %q
  cluster_address = %q
  tls_disable     = true
}

api_addr         = %q
cluster_addr     = "https://%s"
plugin_directory = %q
log_level        = %q
disable_mlock    = true

# Lets a test compare what is stored before and after.
raw_storage_endpoint = true

# OpenBao's; Vault ignores it.
unsafe_allow_api_audit_creation = true
`

// A Node is one Vault server.
type Node struct {
	// Name is its node id in the Raft cluster.
	Name string
	// Address is the URL of its API.
	Address string

	cluster *Cluster
	host    string // Address without the scheme
	process atomic.Pointer[process]
	client  *api.Client // without a token
}

// addNode starts a server. The first one initialises the cluster, the others join it.
func (c *Cluster) addNode(ctx context.Context) error {
	n := &Node{Name: fmt.Sprintf("node%d", len(c.Nodes)+1), cluster: c}
	if err := os.MkdirAll(n.dataDir(), 0o700); err != nil {
		return fmt.Errorf("making %s: %w", n.Name, err)
	}
	c.Nodes = append(c.Nodes, n)
	err := startAtFreeAddress(func() error {
		if err := n.configure(); err != nil {
			return err
		}
		return n.launch(ctx)
	})
	switch {
	case err != nil:
		return err
	case len(c.Nodes) == 1:
		return c.initialise(ctx, n)
	default:
		return c.join(ctx, n)
	}
}

func (n *Node) dataDir() string    { return filepath.Join(n.cluster.box.dir, n.Name) }
func (n *Node) configPath() string { return filepath.Join(n.cluster.box.dir, n.Name+".hcl") }

// LogPath is the file that the server and its plugins log to.
func (n *Node) LogPath() string { return filepath.Join(n.cluster.box.dir, n.Name+".log") }

// configure picks addresses and writes the server's configuration.
func (n *Node) configure() error {
	host, err := freeAddress()
	if err != nil {
		return err
	}
	peers, err := freeAddress()
	if err != nil {
		return err
	}
	n.host, n.Address = host, "http://"+host
	if n.client, err = newClient(n.Address, ""); err != nil {
		return err
	}
	storage := `storage "inmem" {}`
	if n.cluster.options.Nodes > 0 {
		storage = fmt.Sprintf(raftStorage, n.dataDir(), n.Name)
	}
	config := fmt.Sprintf(serverConfig, storage, host, peers, n.Address, peers,
		filepath.Join(n.cluster.box.dir, "plugins"), n.cluster.options.LogLevel)
	if err := os.WriteFile(n.configPath(), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configuring %s: %w", n.Name, err)
	}
	return nil
}

// launch starts the server's process and waits until it answers, sealed or not.
func (n *Node) launch(ctx context.Context) error {
	dir := n.cluster.box.dir
	p, err := n.cluster.box.start(command{
		path: n.cluster.server,
		args: []string{"server", "-config=" + n.configPath()},
		env: append([]string{
			"PATH=" + os.Getenv("PATH"),
			"HOME=" + dir,
			"TMPDIR=" + filepath.Join(dir, "t"),
			"GORACE=atexit_sleep_ms=0",
		}, n.cluster.options.Env...),
		log: n.LogPath(),
	})
	if err != nil {
		return err
	}
	n.process.Store(p)
	err = p.await(ctx, "it to answer", func(ctx context.Context) error {
		_, err := n.client.Sys().SealStatusWithContext(ctx)
		return err
	})
	if err != nil {
		p.kill()
		return fmt.Errorf("starting %s: %w", n.Name, err)
	}
	return nil
}

// unseal gives the node its key and waits until it can serve, as active node or as standby.
func (n *Node) unseal(ctx context.Context) error {
	if _, err := n.client.Sys().UnsealWithContext(ctx, n.cluster.unsealKey); err != nil {
		return fmt.Errorf("unsealing %s: %w", n.Name, err)
	}
	// A node that has just joined unseals only after the others have contacted it.
	err := n.process.Load().await(ctx, "it to serve", func(ctx context.Context) error {
		if n.checkActive(ctx) == nil {
			return nil
		}
		leader, err := n.client.Sys().LeaderWithContext(ctx) // fails while the node is sealed
		if err != nil {
			return err
		}
		if leader.IsSelf || leader.LeaderAddress == "" {
			return errors.New("the cluster has no active node yet")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("unsealing %s: %w", n.Name, err)
	}
	return nil
}

// checkActive fails unless the node is the active one.
func (n *Node) checkActive(ctx context.Context) error {
	health, err := n.client.Sys().HealthWithContext(ctx)
	if err == nil && (health.Sealed || health.Standby) {
		err = fmt.Errorf("%s is sealed or a standby", n.Name)
	}
	return err
}

// Client makes a client with the given token at this node.
func (n *Node) Client(token string) (*api.Client, error) { return newClient(n.Address, token) }

// Running reports whether the server's process is running.
func (n *Node) Running() bool { return n.process.Load().running() }

// Stop ends the server as an operator would. A Raft node keeps its data for Start.
func (n *Node) Stop() { n.process.Load().stop(syscall.SIGTERM, 20*time.Second) }

// Kill kills the server and its plugins, as a power cut would.
func (n *Node) Kill() { n.process.Load().kill() }

// Start starts a stopped or killed Raft node at the same address and unseals it.
func (n *Node) Start(ctx context.Context) error {
	if n.Running() {
		return fmt.Errorf("starting %s: it is running", n.Name)
	}
	if n.cluster.options.Nodes == 0 {
		return errors.New("a server without storage cannot be started again: use Options.Nodes")
	}
	if err := n.launch(ctx); err != nil {
		return err
	}
	return n.unseal(ctx)
}
