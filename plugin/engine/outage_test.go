package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestEndDuringAnOutageIsShownAndCompletedLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	var ids []string
	var credentials []client.Credential
	for range 2 {
		id := f.askApproved(wire.Ask{Role: "db", TTL: hour}, f.bob, f.carol)
		ids = append(ids, id)
		credentials = append(credentials, f.claim(f.alice, id))
	}
	pg.Stop()

	revoked, warnings := f.revoke(f.bob, ids[0])
	if revoked.Grant.Revocation != "pending" || revoked.Grant.LastError == "" {
		t.Errorf("with upstream down revoke answers %+v", revoked)
	}
	wantWarning(t, warnings, "not confirmed")
	if err := f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credentials[1].LeaseID, Sync: true}); err == nil {
		t.Error("with upstream down a synchronous lease revoke reports success")
	}
	tokens, err := f.mount.GrantTokens(t.Context())
	must(t, err)
	if len(tokens) != 0 {
		t.Errorf("%d grant tokens are left", len(tokens))
	}
	f.wantUnconfirmedEnds(2)
	for n, reason := range []string{"revoked", "lease_revoked"} {
		end := f.readEnd(ids[n])
		if end.EndReason != reason || end.Revocation != "pending" || !strings.Contains(end.LastError, "upstream lease") {
			t.Errorf("the request shows %+v", end)
		}
	}
	f.wantClaimRefused(ids[0], "ended")

	must(t, pg.Start(t.Context()))
	vaulttest.Eventually(t, "the ends to be confirmed", func(ctx context.Context) error {
		users, err := pg.Users(ctx)
		if err == nil && len(users) > 0 {
			err = fmt.Errorf("%d database users", len(users))
		}
		for _, id := range ids {
			if end := f.readEnd(id); err == nil && end.Revocation != "confirmed" {
				err = fmt.Errorf("request %s: %+v", id, end)
			}
		}
		return err
	})
	for _, credential := range credentials {
		f.wantLogin(pg, credential, false)
	}
}
