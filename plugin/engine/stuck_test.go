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
)

// gate lets calls wait whose name holds the text it is closed for.
type gate struct {
	closedFor atomic.Value // string; "" for none
	waiting   chan struct{}
	opened    chan struct{}
	open      func() // lets everybody go, and may be called again
}

func newGate() *gate {
	g := &gate{waiting: make(chan struct{}, 100), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	g.closedFor.Store("")
	return g
}

func (g *gate) step(name string, do func() error) error {
	if text, _ := g.closedFor.Load().(string); text != "" && strings.Contains(name, text) {
		g.waiting <- struct{}{}
		<-g.opened
	}
	return do()
}

// stuck is an engine inside the test that stands still at one of its calls to Vault.
func stuck(t *testing.T) (*enginetest.Stage, *gate, *vaulttest.Mount) {
	t.Helper()
	w := newWorld(t, vaulttest.MountOptions{})
	upstream, err := w.EnableSSHOTP(t.Context(), "ssh-"+w.mount.Path, "otp")
	must(t, err)
	must(t, w.mount.AllowGrants(t.Context(), upstream.Policy))
	g := newGate()
	stage, err := enginetest.New(t.Context(), w.Address(), g.step, "alice", "bob")
	must(t, err)
	t.Cleanup(stage.Close)
	t.Cleanup(g.open) // before that, which waits for whoever waits
	for path, data := range map[string]map[string]any{
		"config":              {"address": stage.Address, "role_id": w.mount.RoleID, "secret_id": w.mount.SecretID, "token_role": w.mount.TokenRole},
		"approver-groups/dba": {"entity_ids": "bob"},
	} {
		call(t, stage, "", path, data)
	}
	call(t, stage, "", "policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	call(t, stage, "", "roles/otp", map[string]any{
		"policy": "one", "path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"}, "grant_policies": upstream.Policy,
	})
	return stage, g, w.mount
}

// call is a write that has to succeed soon.
func call(t *testing.T, stage *enginetest.Stage, who, path string, data map[string]any) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	type outcome struct {
		answer *logical.Response
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		answer, err := stage.Call(ctx, logical.UpdateOperation, who, path, data)
		done <- outcome{answer, err}
	}()
	select {
	case o := <-done:
		must(t, o.err)
		if o.answer == nil {
			return nil
		}
		return o.answer.Data
	case <-ctx.Done():
		t.Fatalf("%s %v is held up", path, data)
		return nil
	}
}

func approvedAt(t *testing.T, stage *enginetest.Stage) string {
	t.Helper()
	id := fmt.Sprint(call(t, stage, "alice", "request", map[string]any{"role": "otp", "reason": "x"})["id"])
	call(t, stage, "bob", "approve", map[string]any{"id": id})
	return id
}

// Of all locks only a request's own is held while Vault is asked: a Vault that answers slowly holds up what it is asked
// for and nothing else.
func TestACallThatVaultDoesNotAnswerHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		closedFor string
		start     func(ctx context.Context, stage *enginetest.Stage, id string) error
	}{
		"a claim": {"/creds/otp", func(ctx context.Context, stage *enginetest.Stage, id string) error {
			_, err := stage.Call(ctx, logical.UpdateOperation, "alice", "claim", map[string]any{"id": id})
			return err
		}},
		"a change of the configuration": {"/auth/approle/login", func(ctx context.Context, stage *enginetest.Stage, _ string) error {
			_, err := stage.Call(ctx, logical.UpdateOperation, "", "config", map[string]any{"retention": "1h"})
			return err
		}},
		"the periodic work": {"/auth/token/revoke-accessor", func(ctx context.Context, stage *enginetest.Stage, _ string) error {
			// There is something for it to do: the end of a grant that could not be confirmed.
			return stage.Periodic(ctx)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stage, g, _ := stuck(t)
			id, other := approvedAt(t, stage), approvedAt(t, stage)
			if name == "the periodic work" {
				expired := fmt.Sprint(call(t, stage, "alice", "request", map[string]any{"role": "otp", "reason": "x", "ttl": "1s"})["id"])
				call(t, stage, "bob", "approve", map[string]any{"id": expired})
				call(t, stage, "alice", "claim", map[string]any{"id": expired})
				time.Sleep(1200 * time.Millisecond)
			}
			g.closedFor.Store(c.closedFor)
			done := make(chan error, 1)
			go func() { done <- c.start(t.Context(), stage, id) }()
			<-g.waiting
			g.closedFor.Store("")

			approvedAt(t, stage)
			call(t, stage, "alice", "claim", map[string]any{"id": other})
			call(t, stage, "bob", "revoke", map[string]any{"id": other})
			call(t, stage, "", "policies/one", map[string]any{"description": "changed meanwhile"})
			call(t, stage, "", "approver-groups/dba", map[string]any{"description": "changed meanwhile"})
			call(t, stage, "", "tidy", nil)
			if name == "a change of the configuration" {
				_, err := stage.Call(t.Context(), logical.UpdateOperation, "", "config", map[string]any{"retention": "2h"})
				wantText(t, err, "another change of the configuration is under way")
			} else {
				call(t, stage, "", "config", map[string]any{"retention": "2h"})
			}
			must(t, stage.Periodic(t.Context()))
			for _, path := range []string{"requests/" + other, "status", "config"} {
				_, err := stage.Call(t.Context(), logical.ReadOperation, "alice", path, nil)
				must(t, err)
			}
			for _, path := range []string{"inbox/", "requests/"} {
				_, err := stage.Call(t.Context(), logical.ListOperation, "bob", path, nil)
				must(t, err)
			}
			g.open()
			must(t, <-done)
		})
	}
}

