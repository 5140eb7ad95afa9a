package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestEndDuringAnOutageIsShownAndCompletedLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	var ids []string
	var credentials []*api.Secret
	for range 2 {
		id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "1h"})
		f.approve(id, f.bob, f.carol)
		ids = append(ids, id)
		credentials = append(credentials, f.claim(f.alice, id))
	}
	pg.Stop()

	answer := f.mustWriteAs(f.bob, "revoke", map[string]any{"id": ids[0]})
	if grant := answer.Data["grant"].(map[string]any); grant["revocation"] != "pending" || grant["last_error"] == "" ||
		len(answer.Warnings) == 0 || !strings.Contains(answer.Warnings[0], "not confirmed") {
		t.Errorf("with upstream down revoke answers %v and warns %q", answer.Data, answer.Warnings)
	}
	if err := f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credentials[1].LeaseID, Sync: true}); err == nil {
		t.Error("with upstream down a synchronous lease revoke reports success")
	}
	tokens, err := f.mount.GrantTokens(t.Context())
	must(t, err)
	if len(tokens) != 0 {
		t.Errorf("%d grant tokens are left", len(tokens))
	}
	status, err := f.mount.Read(t.Context(), "status")
	must(t, err)
	if got := fmt.Sprint(status.Data["unconfirmed_ends"]); got != "2" {
		t.Errorf("status shows %s unconfirmed ends, want 2", got)
	}
	for n, reason := range []string{"revoked", "lease_revoked"} {
		grant := f.readRequest(f.alice, ids[n])["grant"].(map[string]any)
		if grant["end_reason"] != reason || grant["revocation"] != "pending" || !strings.Contains(fmt.Sprint(grant["last_error"]), "upstream lease") {
			t.Errorf("the request shows %v", grant)
		}
	}
	f.wantRefused(f.alice, "claim/"+ids[0], nil, "ended")

	must(t, pg.Start(t.Context()))
	vaulttest.Eventually(t, "the ends to be confirmed", func(ctx context.Context) error {
		users, err := pg.Users(ctx)
		if err == nil && len(users) > 0 {
			err = fmt.Errorf("%d database users", len(users))
		}
		for _, id := range ids {
			if grant := f.readRequest(f.alice, id)["grant"].(map[string]any); err == nil && grant["revocation"] != "confirmed" {
				err = fmt.Errorf("request %s: %v", id, grant)
			}
		}
		return err
	})
	for _, credential := range credentials {
		f.wantLogin(pg, credential, false)
	}
}
