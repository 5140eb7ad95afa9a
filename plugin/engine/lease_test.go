package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// waitUntilGone waits until the credential no longer works and Vault holds nothing of its grant.
func (f *fixture) waitUntilGone(pg *vaulttest.Postgres, credential *api.Secret) {
	f.t.Helper()
	user, password := credential.Data["username"].(string), credential.Data["password"].(string)
	vaulttest.Eventually(f.t, "the credential to stop working", func(ctx context.Context) error {
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
		tokens, err := f.mount.GrantTokens(ctx)
		if err == nil && len(tokens) > 0 {
			err = fmt.Errorf("%d grant tokens", len(tokens))
		}
		return err
	})
}

func (f *fixture) readEnd(id string) map[string]any {
	f.t.Helper()
	return f.readRequest(f.alice, id)["grant"].(map[string]any)
}

func (f *fixture) renew(credential *api.Secret, increment int) (*api.Secret, error) {
	return f.Root().Sys().RenewWithContext(f.t.Context(), credential.LeaseID, increment)
}

// limitLeases sets the mount's longest lease.
func (f *fixture) limitLeases(longest string) {
	f.t.Helper()
	_, err := f.Root().Logical().WriteWithContext(f.t.Context(), "sys/mounts/"+f.mount.Path+"/tune", map[string]any{"max_lease_ttl": longest})
	must(f.t, err)
}

func TestEveryEndEndsTheWholeGrant(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	for name, c := range map[string]struct {
		ttl    string
		end    func(id string, credential *api.Secret) error
		reason string
		by     *vaulttest.Person
	}{
		"its window passes": {"3s", func(string, *api.Secret) error { return nil }, "window_end", nil},
		"its lease is revoked": {"10m", func(_ string, credential *api.Secret) error {
			return f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true})
		}, "lease_revoked", nil},
		"the leases of its request are revoked": {"10m", func(id string, _ *api.Secret) error {
			return f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: f.mount.Path + "/claim/" + id, Prefix: true, Sync: true})
		}, "lease_revoked", nil},
		"its requester's token is revoked": {"10m", func(string, *api.Secret) error {
			if err := f.alice.Client.Auth().Token().RevokeSelfWithContext(t.Context(), ""); err != nil {
				return err
			}
			return f.alice.Login(t.Context())
		}, "lease_revoked", nil},
		"its requester ends it": {"10m", func(id string, _ *api.Secret) error {
			_, err := f.writeAs(f.alice, "revoke", map[string]any{"id": id})
			return err
		}, "revoked", f.alice},
		"an approver ends it": {"10m", func(id string, _ *api.Secret) error {
			_, err := f.writeAs(f.carol, "revoke", map[string]any{"id": id})
			return err
		}, "revoked", f.carol},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			id := f.ask(f.alice, map[string]any{"role": "db", "ttl": c.ttl})
			f.approve(id, f.bob, f.carol)
			credential := f.mustWriteAs(f.alice, "claim/"+id, nil)
			f.wantLogin(pg, credential, true)
			must(t, c.end(id, credential))
			f.waitUntilGone(pg, credential)
			vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
				if end := f.readEnd(id); end["revocation"] != "confirmed" {
					return fmt.Errorf("%v", end)
				}
				return nil
			})
			end := f.readEnd(id)
			if end["end_reason"] != c.reason || end["ended_at"] == "" || end["last_error"] != "" {
				t.Errorf("the end is %v, want the reason %s", end, c.reason)
			}
			if by, ok := end["ended_by"].(map[string]any); ok != (c.by != nil) || (ok && by["entity_id"] != c.by.EntityID) {
				t.Errorf("it was ended by %v", end["ended_by"])
			}
			f.wantState(id, "ended")
		})
	}
}

func TestRenewalNeverPassesTheWindow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "5s"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	renewed, err := f.renew(credential, 1_000_000)
	must(t, err)
	if renewed.LeaseDuration > 5 || len(renewed.Data) > 0 {
		t.Errorf("a renewal gave %d s and the data %v; the window has 5 s", renewed.LeaseDuration, renewed.Data)
	}
	f.waitUntilGone(pg, credential)
	if _, err := f.renew(credential, 1_000_000); err == nil {
		t.Error("a lease was renewed after its window")
	}
	if end := f.readEnd(id); end["end_reason"] != "window_end" {
		t.Errorf("the end is %v", end)
	}
}