func wantText(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want it to say %q", err, text)
	}
}

// Whoever asked may go away while Vault is at work, a step-down among them. What was made for them is taken back.
func TestAClaimWhoseCallerGoesAwayIsTakenBack(t *testing.T) {
	t.Parallel()
	stage, g, mount := stuck(t)
	id := approvedAt(t, stage)
	g.closedFor.Store("/creds/otp")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := stage.Call(ctx, logical.UpdateOperation, "alice", "claim", map[string]any{"id": id})
		done <- err
	}()
	<-g.waiting
	g.closedFor.Store("")
	cancel()
	if err := <-done; err == nil {
		t.Error("the claim reports success")
	}
	g.open() // only now upstream gets to work, with a token that is revoked
	live, err := mount.GrantTokens(t.Context())
	must(t, err)
	if len(live) > 0 {
		t.Errorf("%d grant tokens are left", len(live))
	}
	vaulttest.Eventually(t, "what upstream made to be gone", func(ctx context.Context) error {
		leases, err := vaulttest.Shared(t).Leases(ctx, "ssh-"+mount.Path+"/")
		if err == nil && len(leases) > 0 {
			err = fmt.Errorf("%d one-time passwords", len(leases))
		}
		return err
	})
	call(t, stage, "alice", "claim", map[string]any{"id": id})
}

// If the node dies while it revokes, the next one must know that the grant is to end, and by whom.
func TestAnEndIsOnRecordBeforeAnythingIsRevoked(t *testing.T) {
	t.Parallel()
	stage, g, mount := stuck(t)
	id := approvedAt(t, stage)
	call(t, stage, "alice", "claim", map[string]any{"id": id})
	g.closedFor.Store("/sys/leases/revoke")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := stage.Call(ctx, logical.UpdateOperation, "bob", "revoke", map[string]any{"id": id})
		done <- err
	}()
	<-g.waiting
	g.closedFor.Store("")
	must(t, stage.Restart(t.Context()))
	read := func() map[string]any {
		t.Helper()
		answer, err := stage.Call(t.Context(), logical.ReadOperation, "alice", "requests/"+id, nil)
		must(t, err)
		if answer.Data["state"] != "ended" {
			t.Fatalf("the request is %v", answer.Data["state"])
		}
		end, _ := answer.Data["grant"].(map[string]any)
		by, _ := end["ended_by"].(map[string]any)
		if end["end_reason"] != "revoked" || by["entity_id"] != "bob" {
			t.Errorf("the end is %v", end)
		}
		return end
	}
	if end := read(); end["revocation"] != "pending" {
		t.Errorf("the end is %v", end)
	}
	must(t, stage.Periodic(t.Context()))
	if end := read(); end["revocation"] != "confirmed" {
		t.Errorf("the end is %v", end)
	}
	live, err := mount.GrantTokens(t.Context())
	must(t, err)
	if len(live) > 0 {
		t.Errorf("%d grant tokens are left", len(live))
	}
	cancel()
	g.open()
	<-done
	read()
}
