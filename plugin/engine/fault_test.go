package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// fault is one way in which a storage or HTTP call of the engine can fail.
type fault string

const (
	refuses    fault = "it fails without effect"
	losesReply fault = "it takes effect but reports a failure"
	diesBefore fault = "the plugin dies before it"
	diesAfter  fault = "the plugin dies after it"
)

var errFault = errors.New("injected fault")

// faultInjector counts the engine's calls and makes one of them fail.
type faultInjector struct {
	mu      sync.Mutex
	armed   bool
	at      int // the call that fails, from 0
	how     fault
	taken   []string
	dead    bool
	reached bool
}

// step makes one call of the engine, or lets it fail.
func (s *faultInjector) step(name string, do func() error) error {
	s.mu.Lock()
	if !s.armed {
		s.mu.Unlock()
		return do()
	}
	if s.dead {
		s.mu.Unlock()
		return errFault
	}
	hit := len(s.taken) == s.at
	s.taken = append(s.taken, name)
	s.reached = s.reached || hit
	s.dead = hit && (s.how == diesBefore || s.how == diesAfter)
	s.mu.Unlock()
	if hit && (s.how == refuses || s.how == diesBefore) {
		return errFault
	}
	if err := do(); err != nil {
		return err
	}
	if hit {
		return errFault
	}
	return nil
}

func (s *faultInjector) arm(at int, how fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.at, s.how, s.taken, s.dead, s.reached = true, at, how, nil, false, false
}

func (s *faultInjector) disarm() (reached bool, taken []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	return s.reached, s.taken
}

// faultFixture runs the engine inside the test process, so that each of its storage and HTTP calls can fail. Vault and
// PostgreSQL are real, so the test counts what is left behind where it would be left.
type faultFixture struct {
	*faultInjector
	engine *enginetest.Engine
	t      testing.TB
	mount  *vaulttest.Mount
}

