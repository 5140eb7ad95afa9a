package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// While the engine waits for Vault it holds no lock but the request's own. So a slow Vault delays only what needs it.
func TestSlowVaultDelaysOnlyTheCallThatNeedsIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pauseAt string
		run     func(f *pausingFixture, id string) error
	}{
		"a claim": {"/creds/otp", func(f *pausingFixture, id string) error {
			_, err := f.engine.Call(t.Context(), logical.UpdateOperation, "alice", "claim/"+id, nil)
			return err
		}},
		"a change of the configuration": {"/auth/approle/login", func(f *pausingFixture, _ string) error {
			_, err := f.engine.Call(t.Context(), logical.UpdateOperation, "", "config", map[string]any{"retention": "1h"})
			return err
		}},
		"the periodic work": {"/auth/token/revoke-accessor", func(f *pausingFixture, _ string) error {
			return f.engine.Periodic(t.Context()) // it ends the grant whose window is over
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newPausingFixture(t)
			id, other := f.makeApproved(), f.makeApproved()
			if name == "the periodic work" {
				expired := f.makeApproved(map[string]any{"ttl": "1s"})
				f.mustCall("alice", "claim/"+expired, nil)
				time.Sleep(1200 * time.Millisecond)
			}
			f.pauseAt(c.pauseAt)
			done := make(chan error, 1)
			go func() { done <- c.run(f, id) }()
			f.waitForPause()
			f.stopPausing()

			f.makeApproved()
			f.mustCall("alice", "claim/"+other, nil)
			f.mustCall("bob", "revoke", map[string]any{"id": other})
			f.mustCall("", "policies/one", map[string]any{"description": "changed meanwhile"})
			f.mustCall("", "approver-groups/dba", map[string]any{"description": "changed meanwhile"})
			f.mustCall("", "tidy", nil)
			if name == "a change of the configuration" {
				_, err := f.engine.Call(t.Context(), logical.UpdateOperation, "", "config", map[string]any{"retention": "2h"})
				wantText(t, err, "another change of the configuration is under way")
			} else {
				f.mustCall("", "config", map[string]any{"retention": "2h"})
			}
			must(t, f.engine.Periodic(t.Context()))
			for _, path := range []string{"requests/" + other, "status", "config"} {
				_, err := f.engine.Call(t.Context(), logical.ReadOperation, "alice", path, nil)
				must(t, err)
			}
			for _, path := range []string{"inbox/", "requests/"} {
				_, err := f.engine.Call(t.Context(), logical.ListOperation, "bob", path, nil)
				must(t, err)
			}
			f.resume()
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

// A caller can go away while Vault is working, for instance at a step-down. The engine then revokes what it made.
func TestClaimIsTakenBackWhenItsCallerGoesAway(t *testing.T) {
	t.Parallel()
	f := newPausingFixture(t)
	id := f.makeApproved()
	f.pauseAt("/creds/otp")
	ctx, cancel := context.WithCancel(t.Context())
	done := f.start(ctx, "alice", "claim/"+id, nil)
	f.waitForPause()
	f.stopPausing()
	cancel()
	if err := <-done; err == nil {
		t.Error("the claim reports success")
	}
	f.resume() // only now the call reaches upstream, with a revoked token
	f.wantNoGrantTokens()
	vaulttest.Eventually(t, "upstream's lease to be revoked", func(ctx context.Context) error {
		leases, err := vaulttest.Shared(t).Leases(ctx, "ssh-"+f.mount.Path+"/")
		if err == nil && len(leases) > 0 {
			err = fmt.Errorf("%d one-time passwords", len(leases))
		}
		return err
	})
	f.mustCall("alice", "claim/"+id, nil)
}

// A node may die while it revokes. The next active node must know that somebody ended the grant, and who.
func TestEndIsRecordedBeforeAnythingIsRevoked(t *testing.T) {
	t.Parallel()
	f := newPausingFixture(t)
	id := f.makeApproved()
	f.mustCall("alice", "claim/"+id, nil)
	f.pauseAt("/sys/leases/revoke")
	ctx, cancel := context.WithCancel(t.Context())
	done := f.start(ctx, "bob", "revoke", map[string]any{"id": id})
	f.waitForPause()
	f.stopPausing()
	must(t, f.engine.Restart(t.Context()))
	readEnd := func() *wire.Grant {
		t.Helper()
		request := f.read(id)
		if request.State != "ended" {
			t.Fatalf("the request is %s", request.State)
		}
		if end := request.Grant; end.EndReason != "revoked" || end.EndedBy == nil || end.EndedBy.EntityID != "bob" {
			t.Errorf("the end is %+v", end)
		}
		return request.Grant
	}
	if end := readEnd(); end.Revocation != "pending" {
		t.Errorf("the end is %+v", end)
	}
	must(t, f.engine.Periodic(t.Context()))
	if end := readEnd(); end.Revocation != "confirmed" {
		t.Errorf("the end is %+v", end)
	}
	f.wantNoGrantTokens()
	cancel()
	f.resume()
	<-done
	readEnd()
}

// An end is completed even when its caller does not wait for the answer.
func TestEndIsCompletedWhenItsCallerGoesAway(t *testing.T) {
	t.Parallel()
	f := newPausingFixture(t)
	id := f.makeApproved()
	f.mustCall("alice", "claim/"+id, nil)
	f.pauseAt("/sys/leases/revoke")
	ctx, cancel := context.WithCancel(t.Context())
	done := f.start(ctx, "bob", "revoke", map[string]any{"id": id})
	f.waitForPause()
	f.stopPausing()
	cancel()
	f.resume()
	<-done
	f.wantNoGrantTokens()
	if end := f.read(id).Grant; end.Revocation != "confirmed" {
		t.Errorf("the end is %+v", end)
	}
}

// The window begins when the engine makes the grant token, and everything made with the token ends with it.
func TestWindowIncludesTheTimeThatUpstreamTakes(t *testing.T) {
	t.Parallel()
	const window, takes = 20 * time.Second, 4 * time.Second
	for _, c := range []struct {
		name  string
		ttl   time.Duration
		given bool
	}{{"upstream takes some of it", window, true}, {"upstream takes all of it", takes, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newPausingFixture(t)
			id := f.makeApproved(map[string]any{"ttl": c.ttl.String()})
			f.pauseAt("/creds/otp")
			type outcome struct {
				answer *logical.Response
				err    error
			}
			done := make(chan outcome, 1)
			go func() {
				answer, err := f.engine.Call(t.Context(), logical.UpdateOperation, "alice", "claim/"+id, nil)
				done <- outcome{answer, err}
			}()
			f.waitForPause()
			f.stopPausing()
			time.Sleep(takes)
			f.resume()
			claimed := <-done
			if !c.given {
				if claimed.err == nil {
					t.Error("the claim gave a credential whose window is over")
				}
				f.wantNoGrantTokens()
				return
			}
			must(t, claimed.err)
			if ttl := claimed.answer.Secret.TTL; ttl > window-takes || !strings.Contains(fmt.Sprint(claimed.answer.Warnings), "part of its window") {
				t.Errorf("the lease is for %s; the window is %s, upstream took %s, and the answer warns %q", ttl, window, takes, claimed.answer.Warnings)
			}
			if grant := f.read(id).Grant; grant.ExpiresAt.Sub(grant.ClaimedAt.Time) != window {
				t.Errorf("the grant lasts from %s to %s, want %s", grant.ClaimedAt, grant.ExpiresAt, window)
			}
		})
	}
}

// Reading a request names the possible approvers if Vault answers soon, and does not wait for it otherwise.
func TestReadingARequestDoesNotWaitForItsGroups(t *testing.T) {
	t.Parallel()
	f := newPausingFixture(t)
	f.mustCall("", "approver-groups/dba", map[string]any{"identity_group_ids": "g1,g2,g3,g4"})
	id := fmt.Sprint(f.mustCall("alice", "request", map[string]any{"role": "otp", "reason": "x"})["id"])
	f.pauseAt("/identity/group/id/")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	read, err := f.engine.Call(ctx, logical.ReadOperation, "bob", "requests/"+id, nil)
	must(t, err)
	if !strings.Contains(fmt.Sprint(read.Data["obstacles"]), "0 of 1") {
		t.Errorf("the obstacles are %v", read.Data["obstacles"])
	}
}

// A claim makes its grant in one Vault. The engine must stay able to end the grant there.
func TestConfigCannotBeDeletedOrMovedDuringAClaim(t *testing.T) {
	other := vaulttest.New(t, vaulttest.Options{})
	elsewhere, err := other.Mount(t.Context(), vaulttest.MountOptions{})
	must(t, err)
	for _, at := range []string{"/auth/token/create/", "/creds/otp"} {
		f := newPausingFixture(t)
		id := f.makeApproved()
		f.pauseAt(at)
		done := f.start(t.Context(), "alice", "claim/"+id, nil)
		f.waitForPause()
		f.stopPausing()
		_, err := f.engine.Call(t.Context(), logical.DeleteOperation, "", "config", nil)
		wantText(t, err, "a claim is under way")
		_, err = f.engine.Call(t.Context(), logical.UpdateOperation, "", "config", connectTo(other.Address(), elsewhere))
		wantText(t, err, "a claim is under way")
		f.mustCall("", "config", map[string]any{"retention": "2h"}) // stays at the same Vault
		f.resume()
		must(t, <-done)
		f.mustCall("alice", "revoke", map[string]any{"id": id})
		f.wantNoGrantTokens()
	}
}
