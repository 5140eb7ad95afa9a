package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// startLimit bounds how long a server may take to answer and to unseal, on a machine that is busy.
const startLimit = 90 * time.Second

// raftStorage elects and accepts voters quickly: everybody is on one machine.
const raftStorage = `storage "raft" {
  path                         = %q
  node_id                      = %q
  performance_multiplier       = 1
  autopilot_reconcile_interval = "500ms"
  autopilot_update_interval    = "200ms"
}`

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
	port    int
	process atomic.Pointer[process]
	client  *api.Client // without a token
}

// addNode starts a new, still sealed server.
func (c *Cluster) addNode(ctx context.Context, name string) (*Node, error) {
	n := &Node{Name: name, cluster: c}
	if err := os.MkdirAll(n.dataDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	c.Nodes = append(c.Nodes, n)
	var err error
	// Between finding a port free and using it, somebody else may.
	for range 3 {
		if err = n.configure(); err != nil {
			return nil, err
		}
		if err = n.launch(ctx); err == nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return n, err
}

func (n *Node) dataDir() string    { return filepath.Join(n.cluster.box.dir, n.Name) }
func (n *Node) configPath() string { return filepath.Join(n.cluster.box.dir, n.Name+".hcl") }

// LogPath is the file that the server and its plugins log to.
func (n *Node) LogPath() string { return filepath.Join(n.cluster.box.dir, n.Name+".log") }

// configure picks ports and writes the server's configuration.
func (n *Node) configure() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	peers, err := freePort()
	if err != nil {
		return err
	}
	n.port, n.Address = port, "http://"+loopback(port)
	if n.client, err = newClient(n.Address, ""); err != nil {
		return err
	}
	storage := `storage "inmem" {}`
	if n.cluster.options.Nodes > 0 {
		storage = fmt.Sprintf(raftStorage, n.dataDir(), n.Name)
	}
	config := fmt.Sprintf(serverConfig, storage, loopback(port), loopback(peers), n.Address, loopback(peers),
		filepath.Join(n.cluster.box.dir, "plugins"), n.cluster.options.LogLevel)
	if err := os.WriteFile(n.configPath(), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configuring %s: %w", n.Name, err)
	}
	return nil
}

// launch starts the server's process and waits until it answers, sealed or not.
func (n *Node) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
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
	err = p.await(ctx, func(ctx context.Context) error {
		_, err := n.client.Sys().SealStatusWithContext(ctx)
		return err
	})
	if err != nil {
		p.kill()
		return fmt.Errorf("starting %s: %w", n.Name, err)
	}
	return nil
}

// initialise makes a new cluster out of its first node.
func (c *Cluster) initialise(ctx context.Context, n *Node) error {
	answer, err := n.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialising %s: %w", n.Name, err)
	}
	c.unsealKey, c.rootToken = answer.KeysB64[0], answer.RootToken
	if err := n.unseal(ctx); err != nil || c.options.Nodes < 2 {
		return err
	}
	first, err := n.Client(c.rootToken)
	if err != nil {
		return err
	}
	// A newcomer is watched for ten seconds otherwise before it counts in elections.
	return put(ctx, first, "sys/storage/raft/autopilot/configuration", map[string]any{
		"server_stabilization_time": "1s", "cleanup_dead_servers": false,
	})
}

// join makes the node one of the cluster of the first node.
func (c *Cluster) join(ctx context.Context, n *Node) error {
	_, err := n.client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: c.Nodes[0].Address})
	if err != nil {
		return fmt.Errorf("joining %s to the cluster: %w", n.Name, err)
	}
	return n.unseal(ctx)
}

// unseal gives the node its key and waits until it can serve, as active node or as standby.
func (n *Node) unseal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if _, err := n.client.Sys().UnsealWithContext(ctx, n.cluster.unsealKey); err != nil {
		return fmt.Errorf("unsealing %s: %w", n.Name, err)
	}
	err := n.process.Load().await(ctx, func(ctx context.Context) error {
		// A node that has just joined unseals only after it has heard from the others.
		status, err := n.client.Sys().SealStatusWithContext(ctx)
		if err != nil {
			return err
		}
		if status.Sealed {
			return errors.New("it is still sealed")
		}
		leader, err := n.client.Sys().LeaderWithContext(ctx)
		if err != nil {
			return err
		}
		if leader.HAEnabled && leader.LeaderAddress == "" {
			return errors.New("the cluster has no active node yet")
		}
		if leader.HAEnabled && !leader.IsSelf {
			return nil
		}
		return n.active(ctx)
	})
	if err != nil {
		return fmt.Errorf("unsealing %s: %w", n.Name, err)
	}
	return nil
}

