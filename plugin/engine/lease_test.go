package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// gone waits until a credential and everything behind it is gone.
func (w *world) gone(pg *vaulttest.Postgres, credential *api.Secret) {
	w.t.Helper()
	user, password := credential.Data["username"].(string), credential.Data["password"].(string)
	vaulttest.Eventually(w.t, "the credential to be gone", func(ctx context.Context) error {
		if pg.CanLogin(ctx, user, password) == nil {
			return errors.New("the login works")
		}
		users, err := pg.Users(ctx)
		if err != nil {
			return err
		}
		for _, name := range users {
			if name == user {
				return errors.New("the database user is there")
			}
		}
		tokens, err := w.mount.GrantTokens(ctx)
		if err == nil && len(tokens) > 0 {
			err = fmt.Errorf("%d grant tokens", len(tokens))
		}
		return err
	})
}

func (w *world) end(id string) map[string]any {
	w.t.Helper()
	return w.request(w.alice, id)["grant"].(map[string]any)
}

func (w *world) renew(credential *api.Secret, increment int) (*api.Secret, error) {
	return w.Root().Sys().RenewWithContext(w.t.Context(), credential.LeaseID, increment)
}

// tune sets the longest lease of the mount.
func (w *world) tune(longest string) {
	w.t.Helper()
	_, err := w.Root().Logical().WriteWithContext(w.t.Context(), "sys/mounts/"+w.mount.Path+"/tune", map[string]any{"max_lease_ttl": longest})
	must(w.t, err)
}

func TestEveryWayToEndAGrantEndsAllOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pg := w.database()
	for name, c := range map[string]struct {
		ttl    string
		end    func(id string, credential *api.Secret) error
		reason string
		by     *vaulttest.Person
	}{
		"its window passes": {"3s", func(string, *api.Secret) error { return nil }, "window_end", nil},
		"its lease is revoked": {"10m", func(_ string, credential *api.Secret) error {
			return w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true})
		}, "lease_revoked", nil},
		"the leases of its request are revoked": {"10m", func(id string, _ *api.Secret) error {
			return w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: w.mount.Path + "/claim/" + id, Prefix: true, Sync: true})
		}, "lease_revoked", nil},
		"its requester's token is revoked": {"10m", func(string, *api.Secret) error {
			if err := w.alice.Client.Auth().Token().RevokeSelfWithContext(t.Context(), ""); err != nil {
				return err
			}
			return w.alice.Login(t.Context())
		}, "lease_revoked", nil},
		"its requester ends it": {"10m", func(id string, _ *api.Secret) error {
			_, err := w.as(w.alice, "revoke", map[string]any{"id": id})
			return err
		}, "revoked", w.alice},
		"an approver ends it": {"10m", func(id string, _ *api.Secret) error {
			_, err := w.as(w.carol, "revoke", map[string]any{"id": id})
			return err
		}, "revoked", w.carol},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			id := w.ask(w.alice, map[string]any{"role": "db", "ttl": c.ttl})
			w.approve(id, w.bob, w.carol)
			credential := w.does(w.alice, "claim/"+id, nil)
			w.wantLogin(pg, credential, true)
			must(t, c.end(id, credential))
			w.gone(pg, credential)
			vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
				if end := w.end(id); end["revocation"] != "confirmed" {
					return fmt.Errorf("%v", end)
				}
				return nil
			})
			end := w.end(id)
			if end["end_reason"] != c.reason || end["ended_at"] == "" || end["last_error"] != "" {
				t.Errorf("the end is %v, want the reason %s", end, c.reason)
			}
			if by, ok := end["ended_by"].(map[string]any); ok != (c.by != nil) || (ok && by["entity_id"] != c.by.EntityID) {
				t.Errorf("it was ended by %v", end["ended_by"])
			}
			w.wantState(id, "ended")
		})
	}
}

func TestRenewalNeverPassesTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pg := w.database()
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "5s"})
	w.approve(id, w.bob, w.carol)
	credential := w.claim(w.alice, id)
	renewed, err := w.renew(credential, 1_000_000)
	must(t, err)
	if renewed.LeaseDuration > 5 || len(renewed.Data) > 0 {
		t.Errorf("a renewal gave %d s and the data %v; the window has 5 s", renewed.LeaseDuration, renewed.Data)
	}
	w.gone(pg, credential)
	if _, err := w.renew(credential, 1_000_000); err == nil {
		t.Error("a lease was renewed after its window")
	}
	if end := w.end(id); end["end_reason"] != "window_end" {
		t.Errorf("the end is %v", end)
	}
}

