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
)

// fault is one way in which a step of the engine's, a storage or an HTTP call, can go wrong.
type fault string

const (
	refuses    fault = "it fails without effect"
	losesReply fault = "it takes effect but reports a failure"
	diesBefore fault = "the plugin dies before it"
	diesAfter  fault = "the plugin dies after it"
)

var errFault = errors.New("injected fault")

// saboteur counts steps, and lets one of them go wrong.
type saboteur struct {
	mu      sync.Mutex
	armed   bool
	at      int // the step to sabotage, from 0
	how     fault
	taken   []string
	dead    bool
	reached bool
}

// step runs one step of the engine's.
func (s *saboteur) step(name string, do func() error) error {
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

func (s *saboteur) arm(at int, how fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.at, s.how, s.taken, s.dead, s.reached = true, at, how, nil, false, false
}

func (s *saboteur) disarm() (reached bool, taken []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	return s.reached, s.taken
}

// theatre runs the engine inside the test, so that every one of its storage and HTTP calls can be made to fail, against
// a real Vault and a real PostgreSQL, so that what is left behind is counted where it would be left.
type theatre struct {
	*saboteur
	*enginetest.Stage
	t     testing.TB
	mount *vaulttest.Mount
}

func newTheatre(t *testing.T, w *world) *theatre {
	t.Helper()
	th := &theatre{saboteur: &saboteur{}, t: t, mount: w.mount}
	stage, err := enginetest.New(t.Context(), w.Address(), th.step, "alice", "bob")
	must(t, err)
	t.Cleanup(stage.Close)
	th.Stage = stage
	th.must("", "config", map[string]any{
		"address": stage.Address, "role_id": w.mount.RoleID, "secret_id": w.mount.SecretID, "token_role": w.mount.TokenRole,
	})
	th.must("", "approver-groups/dba", map[string]any{"entity_ids": []any{"bob"}})
	th.must("", "policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	role, err := w.mount.Read(t.Context(), "roles/db")
	must(t, err)
	th.must("", "roles/db", map[string]any{
		"policy": "one", "path": role.Data["path"], "grant_policies": role.Data["grant_policies"],
	})
	return th
}

func (th *theatre) write(who, path string, data map[string]any) (*logical.Response, error) {
	return th.Call(th.t.Context(), logical.UpdateOperation, who, path, data)
}

// must is a write that has to succeed.
func (th *theatre) must(who, path string, data map[string]any) *logical.Response {
	th.t.Helper()
	response, err := th.write(who, path, data)
	must(th.t, err)
	return response
}

func (th *theatre) request(id string) map[string]any {
	th.t.Helper()
	response, err := th.Call(th.t.Context(), logical.ReadOperation, "alice", "requests/"+id, nil)
	must(th.t, err)
	return response.Data
}

func (th *theatre) state(id string) string {
	th.t.Helper()
	return th.request(id)["state"].(string)
}

// approved makes an approved request for a window of the given seconds.
func (th *theatre) approved(ttl int) string {
	th.t.Helper()
	id := th.must("alice", "request", map[string]any{"role": "db", "reason": "test", "ttl": ttl}).Data["id"].(string)
	th.must("bob", "approve", map[string]any{"id": id})
	return id
}

// left is what there is in the world outside: database users and grant tokens.
func (th *theatre) left(ctx context.Context, pg *vaulttest.Postgres) (users, tokens int) {
	th.t.Helper()
	names, err := pg.Users(ctx)
	must(th.t, err)
	live, err := th.mount.GrantTokens(ctx)
	must(th.t, err)
	return len(names), len(live)
}

// sabotage plays the scene once with each of its steps going wrong in each way, and calls check after each.
// id is the request that the scene is about.
func (th *theatre) sabotage(id func() string, scene func() error, prepare func(), check func(what string, err error)) {
	th.t.Helper()
	played := 0
	for _, how := range []fault{refuses, losesReply, diesBefore, diesAfter} {
		for at := 0; ; at++ {
			prepare()
			th.arm(at, how)
			err := scene()
			reached, taken := th.disarm()
			if !reached { // the scene is over before that step, and went well
				must(th.t, err)
				if _, err := th.write("alice", "revoke", map[string]any{"id": id()}); err != nil && !strings.Contains(err.Error(), "ended") {
					th.t.Error(err)
				}
				break
			}
			played++
			if th.dead {
				must(th.t, th.Restart(th.t.Context()))
			}
			check(fmt.Sprintf("step %d, %s: %s", at, taken[at], how), err)
		}
	}
	if played < 16 {
		th.t.Errorf("only %d faults were played; the scene takes more steps than that", played/4)
	}
}

func TestInterruptedClaimLeavesNothingThatItsWindowDoesNotEnd(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t) // of its own, because its users are counted
	w.databaseOn(pg)
	th := newTheatre(t, w)
	const window = 5

	var id string
	lost := 0
	th.sabotage(
		func() string { return id },
		func() error {
			_, err := th.write("alice", "claim", map[string]any{"id": id})
			return err
		},
		func() { id = th.approved(window) },
		func(what string, err error) {
			usersBefore, tokensBefore := th.left(t.Context(), pg)
			if err == nil {
				t.Errorf("%s: the claim reports success", what)
			}
			second, err := th.write("alice", "claim", map[string]any{"id": id})
			switch state := th.state(id); {
			case err == nil && state == "active":
			case err != nil && state == "active":
				// The grant was on record and only the answer was lost: granted once, so it cannot be claimed again.
				lost++
			default:
				t.Errorf("%s: then the claim answers %v and the request is %s", what, err, state)
			}
			if users, _ := th.left(t.Context(), pg); users > 1 {
				t.Errorf("%s: %d database users after the second claim (%d before it, %d tokens)", what, users, usersBefore, tokensBefore)
			}
			th.must("alice", "revoke", map[string]any{"id": id})
			if users, _ := th.left(t.Context(), pg); users != 0 {
				t.Errorf("%s: %d database users after the end (%v)", what, users, second)
			}
		})
	if lost == 0 {
		t.Error("no fault hit after the grant was recorded; that case is not tested")
	}
	// A token whose creation was never answered is known to nobody. It ends by itself.
	vaulttest.Eventually(t, "the last grant token to end with its window", func(ctx context.Context) error {
		if users, tokens := th.left(ctx, pg); users+tokens > 0 {
			return fmt.Errorf("%d database users and %d grant tokens", users, tokens)
		}
		return nil
	})
}

func TestAbandonedClaimIsCleanedUpByThePeriodicWork(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	w.databaseOn(pg)
	th := newTheatre(t, w)
	var id string
	unknown := 0
	th.sabotage(
		func() string { return id },
		func() error {
			_, err := th.write("alice", "claim", map[string]any{"id": id})
			return err
		},
		func() { id = th.approved(3600) },
		func(what string, _ error) {
			if th.state(id) == "active" {
				th.must("alice", "revoke", map[string]any{"id": id})
			}
			must(t, th.Periodic(t.Context()))
			// Vault revokes what a revoked token made in the background.
			var tokens int
			vaulttest.Eventually(t, what, func(ctx context.Context) error {
				users, live := th.left(ctx, pg)
				if tokens = live; users > 0 {
					return fmt.Errorf("%d database users", users)
				}
				return nil
			})
			// Only a token whose creation was not answered can be left, and nobody has it.
			if tokens > unknown {
				unknown++
				if tokens != unknown || !strings.Contains(what, "/v1/auth/token/create/") && !strings.Contains(what, "storage put open/") {
					t.Errorf("%s: %d grant tokens are left, %d of them known to nobody", what, tokens, unknown)
				}
			}
		})
}

func TestInterruptedEndIsCompletedByThePeriodicWork(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	w.databaseOn(pg)
	th := newTheatre(t, w)
	var id string
	var lease *logical.Secret
	prepare := func() {
		id = th.approved(3600)
		lease = th.must("alice", "claim", map[string]any{"id": id}).Secret
	}
	check := func(what string, _ error) {
		must(t, th.Periodic(t.Context()))
		if th.state(id) == "active" { // nothing of the end was recorded, so its caller has to repeat it, and does
			th.must("alice", "revoke", map[string]any{"id": id})
		}
		grant := th.request(id)["grant"].(map[string]any)
		if grant["revocation"] != "confirmed" {
			t.Errorf("%s: the end is %v", what, grant)
		}
		if users, tokens := th.left(t.Context(), pg); users+tokens > 0 {
			t.Errorf("%s: %d database users and %d grant tokens are left", what, users, tokens)
		}
	}
	t.Run("revoke", func(t *testing.T) {
		th.t = t
		th.sabotage(func() string { return id }, func() error {
			_, err := th.write("alice", "revoke", map[string]any{"id": id})
			return err
		}, prepare, check)
	})
	t.Run("lease revoke", func(t *testing.T) {
		th.t = t
		th.sabotage(func() string { return id }, func() error {
			return th.Revoke(t.Context(), lease)
		}, prepare, check)
	})
}
