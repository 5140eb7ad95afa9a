package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestPeriodicWorkDestroysReplacedSecrets(t *testing.T) {
	t.Parallel()
	f := newFailingFixture(t)
	first := map[string]any{"role_id": f.mount.RoleID, "secret_id": f.mount.SecretID}
	f.failAt("secret-id/destroy", refuses)
	for range 2 {
		answer, err := f.engine.Call(t.Context(), logical.UpdateOperation, "", "config/rotate-root", nil)
		must(t, err)
		if !strings.Contains(fmt.Sprint(answer.Warnings), "not destroyed yet") {
			t.Errorf("the rotation warns %q", answer.Warnings)
		}
	}
	must(t, f.loginAppRole(first))
	f.stopFailing()
	must(t, f.engine.Periodic(t.Context()))
	if f.loginAppRole(first) == nil {
		t.Error("the first secret_id still works")
	}
	approved := f.makeApproved()
	f.mustCall("alice", "claim/"+approved, nil)
}

// The engine goes on with the stored secret, whether that is the old or the new one.
func TestEngineCanLogInAfterARotationWhoseWriteFailed(t *testing.T) {
	t.Parallel()
	for _, how := range []fault{refuses, losesReply} {
		t.Run(string(how), func(t *testing.T) {
			f := newFailingFixture(t)
			must(t, f.engine.Periodic(t.Context())) // logs in
			before, err := f.mount.EngineTokens(t.Context())
			must(t, err)
			f.failAt("storage put config", how)
			if _, err := f.engine.Call(t.Context(), logical.UpdateOperation, "", "config/rotate-root", nil); err == nil {
				t.Error("the rotation reports success")
			}
			f.stopFailing()
			must(t, f.engine.Periodic(t.Context()))
			vaulttest.Eventually(t, "the logins that are not used any more to end", func(ctx context.Context) error {
				live, err := f.mount.EngineTokens(ctx)
				if err == nil && len(live) > len(before) {
					err = fmt.Errorf("%d logins live, %d did before", len(live), len(before))
				}
				return err
			})
			f.endEngineTokens()
			approved := f.makeApproved()
			f.mustCall("alice", "claim/"+approved, nil)
		})
	}
}

// endEngineTokens revokes the engine's tokens, so that it has to log in again.
func (f *fixture) endEngineTokens() {
	f.t.Helper()
	tokens, err := f.mount.EngineTokens(f.t.Context())
	must(f.t, err)
	for _, token := range tokens {
		must(f.t, f.Root().Auth().Token().RevokeAccessorWithContext(f.t.Context(), token.Accessor))
	}
}

func TestStatusCountsWhatAFailedClaimLeftUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	f := newFailingFixture(t)
	approved := f.makeApproved()
	f.failAt("/auth/token/revoke-accessor", refuses)
	must(t, f.Policy(t.Context(), "ssh-"+f.mount.Path+"-otp", `path "nothing" { capabilities = ["read"] }`))
	if _, err := f.engine.Call(t.Context(), logical.UpdateOperation, "alice", "claim/"+approved, nil); err == nil {
		t.Error("the claim reports success")
	}
	readUnconfirmed := func() string {
		t.Helper()
		status, err := f.engine.Call(t.Context(), logical.ReadOperation, "", "status", nil)
		must(t, err)
		return fmt.Sprintf("%v %v %v", status.Data["unconfirmed_ends"], status.Data["unconfirmed_ids"], status.Data["live_grants"])
	}
	must(t, f.engine.Periodic(t.Context()))
	if got, want := readUnconfirmed(), fmt.Sprintf("1 [%s] 0", approved); got != want {
		t.Errorf("the status shows %s, want %s", got, want)
	}
	f.stopFailing()
	must(t, f.engine.Periodic(t.Context()))
	if got, want := readUnconfirmed(), "0 [] 0"; got != want {
		t.Errorf("after the periodic work the status shows %s, want %s", got, want)
	}
	f.wantNoGrantTokens()
}

// The requester need not learn how the engine reaches Vault.
func TestClaimDoesNotShowTheAddressOfAnUnreachableVault(t *testing.T) {
	t.Parallel()
	f := newFailingFixture(t)
	approved := f.makeApproved()
	f.failAt("/auth/token/create/", refuses)
	_, err := f.engine.Call(t.Context(), logical.UpdateOperation, "alice", "claim/"+approved, nil)
	if err == nil || strings.Contains(err.Error(), f.engine.Address) {
		t.Errorf("the claim says %v", err)
	}
}