func TestLeaseOfARevokedGrantCannotBeRenewedAndItsEndChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	f.mustWriteAs(f.bob, "revoke", map[string]any{"id": id})
	f.waitUntilGone(pg, credential)
	before := f.readEnd(id)
	if _, err := f.renew(credential, 60); err == nil {
		t.Error("the lease was renewed")
	}
	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	if after := f.readEnd(id); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the end was %v and is %v", before, after)
	}
	f.wantRefused(f.bob, "revoke", map[string]any{"id": id}, "ended")
}

func TestWindowLongerThanPolicyOrMountAllowsIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Tune: api.MountConfigInput{MaxLeaseTTL: "2h"}})
	f.addDatabaseRole()
	f.writeAsAdmin("policies/two", map[string]any{"max_ttl": "4h"})
	f.wantRefused(f.alice, "request", map[string]any{"role": "db", "reason": "x", "ttl": "5h"}, "ttl", "max_ttl", "4h")
	f.wantRefused(f.alice, "request", map[string]any{"role": "db", "reason": "x", "ttl": "3h"}, "ttl", "longest lease of this mount", "2h")
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "90m"})
	f.approve(id, f.bob, f.carol)
	f.limitLeases("1h")
	f.wantRefused(f.alice, "claim/"+id, nil, "longest lease of this mount", "1h")
	f.limitLeases("2h")
	if credential := f.claim(f.alice, id); credential.LeaseDuration != 90*60 {
		t.Errorf("the lease is for %d s", credential.LeaseDuration)
	}
}

func TestCredentialEndsWithItsWindowAfterThePluginIsKilled(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "6s"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	f.wantLogin(pg, credential, true)
	must(t, cluster.Nodes[0].KillPlugin())
	f.waitUntilGone(pg, credential)
	vaulttest.Eventually(t, "the end to be recorded", func(context.Context) error {
		if state := f.readRequest(f.alice, id)["state"]; state != "ended" {
			return fmt.Errorf("the request is %v", state)
		}
		return nil
	})
}

func TestDisablingTheEngineRevokesItsCredentials(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(id, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	must(t, f.mount.Disable(t.Context()))
	f.waitUntilGone(pg, credential)
}

// Two grants of one person share nothing, so ending one must not end the other.
func TestOverlappingGrantsEndIndependently(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	role, err := f.mount.Read(t.Context(), "roles/db")
	must(t, err)
	f.writeAsAdmin("roles/db2", map[string]any{"policy": "two", "path": role.Data["path"], "grant_policies": role.Data["grant_policies"]})
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		var ids []string
		var credentials []*api.Secret
		for _, name := range []string{"db", "db2"} {
			id := f.ask(f.alice, map[string]any{"role": name, "ttl": "10m"})
			f.approve(id, f.bob, f.carol)
			ids, credentials = append(ids, id), append(credentials, f.claim(f.alice, id))
		}
		first, second := order[0], order[1]
		f.mustWriteAs(f.alice, "revoke", map[string]any{"id": ids[first]})
		f.wantLogin(pg, credentials[first], false)
		f.wantLogin(pg, credentials[second], true)
		f.mustWriteAs(f.alice, "revoke", map[string]any{"id": ids[second]})
		f.waitUntilGone(pg, credentials[second])
	}
}

// The lease outlives its tidied record. It must not keep an operator from removing the mount.
func TestLeaseOfATidiedGrantCanBeRevoked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"retention": "1s"}})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp", "ttl": "1h"})
	f.approve(id, f.bob)
	credential := f.claim(f.alice, id)
	f.mustWriteAs(f.alice, "revoke", map[string]any{"id": id})
	vaulttest.Eventually(t, "the ended request to be removed", func(context.Context) error {
		f.writeAsAdmin("tidy", nil)
		if f.readRequest(f.alice, id) != nil {
			return errors.New("it is still there")
		}
		return nil
	})
	must(t, f.mount.Delete(t.Context(), "config"))
	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	must(t, f.mount.Disable(t.Context()))
}
