package vaulttest

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// raftStorage elects a leader and accepts voters quickly, because all nodes are on one machine.
const raftStorage = `storage "raft" {
  path                         = %q
  node_id                      = %q
  performance_multiplier       = 1
  autopilot_reconcile_interval = "500ms"
  autopilot_update_interval    = "200ms"
}`

// initialise initialises the cluster at its first node.
func (c *Cluster) initialise(ctx context.Context, n *Node) error {
	answer, err := n.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialising %s: %w", n.Name, err)
	}
	c.unsealKey = answer.KeysB64[0]
	if c.root, err = n.Client(answer.RootToken); err != nil {
		return err
	}
	if err := n.unseal(ctx); err != nil || c.options.Nodes < 2 {
		return err
	}
	// Otherwise a new node becomes a voter only after ten seconds.
	return c.put(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{
		"server_stabilization_time": "1s", "cleanup_dead_servers": false,
	})
}

// join makes the node join the first node's cluster.
func (c *Cluster) join(ctx context.Context, n *Node) error {
	_, err := n.client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: c.Nodes[0].Address})
	if err != nil {
		return fmt.Errorf("joining %s to the cluster: %w", n.Name, err)
	}
	return n.unseal(ctx)
}

// awaitVoters waits until all nodes are voters, so that a test can stop one of them.
func (c *Cluster) awaitVoters(ctx context.Context) error {
	return await(ctx, startLimit, "all nodes to be voters", func(ctx context.Context) error {
		state, err := c.root.Sys().RaftAutopilotStateWithContext(ctx)
		if err != nil {
			return err
		}
		if voters := len(state.Voters); voters < len(c.Nodes) {
			return fmt.Errorf("%d of %d are", voters, len(c.Nodes))
		}
		return nil
	})
}

// Active waits for an active node and returns it.
func (c *Cluster) Active(ctx context.Context) (*Node, error) {
	var active *Node
	err := await(ctx, startLimit, "an active node", func(ctx context.Context) error {
		for _, n := range c.Nodes {
			if n.Running() && n.checkActive(ctx) == nil {
				active = n
				return nil
			}
		}
		return errors.New("none is")
	})
	return active, err
}

// Standbys lists the running nodes that are not active.
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

// StepDown makes the active node step down and returns the next active node. With a single node that is the same one.
func (c *Cluster) StepDown(ctx context.Context) (*Node, error) {
	active, err := c.Active(ctx)
	if err != nil {
		return nil, err
	}
	client, err := active.Client(c.root.Token())
	if err != nil {
		return nil, err
	}
	before, err := client.Sys().LeaderWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("stepping down %s: %w", active.Name, err)
	}
	// Vault answers before the node steps down.
	if err := client.Sys().StepDownWithContext(ctx); err != nil {
		return nil, fmt.Errorf("stepping down %s: %w", active.Name, err)
	}
	err = await(ctx, startLimit, "a new active node", func(ctx context.Context) error {
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
