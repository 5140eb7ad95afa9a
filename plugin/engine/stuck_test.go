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
	g := newGate()
	stage := w.stageWithOTP(g.step)
	t.Cleanup(g.open) // before the stage is closed, which waits for whoever waits
	return stage, g, w.mount
}

// stageWithOTP is an engine inside the test with a role for one-time passwords, which bob approves.
func (w *world) stageWithOTP(step func(name string, do func() error) error) *enginetest.Stage {
	t := w.t
	t.Helper()
	upstream, err := w.EnableSSHOTP(t.Context(), "ssh-"+w.mount.Path, "otp")
	must(t, err)
	must(t, w.mount.AllowGrants(t.Context(), upstream.Policy))
	stage, err := enginetest.New(t.Context(), w.Address(), step, "alice", "bob")
	must(t, err)
	t.Cleanup(stage.Close)
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
	return stage
}

// call is a write that has to succeed soon.
func call(t testing.TB, stage *enginetest.Stage, who, path string, data map[string]any) map[string]any {
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

func approvedAt(t testing.TB, stage *enginetest.Stage) string {
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

// What ends a grant ends all of it, also when whoever asked for it does not wait.
func TestAnEndWhoseCallerGoesAwayIsCompleted(t *testing.T) {
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
	cancel()
	g.open()
	<-done
	live, err := mount.GrantTokens(t.Context())
	must(t, err)
	read, err := stage.Call(t.Context(), logical.ReadOperation, "alice", "requests/"+id, nil)
	must(t, err)
	if end := read.Data["grant"].(map[string]any); len(live) > 0 || end["revocation"] != "confirmed" {
		t.Errorf("%d grant tokens are left, and the end is %v", len(live), end)
	}
}

// The grant token lives from the moment it is made, and all that is made with it ends with it.
func TestTimeThatUpstreamTakesIsPartOfTheWindow(t *testing.T) {
	t.Parallel()
	const window, takes = 20 * time.Second, 4 * time.Second
	for _, c := range []struct {
		name  string
		ttl   time.Duration
		given bool
	}{{"some of it", window, true}, {"all of it", takes, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stage, g, mount := stuck(t)
			id := fmt.Sprint(call(t, stage, "alice", "request", map[string]any{"role": "otp", "reason": "x", "ttl": c.ttl.String()})["id"])
			call(t, stage, "bob", "approve", map[string]any{"id": id})
			g.closedFor.Store("/creds/otp")
			type outcome struct {
				answer *logical.Response
				err    error
			}
			done := make(chan outcome, 1)
			go func() {
				answer, err := stage.Call(t.Context(), logical.UpdateOperation, "alice", "claim", map[string]any{"id": id})
				done <- outcome{answer, err}
			}()
			<-g.waiting
			g.closedFor.Store("")
			time.Sleep(takes)
			g.open()
			claimed := <-done
			if !c.given {
				if claimed.err == nil {
					t.Error("a credential without time is given out")
				}
				live, err := mount.GrantTokens(t.Context())
				must(t, err)
				if len(live) > 0 {
					t.Errorf("%d grant tokens are left", len(live))
				}
				return
			}
			must(t, claimed.err)
			if ttl := claimed.answer.Secret.TTL; ttl > window-takes || !strings.Contains(fmt.Sprint(claimed.answer.Warnings), "part of its window") {
				t.Errorf("the lease is for %s of %s, of which %s were over, and the answer warns %q", ttl, window, takes, claimed.answer.Warnings)
			}
			read, err := stage.Call(t.Context(), logical.ReadOperation, "alice", "requests/"+id, nil)
			must(t, err)
			grant := read.Data["grant"].(map[string]any)
			from, err := time.Parse(time.RFC3339, grant["claimed_at"].(string))
			must(t, err)
			to, err := time.Parse(time.RFC3339, grant["expires_at"].(string))
			must(t, err)
			if to.Sub(from) != window {
				t.Errorf("the grant goes from %s to %s, which is not %s", from, to, window)
			}
		})
	}
}

// Who could still approve is told if it can be found out soon; reading a request does not hang on it.
func TestReadingARequestDoesNotHangOnItsGroups(t *testing.T) {
	t.Parallel()
	stage, g, _ := stuck(t)
	call(t, stage, "", "approver-groups/dba", map[string]any{"identity_group_ids": "g1,g2,g3,g4"})
	id := fmt.Sprint(call(t, stage, "alice", "request", map[string]any{"role": "otp", "reason": "x"})["id"])
	g.closedFor.Store("/identity/group/id/")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	read, err := stage.Call(ctx, logical.ReadOperation, "bob", "requests/"+id, nil)
	must(t, err)
	if !strings.Contains(fmt.Sprint(read.Data["obstacles"]), "0 of 1") {
		t.Errorf("it says %v", read.Data["obstacles"])
	}
}

// A claim makes its grant in one Vault to the end, and that Vault is the one that the engine can end it in.
func TestConfigCannotGoAwayUnderAClaim(t *testing.T) {
	other := vaulttest.New(t, vaulttest.Options{})
	elsewhere, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	for _, at := range []string{"/auth/token/create/", "/creds/otp"} {
		stage, g, mount := stuck(t)
		id := approvedAt(t, stage)
		g.closedFor.Store(at)
		done := make(chan error, 1)
		go func() {
			_, err := stage.Call(t.Context(), logical.UpdateOperation, "alice", "claim", map[string]any{"id": id})
			done <- err
		}()
		<-g.waiting
		g.closedFor.Store("")
		_, err := stage.Call(t.Context(), logical.DeleteOperation, "", "config", nil)
		wantText(t, err, "a claim is under way")
		_, err = stage.Call(t.Context(), logical.UpdateOperation, "", "config", map[string]any{
			"address": other.Address(), "role_id": elsewhere.RoleID, "secret_id": elsewhere.SecretID, "token_role": elsewhere.TokenRole,
		})
		wantText(t, err, "a claim is under way")
		call(t, stage, "", "config", map[string]any{"retention": "2h"}) // which leads nowhere else
		g.open()
		must(t, <-done)
		call(t, stage, "alice", "revoke", map[string]any{"id": id})
		live, err := mount.GrantTokens(t.Context())
		must(t, err)
		if len(live) > 0 {
			t.Errorf("%d grant tokens are left", len(live))
		}
	}
}
