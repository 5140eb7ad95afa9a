package run

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vault-jit/vault-jit/plugin/client"
)

// Custody is what this process must not leave behind: requests that an ephemeral resource waits for or holds the
// credential of.
//
// Close is not enough. Terraform does not close an ephemeral resource when something that uses it failed or was
// interrupted, and two interrupts, or a kill, end Terraform on the spot. So what is left is ended when the process is
// told to end, and when it finds that Terraform is no more. A provider has two seconds between being told to end and being
// killed; the engine needs only be told, and sees to the rest by itself.
type Custody struct {
	mu   sync.Mutex
	held map[string]*hold
}

// A hold is what the ephemeral resources of this process have to do with one request. They share one credential, and
// the last one that is done with it gives it back.
type hold struct {
	jit *client.Client
	// users are the ephemeral resources that wait for the credential or have it; custody's lock guards it.
	users int
	// cancels is whether a request that nobody claimed is cancelled in the end.
	cancels atomic.Bool
	// claimed is whether a claim was sent and not refused: then the grant, if there is one, is this process's.
	claimed atomic.Bool

	// turn is had by the one that waits and claims, or gives back; it guards what follows.
	turn sync.Mutex
	held *Held
}

// Held is a credential that this process holds.
type Held struct {
	client.Credential
	Lease Lease
}

// Obtain gives the credential that another ephemeral resource of this process has already, or else waits and claims.
// An error says how the request was decided, or what is missing. Whatever comes of it, GiveBack has to be called.
func (c *Custody) Obtain(ctx context.Context, jit *client.Client, order Order) (*Held, error) {
	h := c.join(order.ID, jit)
	if order.Cancels {
		h.cancels.Store(true)
	}
	return h.obtain(ctx, order)
}

func (h *hold) obtain(ctx context.Context, order Order) (*Held, error) {
	h.turn.Lock()
	defer h.turn.Unlock()
	if h.held == nil {
		credential, err := h.await(ctx, order)
		if err != nil {
			return nil, err
		}
		h.held = &Held{credential, Lease{RequestID: order.ID, ID: credential.LeaseID, Renewable: credential.Renewable,
			ExpiresAt: time.Now().Add(credential.LeaseDuration)}}
	}
	return h.held, nil
}

func (c *Custody) join(id string, jit *client.Client) *hold {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[id]
	if h == nil {
		h = &hold{jit: jit}
		if c.held == nil {
			c.held = map[string]*hold{}
		}
		c.held[id] = h
	}
	h.users++
	return h
}

// leave takes a user away; the last one gets the hold.
func (c *Custody) leave(id string) *hold {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[id]
	if h == nil {
		return nil
	}
	if h.users--; h.users > 0 {
		return nil
	}
	return h
}

// GiveBack is called by an ephemeral resource that is done. The last one ends what is left; it returns what could not be
// ended, in sentences.
func (c *Custody) GiveBack(ctx context.Context, id string) []string {
	h := c.leave(id)
	if h == nil {
		return nil
	}
	h.turn.Lock()
	defer h.turn.Unlock()
	h.held = nil
	left := h.end(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.users == 0 && c.held[id] == h {
		delete(c.held, id)
	}
	return left
}

// end ends what is this process's: a grant that it claimed, and a request that it is to cancel and that nobody claimed.
// Whatever somebody else did or waits for stays.
func (h *hold) end(ctx context.Context, id string) []string {
	claimed := h.claimed.Load()
	if !claimed && !h.cancels.Load() {
		return nil
	}
	return endFirmly(ctx, h.jit, id, claimed)
}

// Release ends all that is left, side by side.
func (c *Custody) Release(ctx context.Context) {
	c.mu.Lock()
	held := c.held
	c.held = nil
	c.mu.Unlock()
	var ending sync.WaitGroup
	for id, h := range held {
		ending.Go(func() { h.end(ctx, id) }) // nobody is left to be told of a failure
	}
	ending.Wait()
}
