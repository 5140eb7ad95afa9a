package provider

import (
	"context"
	"github.com/vault-jit/vault-jit/provider/run"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/vault/api"
)

// custody is what this process must not leave behind: requests that an ephemeral resource waits for or holds the
// credential of.
//
// Close is not enough. Terraform does not close an ephemeral resource when something that uses it failed or was
// interrupted, and two interrupts, or a kill, end Terraform on the spot. So what is left is ended when the process is
// told to end, and when it finds that Terraform is no more. A provider has two seconds between being told to end and being killed;
// the engine needs only be told, and sees to the rest by itself.
type custody struct {
	mu   sync.Mutex
	held map[string]*hold
}

// A hold is what the ephemeral resources of this process have to do with one request. They share one credential, and
// the last one that is done with it gives it back.
type hold struct {
	id     string
	engine *engine
	// users are the ephemeral resources that wait for the credential or have it; custody's lock guards it.
	users int
	// claimed is whether a claim was sent and not refused: then the grant, if there is one, is this process's.
	claimed atomic.Bool

	// turn is had by the one that waits and claims, or gives back; it guards what follows.
	turn       sync.Mutex
	credential *api.Secret
	lease      lease
}

// join adds a user of a request.
func (c *custody) join(id string, e *engine) *hold {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[id]
	if h == nil {
		h = &hold{id: id, engine: e}
		if c.held == nil {
			c.held = map[string]*hold{}
		}
		c.held[id] = h
	}
	h.users++
	return h
}

// leave is called by a user that is done. The last one ends what is left; it returns what could not be ended, in
// sentences.
func (c *custody) leave(ctx context.Context, id string) []string {
	c.mu.Lock()
	h := c.held[id]
	if h == nil {
		c.mu.Unlock()
		return nil
	}
	h.users--
	last := h.users == 0
	c.mu.Unlock()
	if !last {
		return nil
	}
	h.turn.Lock()
	defer h.turn.Unlock()
	h.credential = nil
	left := h.end(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.users == 0 && c.held[id] == h {
		delete(c.held, id)
	}
	return left
}

// end ends what is this process's: a grant that it claimed, and a request that this run made and that nobody claimed.
// Whatever somebody else did or waits for stays.
func (h *hold) end(ctx context.Context) []string {
	claimed := h.claimed.Load()
	if !claimed && !h.engine.made(h.id) {
		return nil
	}
	return h.engine.giveUp(ctx, h.id, claimed)
}

// release ends all that is left, side by side.
func (c *custody) release(ctx context.Context) {
	c.mu.Lock()
	held := c.held
	c.held = nil
	c.mu.Unlock()
	var ending sync.WaitGroup
	for _, h := range held {
		ending.Go(func() { h.end(ctx) }) // nobody is left to be told of a failure
	}
	ending.Wait()
}

// orphanCheck is how often a process looks whether Terraform is still there.
const orphanCheck = 500 * time.Millisecond

// outlive waits until the process has another parent than the one that started it, which is when that is gone.
func outlive(parent int) {
	for os.Getppid() == parent {
		time.Sleep(orphanCheck)
	}
}

// Serve is the provider as a process that Terraform started; it returns when Terraform is done with it.
func Serve(ctx context.Context, version string, debug bool) error {
	p := &vaultjit{version: version, run: run.Shared(run.Files, os.Getppid())}
	go func() {
		outlive(os.Getppid())
		p.leave(ctx)
		os.Exit(1)
	}()
	err := providerserver.Serve(ctx, func() provider.Provider { return p }, providerserver.ServeOpts{Address: Address, Debug: debug})
	p.leave(ctx)
	return err
}

// leave ends what is left, and then the logins.
func (p *vaultjit) leave(ctx context.Context) {
	p.custody.release(ctx)
	p.sessions.end(ctx)
}
