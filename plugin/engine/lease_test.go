package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// waitUntilGone waits until the credential no longer works and Vault holds nothing of its grant.
func (f *fixture) waitUntilGone(pg *vaulttest.Postgres, credential client.Credential) {
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

func (f *fixture) renew(credential client.Credential, increment int) (*api.Secret, error) {
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
		ttl    wire.Seconds
		end    func(id string, credential client.Credential) error
		reason string
		by     *vaulttest.Person
	}{
		"its window passes": {3, func(string, client.Credential) error { return nil }, "window_end", nil},
		"its lease is revoked": {10 * minute, func(_ string, credential client.Credential) error {
			return f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true})
		}, "lease_revoked", nil},
		"the leases of its request are revoked": {10 * minute, func(id string, _ client.Credential) error {
			return f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: f.mount.Path + "/claim/" + id, Prefix: true, Sync: true})
		}, "lease_revoked", nil},
		"its requester's token is revoked": {10 * minute, func(string, client.Credential) error {
			if err := f.alice.Client.Auth().Token().RevokeSelfWithContext(t.Context(), ""); err != nil {
				return err
			}
			return f.alice.Login(t.Context())
		}, "lease_revoked", nil},
		"its requester ends it": {10 * minute, func(id string, _ client.Credential) error {
			_, _, err := f.as(f.alice).Revoke(t.Context(), id)
			return err
		}, "revoked", f.alice},
		"an approver ends it": {10 * minute, func(id string, _ client.Credential) error {
			_, _, err := f.as(f.carol).Revoke(t.Context(), id)
			return err
		}, "revoked", f.carol},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			id := f.askApproved(wire.Ask{Role: "db", TTL: c.ttl}, f.bob, f.carol)
			credential := f.claim(f.alice, id)
			f.wantLogin(pg, credential, true)
			must(t, c.end(id, credential))
			f.waitUntilGone(pg, credential)
			vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
				if end := f.readEnd(id); end.Revocation != "confirmed" {
					return fmt.Errorf("%+v", end)
				}
				return nil
			})
			end := f.readEnd(id)
			if end.EndReason != c.reason || end.EndedAt.IsZero() || end.LastError != "" {
				t.Errorf("the end is %+v, want the reason %s", end, c.reason)
			}
			if by := end.EndedBy; (by != nil) != (c.by != nil) || (by != nil && by.EntityID != c.by.EntityID) {
				t.Errorf("it was ended by %v", by)
			}
			f.wantState(id, "ended")
		})
	}
}

func TestRenewalNeverPassesTheWindow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.askApproved(wire.Ask{Role: "db", TTL: 5}, f.bob, f.carol)
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
	if end := f.readEnd(id); end.EndReason != "window_end" {
		t.Errorf("the end is %+v", end)
	}
}

func TestLeaseOfARevokedGrantCannotBeRenewedAndItsEndChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	f.revoke(f.bob, id)
	f.waitUntilGone(pg, credential)
	before := f.readEnd(id)
	if _, err := f.renew(credential, 60); err == nil {
		t.Error("the lease was renewed")
	}
	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	wantEqual(t, f.readEnd(id), before)
	_, _, err := f.as(f.bob).Revoke(t.Context(), id)
	wantRefusal(t, err, "ended")
}

func TestWindowLongerThanPolicyOrMountAllowsIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Tune: api.MountConfigInput{MaxLeaseTTL: "2h"}})
	f.addDatabaseRole()
	f.must(f.operated().Policies().Change(t.Context(), "two", map[string]any{"max_ttl": "4h"}))
	wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), wire.Ask{Role: "db", Reason: "x", TTL: 5 * hour})), "ttl", "max_ttl", "4h")
	wantRefusal(t, errorOf(f.as(f.alice).Ask(t.Context(), wire.Ask{Role: "db", Reason: "x", TTL: 3 * hour})), "ttl", "longest lease of this mount", "2h")
	id := f.askApproved(wire.Ask{Role: "db", TTL: 90 * minute}, f.bob, f.carol)
	f.limitLeases("1h")
	f.wantClaimRefused(id, "longest lease of this mount", "1h")
	f.limitLeases("2h")
	if credential := f.claim(f.alice, id); credential.LeaseDuration != 90*time.Minute {
		t.Errorf("the lease is for %s", credential.LeaseDuration)
	}
}

func TestCredentialEndsWithItsWindowAfterThePluginIsKilled(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.askApproved(wire.Ask{Role: "db", TTL: 6}, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	f.wantLogin(pg, credential, true)
	must(t, cluster.Nodes[0].KillPlugin())
	f.waitUntilGone(pg, credential)
	vaulttest.Eventually(t, "the end to be recorded", func(context.Context) error {
		if state := f.readRequest(f.alice, id).State; state != "ended" {
			return fmt.Errorf("the request is %v", state)
		}
		return nil
	})
}

func TestDisablingTheEngineRevokesItsCredentials(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	id := f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, f.bob, f.carol)
	credential := f.claim(f.alice, id)
	must(t, f.mount.Disable(t.Context()))
	f.waitUntilGone(pg, credential)
}

// Two grants of one person share nothing, so ending one must not end the other.
func TestOverlappingGrantsEndIndependently(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	role, err := f.operated().Roles().Read(t.Context(), "db")
	must(t, err)
	f.must(f.operated().Roles().Write(t.Context(), "db2", role))
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		var ids []string
		var credentials []client.Credential
		for _, name := range []string{"db", "db2"} {
			id := f.askApproved(wire.Ask{Role: name, TTL: 10 * minute}, f.bob, f.carol)
			ids, credentials = append(ids, id), append(credentials, f.claim(f.alice, id))
		}
		first, second := order[0], order[1]
		f.revoke(f.alice, ids[first])
		f.wantLogin(pg, credentials[first], false)
		f.wantLogin(pg, credentials[second], true)
		f.revoke(f.alice, ids[second])
		f.waitUntilGone(pg, credentials[second])
	}
}

// The lease outlives its tidied record. It must not keep an operator from removing the mount.
func TestLeaseOfATidiedGrantCanBeRevoked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"retention": "1s"}})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp", TTL: hour}, f.bob)
	credential := f.claim(f.alice, id)
	f.revoke(f.alice, id)
	vaulttest.Eventually(t, "the ended request to be removed", func(context.Context) error {
		f.must(f.operated().Tidy(t.Context()))
		if f.sees(f.alice, id) {
			return errors.New("it is still there")
		}
		return nil
	})
	must(t, f.operated().DeleteConfig(t.Context()))
	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	must(t, f.mount.Disable(t.Context()))
}