// active fails unless the node is the one that serves requests.
func (n *Node) active(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Address+"/v1/sys/health", nil)
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Transport: connections}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // only the status matters
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the health of %s is %s", n.Name, answer.Status)
	}
	return nil
}

// awaitVoters waits until each node of a cluster counts in elections, so that one may be taken away.
func (c *Cluster) awaitVoters(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	first, err := c.Nodes[0].Client(c.rootToken)
	if err != nil {
		return err
	}
	return await(ctx, "all nodes to be voters", func(ctx context.Context) error {
		state, err := first.Sys().RaftAutopilotStateWithContext(ctx)
		if err != nil {
			return err
		}
		if voters := len(state.Voters); voters < len(c.Nodes) {
			return fmt.Errorf("%d of %d are", voters, len(c.Nodes))
		}
		return nil
	})
}

// Client is a client with the given token, at this node.
func (n *Node) Client(token string) (*api.Client, error) { return newClient(n.Address, token) }

// PID is the server's process id, also after it has ended.
func (n *Node) PID() int { return n.process.Load().pid() }

// Running tells whether the server's process is there.
func (n *Node) Running() bool {
	p := n.process.Load()
	return p != nil && p.running()
}

// Stop ends the server as an operator would. On Raft what is stored stays for Start.
func (n *Node) Stop() {
	if p := n.process.Load(); p != nil {
		p.stop(syscall.SIGTERM, 20*time.Second)
	}
}

// Kill ends the server and its plugins as a power cut would.
func (n *Node) Kill() {
	if p := n.process.Load(); p != nil {
		p.kill()
	}
}

// Start brings a stopped or killed Raft node back at the same address and unseals it.
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

// Restart is Stop and Start.
func (n *Node) Restart(ctx context.Context) error {
	n.Stop()
	return n.Start(ctx)
}

// Active waits for the node that serves requests.
func (c *Cluster) Active(ctx context.Context) (*Node, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var active *Node
	err := await(ctx, "an active node", func(ctx context.Context) error {
		for _, n := range c.Nodes {
			if n.Running() && n.active(ctx) == nil {
				active = n
				return nil
			}
		}
		return errors.New("none is")
	})
	return active, err
}

// Standbys are the running nodes that are not the active one.
func (c *Cluster) Standbys(ctx context.Context) ([]*Node, error) {
	active, err := c.Active(ctx)
	if err != nil {
		return nil, err
	}
	var standbys []*Node
	for _, n := range c.Nodes {
		if n != active && n.Running() {
			standbys = append(standbys, n)
		}
	}
	return standbys, nil
}

// StepDown makes the active node give up its place and waits for the next one, which with a single node is
// the same.
func (c *Cluster) StepDown(ctx context.Context) (*Node, error) {
	active, err := c.Active(ctx)
	if err != nil {
		return nil, err
	}
	client, err := active.Client(c.rootToken)
	if err != nil {
		return nil, err
	}
	before, err := client.Sys().LeaderWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("stepping down %s: %w", active.Name, err)
	}
	// The answer comes before the deed.
	if err := client.Sys().StepDownWithContext(ctx); err != nil {
		return nil, fmt.Errorf("stepping down %s: %w", active.Name, err)
	}
	err = await(ctx, "a new active node", func(ctx context.Context) error {
		if active, err = c.Active(ctx); err != nil {
			return err
		}
		now, err := active.client.Sys().LeaderWithContext(ctx)
		if err != nil {
			return err
		}
		if !now.IsSelf || now.ActiveTime.Equal(before.ActiveTime) {
			return fmt.Errorf("%s has not stepped down yet", active.Name)
		}
		return nil
	})
	return active, err
}

// frontOrder is how the load balancer prefers nodes: running ones, the first one first.
func (c *Cluster) frontOrder() []string {
	var up []string
	for _, n := range c.Nodes {
		if n.Running() {
			up = append(up, loopback(n.port))
		}
	}
	return up
}
