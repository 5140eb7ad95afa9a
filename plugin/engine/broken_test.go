package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// breaker lets all calls go wrong, for as long as it is told to, whose name holds a text.
type breaker struct {
	mu   sync.Mutex
	text string
	how  fault // refuses or losesReply
}

func (b *breaker) breaks(text string, how fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text, b.how = text, how
}

func (b *breaker) mend() { b.breaks("", "") }

func (b *breaker) step(name string, do func() error) error {
	b.mu.Lock()
	broken, how := b.text != "" && strings.Contains(name, b.text), b.how
	b.mu.Unlock()
	if broken && how == refuses {
		return errFault
	}
	if err := do(); err != nil || !broken {
		return err
	}
	return errFault
}

// breakable is an engine inside the test of which some calls can be made to go wrong.
func breakable(t *testing.T) (*world, *enginetest.Stage, *breaker) {
	t.Helper()
	w := newWorld(t, vaulttest.MountOptions{})
	b := &breaker{}
	return w, w.stageWithOTP(b.step), b
}

func TestEveryReplacedSecretIsDestroyedInTheEnd(t *testing.T) {
	t.Parallel()
	w, stage, b := breakable(t)
	first := map[string]any{"role_id": w.mount.RoleID, "secret_id": w.mount.SecretID}
	b.breaks("secret-id/destroy", refuses)
	for range 2 {
		answer, err := stage.Call(t.Context(), logical.UpdateOperation, "", "config/rotate-root", nil)
		must(t, err)
		if !strings.Contains(fmt.Sprint(answer.Warnings), "not destroyed yet") {
			t.Errorf("it warns %q", answer.Warnings)
		}
	}
	must(t, login(w, first))
	b.mend()
	must(t, stage.Periodic(t.Context()))
	if login(w, first) == nil {
		t.Error("the secret_id that somebody outside the engine knew still works")
	}
	approved := approvedAt(t, stage)
	call(t, stage, "alice", "claim", map[string]any{"id": approved})
}

// Whether it was stored or not, the engine goes on with what is stored.
func TestARotationWhoseWriteFailsLocksNobodyOut(t *testing.T) {
	t.Parallel()
	for _, how := range []fault{refuses, losesReply} {
		t.Run(string(how), func(t *testing.T) {
			w, stage, b := breakable(t)
			b.breaks("storage put config", how)
			if _, err := stage.Call(t.Context(), logical.UpdateOperation, "", "config/rotate-root", nil); err == nil {
				t.Error("the rotation reports success")
			}
			b.mend()
			must(t, stage.Periodic(t.Context()))
			w.endEngineTokens()
			approved := approvedAt(t, stage)
			call(t, stage, "alice", "claim", map[string]any{"id": approved})
		})
	}
}

// endEngineTokens makes the engine log in anew.
func (w *world) endEngineTokens() {
	w.t.Helper()
	tokens, err := w.mount.EngineTokens(w.t.Context())
	must(w.t, err)
	for _, token := range tokens {
		must(w.t, w.Root().Auth().Token().RevokeAccessorWithContext(w.t.Context(), token.Accessor))
	}
}

func TestWhatAFailedClaimLeftIsCountedUntilItIsGone(t *testing.T) {
	t.Parallel()
	w, stage, b := breakable(t)
	approved := approvedAt(t, stage)
	b.breaks("/auth/token/revoke-accessor", refuses)
	must(t, w.Policy(t.Context(), "ssh-"+w.mount.Path+"-otp", `path "nothing" { capabilities = ["read"] }`))
	if _, err := stage.Call(t.Context(), logical.UpdateOperation, "alice", "claim", map[string]any{"id": approved}); err == nil {
		t.Error("the claim reports success")
	}
	unconfirmed := func() string {
		t.Helper()
		status, err := stage.Call(t.Context(), logical.ReadOperation, "", "status", nil)
		must(t, err)
		return fmt.Sprint(status.Data["unconfirmed_ends"], status.Data["unconfirmed_ids"], status.Data["live_grants"])
	}
	must(t, stage.Periodic(t.Context()))
	if got, want := unconfirmed(), fmt.Sprint(1, []string{approved}, 0); got != want {
		t.Errorf("the status shows %s, want %s", got, want)
	}
	b.mend()
	must(t, stage.Periodic(t.Context()))
	if got, want := unconfirmed(), fmt.Sprint(0, []string{}, 0); got != want {
		t.Errorf("then it shows %s, want %s", got, want)
	}
	w.wantNoTokens()
}

// Who claims need not learn how the engine reaches Vault.
func TestAVaultThatCannotBeReachedIsNotShownToWhoClaims(t *testing.T) {
	t.Parallel()
	_, stage, b := breakable(t)
	approved := approvedAt(t, stage)
	b.breaks("/auth/token/create/", refuses)
	_, err := stage.Call(t.Context(), logical.UpdateOperation, "alice", "claim", map[string]any{"id": approved})
	if err == nil || strings.Contains(err.Error(), stage.Address) {
		t.Errorf("the claim says %v", err)
	}
}
