package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// engineFixture adds an engine inside the test process, every call of which passes through the test. It has a role "otp"
// for one-time passwords; alice requests it and bob approves.
type engineFixture struct {
	*fixture
	engine *enginetest.Engine
}

func newEngineFixture(t testing.TB, step enginetest.Step) *engineFixture {
	t.Helper()
	f := &engineFixture{fixture: newFixture(t, vaulttest.MountOptions{})}
	upstream, err := f.EnableSSHOTP(t.Context(), "ssh-"+f.mount.Path, "otp")
	must(t, err)
	must(t, f.mount.AllowGrants(t.Context(), upstream.Policy))
	f.engine, err = enginetest.New(t.Context(), f.Address(), step, "alice", "bob")
	must(t, err)
	t.Cleanup(f.engine.Close)
	f.mustCall("", "config", connectTo(f.engine.Address, f.mount))
	f.mustCall("", "approver-groups/dba", map[string]any{"entity_ids": "bob"})
	f.mustCall("", "policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	f.mustCall("", "roles/otp", map[string]any{
		"policy": "one", "path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"}, "grant_policies": upstream.Policy,
	})
	return f
}

// mustCall writes as the given person and fails the test unless the engine answers soon, and with success.
func (f *engineFixture) mustCall(who, path string, data map[string]any) map[string]any {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	type outcome struct {
		answer *logical.Response
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		answer, err := f.engine.Call(ctx, logical.UpdateOperation, who, path, data)
		done <- outcome{answer, err}
	}()
	select {
	case o := <-done:
		must(f.t, o.err)
		if o.answer == nil {
			return nil
		}
		return o.answer.Data
	case <-ctx.Done():
		f.t.Fatalf("%s %v is held up", path, data)
		return nil
	}
}

// makeApproved makes a request that bob has approved, and returns its id.
func (f *engineFixture) makeApproved(fields ...map[string]any) string {
	f.t.Helper()
	data := map[string]any{"role": "otp", "reason": "x"}
	for _, more := range fields {
		for name, value := range more {
			data[name] = value
		}
	}
	id := fmt.Sprint(f.mustCall("alice", "request", data)["id"])
	f.mustCall("bob", "approve", map[string]any{"id": id})
	return id
}

// start writes as the given person without waiting for the answer. The error comes through the channel.
func (f *engineFixture) start(ctx context.Context, who, path string, data map[string]any) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := f.engine.Call(ctx, logical.UpdateOperation, who, path, data)
		done <- err
	}()
	return done
}

// read reads a request as alice.
func (f *engineFixture) read(id string) wire.Request {
	f.t.Helper()
	return readFrom(f.t, f.engine, id)
}

// readFrom reads a request of an engine inside the test process as alice.
func readFrom(t testing.TB, engine *enginetest.Engine, id string) wire.Request {
	t.Helper()
	answer, err := engine.Call(t.Context(), logical.ReadOperation, "alice", "requests/"+id, nil)
	must(t, err)
	request, err := wire.Read[wire.Request](answer.Data)
	must(t, err)
	return request
}

// pauser pauses the engine at chosen calls.
type pauser struct {
	pausedAt atomic.Value // string that the call's name contains; "" for no call
	waiting  chan struct{}
	resumed  chan struct{}
	resume   func() // lets all paused calls go on; it may be called again
}

func newPauser() *pauser {
	p := &pauser{waiting: make(chan struct{}, 100), resumed: make(chan struct{})}
	p.resume = sync.OnceFunc(func() { close(p.resumed) })
	p.stopPausing()
	return p
}

// pauseAt pauses every call from now on whose name contains the text.
func (p *pauser) pauseAt(text string) { p.pausedAt.Store(text) }

// stopPausing lets new calls pass. Those that are paused stay so.
func (p *pauser) stopPausing() { p.pausedAt.Store("") }

// waitForPause returns when a call has been paused.
func (p *pauser) waitForPause() { <-p.waiting }

func (p *pauser) step(name string, do func() error) error {
	if text, _ := p.pausedAt.Load().(string); text != "" && strings.Contains(name, text) {
		p.waiting <- struct{}{}
		<-p.resumed
	}
	return do()
}

// pausingFixture is an engine that the test can pause at a call.
type pausingFixture struct {
	*engineFixture
	*pauser
}

func newPausingFixture(t *testing.T) *pausingFixture {
	t.Helper()
	p := newPauser()
	f := &pausingFixture{newEngineFixture(t, p.step), p}
	t.Cleanup(p.resume) // runs before the engine is closed, which waits for paused calls
	return f
}

// failer makes chosen calls of the engine fail.
type failer struct {
	mu   sync.Mutex
	text string // that the call's name contains; "" for no call
	how  fault  // refuses or losesReply
}

// failAt makes every call fail from now on whose name contains the text.
func (x *failer) failAt(text string, how fault) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.text, x.how = text, how
}

func (x *failer) stopFailing() { x.failAt("", "") }

func (x *failer) step(name string, do func() error) error {
	x.mu.Lock()
	fails, how := x.text != "" && strings.Contains(name, x.text), x.how
	x.mu.Unlock()
	if fails && how == refuses {
		return errFault
	}
	if err := do(); err != nil || !fails {
		return err
	}
	return errFault
}

// failingFixture is an engine of which the test can make calls fail.
type failingFixture struct {
	*engineFixture
	*failer
}

func newFailingFixture(t *testing.T) *failingFixture {
	t.Helper()
	x := &failer{}
	return &failingFixture{newEngineFixture(t, x.step), x}
}