// newFaultFixture makes the fixture with a PostgreSQL of its own, because its users are counted.
func newFaultFixture(t *testing.T) (*faultFixture, *vaulttest.Postgres) {
	t.Helper()
	outside := newFixture(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	outside.addDatabaseRoleOn(pg)
	mount := outside.mount
	f := &faultFixture{faultInjector: &faultInjector{}, t: t, mount: mount}
	var err error
	f.engine, err = enginetest.New(t.Context(), outside.Address(), f.step, "alice", "bob")
	must(t, err)
	t.Cleanup(f.engine.Close)
	f.mustWrite("", "config", connectTo(f.engine.Address, mount))
	f.mustWrite("", "approver-groups/dba", map[string]any{"entity_ids": []any{"bob"}})
	f.mustWrite("", "policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	role, err := outside.operated().Roles().Read(t.Context(), "db")
	must(t, err)
	f.mustWrite("", "roles/db", map[string]any{"policy": "one", "path": role.Path, "grant_policies": role.GrantPolicies})
	return f, pg
}

func (f *faultFixture) write(who, path string, data map[string]any) (*logical.Response, error) {
	return f.engine.Call(f.t.Context(), logical.UpdateOperation, who, path, data)
}

// mustWrite writes as the given person and fails the test unless it succeeds.
func (f *faultFixture) mustWrite(who, path string, data map[string]any) *logical.Response {
	f.t.Helper()
	response, err := f.write(who, path, data)
	must(f.t, err)
	return response
}

func (f *faultFixture) readRequest(id string) wire.Request {
	f.t.Helper()
	return readFrom(f.t, f.engine, id)
}

// makeApproved makes an approved request for a window of the given seconds, and returns its id.
func (f *faultFixture) makeApproved(ttl int) string {
	f.t.Helper()
	id := f.mustWrite("alice", "request", map[string]any{"role": "db", "reason": "test", "ttl": ttl}).Data["id"].(string)
	f.mustWrite("bob", "approve", map[string]any{"id": id})
	return id
}

// countLeft counts the database users and the grant tokens that exist.
func (f *faultFixture) countLeft(ctx context.Context, pg *vaulttest.Postgres) (users, tokens int) {
	f.t.Helper()
	names, err := pg.Users(ctx)
	must(f.t, err)
	live, err := f.mount.GrantTokens(ctx)
	must(f.t, err)
	return len(names), len(live)
}

// injectEachFault runs the operation once for each of its calls and each fault, and calls check after each run. id returns
// the request that the operation is about.
func (f *faultFixture) injectEachFault(id func() string, operation func() error, prepare func(), check func(what string, err error)) {
	f.t.Helper()
	runs := 0
	for _, how := range []fault{refuses, losesReply, diesBefore, diesAfter} {
		for at := 0; ; at++ {
			prepare()
			f.arm(at, how)
			err := operation()
			reached, taken := f.disarm()
			if !reached { // the operation has fewer calls, so it succeeded
				must(f.t, err)
				if _, err := f.write("alice", "revoke", map[string]any{"id": id()}); err != nil && !strings.Contains(err.Error(), "ended") {
					f.t.Error(err)
				}
				break
			}
			runs++
			if f.dead {
				must(f.t, f.engine.Restart(f.t.Context()))
			}
			check(fmt.Sprintf("call %d, %s: %s", at, taken[at], how), err)
		}
	}
	if runs < 16 {
		f.t.Errorf("only %d calls were made to fail; the operation makes more", runs/4)
	}
}

func TestEverythingOfAnInterruptedClaimEndsWithItsWindow(t *testing.T) {
	f, pg := newFaultFixture(t)
	const window = 5

	var id string
	lost := 0
	f.injectEachFault(
		func() string { return id },
		func() error {
			_, err := f.write("alice", "claim/"+id, nil)
			return err
		},
		func() { id = f.makeApproved(window) },
		func(what string, err error) {
			usersBefore, tokensBefore := f.countLeft(t.Context(), pg)
			if err == nil {
				t.Errorf("%s: the claim reports success", what)
			}
			second, err := f.write("alice", "claim/"+id, nil)
			switch state := f.readRequest(id).State; {
			case err == nil && state == "active":
			case err != nil && state == "ended":
				// The grant was recorded and only the answer to that write was lost. A request is granted once, so it
				// cannot be claimed again. Nobody got the credential, so the engine ended it.
				if reason := f.readRequest(id).Grant.EndReason; reason != "claim_failed" {
					t.Errorf("%s: the end is for %v", what, reason)
				}
				if users, _ := f.countLeft(t.Context(), pg); users > 0 {
					t.Errorf("%s: %d database users are left, and nobody got them", what, users)
				}
				lost++
				return
			case err != nil && state == "active":
				// The engine died after it had recorded the grant.
				lost++
			default:
				t.Errorf("%s: then the claim answers %v and the request is %s", what, err, state)
			}
			// Vault removes in the background what a revoked token made.
			vaulttest.Eventually(t, what+": one database user at most after the second claim", func(ctx context.Context) error {
				if users, _ := f.countLeft(ctx, pg); users > 1 {
					return fmt.Errorf("%d database users (%d before it, %d tokens)", users, usersBefore, tokensBefore)
				}
				return nil
			})
			f.mustWrite("alice", "revoke", map[string]any{"id": id})
			if users, _ := f.countLeft(t.Context(), pg); users != 0 {
				t.Errorf("%s: %d database users after the end (%v)", what, users, second)
			}
		})
	if lost == 0 {
		t.Error("no fault came after the grant was recorded, so that case is not tested")
	}
	// Nobody knows a token whose creation was never answered. It ends by itself.
	vaulttest.Eventually(t, "the last grant token to end with its window", func(ctx context.Context) error {
		if users, tokens := f.countLeft(ctx, pg); users+tokens > 0 {
			return fmt.Errorf("%d database users and %d grant tokens", users, tokens)
		}
		return nil
	})
}

func TestAbandonedClaimIsCleanedUpByThePeriodicWork(t *testing.T) {
	f, pg := newFaultFixture(t)
	var id string
	unknown := 0
	f.injectEachFault(
		func() string { return id },
		func() error {
			_, err := f.write("alice", "claim/"+id, nil)
			return err
		},
		func() { id = f.makeApproved(3600) },
		func(what string, _ error) {
			if f.readRequest(id).State == "active" {
				f.mustWrite("alice", "revoke", map[string]any{"id": id})
			}
			must(t, f.engine.Periodic(t.Context()))
			// Vault revokes what a revoked token made in the background.
			var tokens int
			vaulttest.Eventually(t, what, func(ctx context.Context) error {
				users, live := f.countLeft(ctx, pg)
				if tokens = live; users > 0 {
					return fmt.Errorf("%d database users", users)
				}
				return nil
			})
			// Only tokens whose creation was never answered can be left, and nobody has them.
			if tokens > unknown {
				unknown++
				if tokens != unknown || !strings.Contains(what, "/v1/auth/token/create/") && !strings.Contains(what, "storage put open/") {
					t.Errorf("%s: %d grant tokens are left, %d of them known to nobody", what, tokens, unknown)
				}
			}
		})
}

func TestInterruptedEndIsCompletedByThePeriodicWork(t *testing.T) {
	f, pg := newFaultFixture(t)
	var id string
	var lease *logical.Secret
	prepare := func() {
		id = f.makeApproved(3600)
		lease = f.mustWrite("alice", "claim/"+id, nil).Secret
	}
	check := func(what string, _ error) {
		must(t, f.engine.Periodic(t.Context()))
		if f.readRequest(id).State == "active" { // the engine recorded nothing, so the caller repeats the call
			f.mustWrite("alice", "revoke", map[string]any{"id": id})
		}
		if grant := f.readRequest(id).Grant; grant.Revocation != "confirmed" {
			t.Errorf("%s: the end is %+v", what, grant)
		}
		if users, tokens := f.countLeft(t.Context(), pg); users+tokens > 0 {
			t.Errorf("%s: %d database users and %d grant tokens are left", what, users, tokens)
		}
	}
	t.Run("revoke", func(t *testing.T) {
		f.t = t
		f.injectEachFault(func() string { return id }, func() error {
			_, err := f.write("alice", "revoke", map[string]any{"id": id})
			return err
		}, prepare, check)
	})
	t.Run("lease revoke", func(t *testing.T) {
		f.t = t
		f.injectEachFault(func() string { return id }, func() error {
			return f.engine.Revoke(t.Context(), lease)
		}, prepare, check)
	})
}