func TestHuskOfARevokedGrantCannotBeRenewedAndChangesNothingWhenItEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pg := w.database()
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
	w.approve(id, w.bob, w.carol)
	credential := w.claim(w.alice, id)
	w.does(w.bob, "revoke", map[string]any{"id": id})
	w.gone(pg, credential)
	before := w.end(id)
	if _, err := w.renew(credential, 60); err == nil {
		t.Error("the husk was renewed")
	}
	must(t, w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	if after := w.end(id); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the end was %v and is %v", before, after)
	}
	w.refuses(w.bob, "revoke", map[string]any{"id": id}, "ended")
}

func TestWindowLongerThanPolicyOrMountAllowsIsRefusedNotCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{Tune: api.MountConfigInput{MaxLeaseTTL: "2h"}})
	w.database()
	w.set("policies/two", map[string]any{"max_ttl": "4h"})
	w.refuses(w.alice, "request", map[string]any{"role": "db", "reason": "x", "ttl": "5h"}, "ttl", "max_ttl", "4h")
	w.refuses(w.alice, "request", map[string]any{"role": "db", "reason": "x", "ttl": "3h"}, "ttl", "longest lease of this mount", "2h")
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "90m"})
	w.approve(id, w.bob, w.carol)
	w.tune("1h")
	w.refuses(w.alice, "claim", map[string]any{"id": id}, "longest lease of this mount", "1h")
	w.tune("2h")
	if credential := w.claim(w.alice, id); credential.LeaseDuration != 90*60 {
		t.Errorf("the lease is for %d s", credential.LeaseDuration)
	}
}

func TestCredentialDiesWithItsWindowWhenThePluginIsKilled(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := w.database()
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "6s"})
	w.approve(id, w.bob, w.carol)
	credential := w.claim(w.alice, id)
	w.wantLogin(pg, credential, true)
	must(t, cluster.Nodes[0].KillPlugin())
	w.gone(pg, credential)
	vaulttest.Eventually(t, "the end to be known", func(context.Context) error {
		if state := w.request(w.alice, id)["state"]; state != "ended" {
			return fmt.Errorf("the request is %v", state)
		}
		return nil
	})
}

func TestCredentialOutlivesNothingWhenTheEngineIsDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pg := w.database()
	id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
	w.approve(id, w.bob, w.carol)
	credential := w.claim(w.alice, id)
	must(t, w.mount.Disable(t.Context()))
	w.gone(pg, credential)
}

// Overlapping grants of one person must not share anything, so that the end of one is not the end of the other.
func TestOverlappingGrantsEndIndependently(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pg := w.database()
	role, err := w.mount.Read(t.Context(), "roles/db")
	must(t, err)
	w.set("roles/db2", map[string]any{"policy": "two", "path": role.Data["path"], "grant_policies": role.Data["grant_policies"]})
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		var ids []string
		var credentials []*api.Secret
		for _, name := range []string{"db", "db2"} {
			id := w.ask(w.alice, map[string]any{"role": name, "ttl": "10m"})
			w.approve(id, w.bob, w.carol)
			ids, credentials = append(ids, id), append(credentials, w.claim(w.alice, id))
		}
		first, second := order[0], order[1]
		w.does(w.alice, "revoke", map[string]any{"id": ids[first]})
		w.wantLogin(pg, credentials[first], false)
		w.wantLogin(pg, credentials[second], true)
		w.does(w.alice, "revoke", map[string]any{"id": ids[second]})
		w.gone(pg, credentials[second])
	}
}

// A husk must not keep its mount from being removed, even when nothing else of its grant is left.
func TestHuskOfAForgottenGrantBlocksNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{Config: map[string]any{"retention": "1s"}})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp", "ttl": "1h"})
	w.approve(id, w.bob)
	credential := w.claim(w.alice, id)
	w.does(w.alice, "revoke", map[string]any{"id": id})
	vaulttest.Eventually(t, "the ended request to be removed", func(context.Context) error {
		w.set("tidy", nil)
		if w.request(w.alice, id) != nil {
			return errors.New("it is still there")
		}
		return nil
	})
	must(t, w.mount.Delete(t.Context(), "config"))
	must(t, w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	must(t, w.mount.Disable(t.Context()))
}
