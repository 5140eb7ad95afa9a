package provider

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
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
	held map[string]*engine
}

func (c *custody) take(id string, e *engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[string]*engine{}
	}
	c.held[id] = e
}

func (c *custody) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, id)
}

// release ends all that is left, side by side.
func (c *custody) release(ctx context.Context) {
	c.mu.Lock()
	held := c.held
	c.held = nil
	c.mu.Unlock()
	var ending sync.WaitGroup
	for id, e := range held {
		ending.Go(func() { e.giveUp(ctx, id) }) // nobody is left to be told of a failure
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
	p := &vaultjit{version: version}
	go func() {
		outlive(os.Getppid())
		p.custody.release(ctx)
		os.Exit(1)
	}()
	err := providerserver.Serve(ctx, func() provider.Provider { return p }, providerserver.ServeOpts{Address: Address, Debug: debug})
	p.custody.release(ctx)
	return err
}
