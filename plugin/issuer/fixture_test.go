package issuer_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	createPath = "auth/token/create/grant"
	credsPath  = "database/creds/app"
	revokePath = "auth/token/revoke-accessor"
)

// fixture is an issuer at a Vault that misbehaves, with a clock that a test sets.
type fixture struct {
	*issuer.Issuer
	vault *sessiontest.Vault
	// passed is how long after began it is.
	passed atomic.Int64
	// kept are the tokens that were kept, and keepError is the answer to the next.
	kept      []grant.Token
	keepError error
}

func newFixture(t *testing.T, takeover map[string]http.HandlerFunc) *fixture {
	t.Helper()
	f := &fixture{vault: sessiontest.New(t, takeover)}
	f.Issuer = issuer.New(sessiontest.Start(t, sessiontest.Connection(f.vault.URL)), func() time.Time { return began.Add(time.Duration(f.passed.Load())) })
	return f
}

// setClock says how long after began it is.
func (f *fixture) setClock(passed time.Duration) { f.passed.Store(int64(passed)) }

func (f *fixture) make(ctx context.Context, o issuer.Order) (issuer.Made, error) {
	return f.Make(ctx, o, func(token grant.Token, _ time.Time) error {
		f.kept = append(f.kept, token)
		return f.keepError
	})
}

func order() issuer.Order {
	return issuer.Order{
		RequestID: "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20", Role: "db", RequesterName: "alice", RequesterEntityID: "entity-alice",
		Grant:  grant.Rendered{Kind: grant.KindSecret, Path: credsPath, Operation: grant.Read, GrantPolicies: []string{"app"}},
		Window: 10 * time.Minute,
	}
}

// orderFor has another window.
func orderFor(window time.Duration) issuer.Order {
	o := order()
	o.Window = window
	return o
}

// giveToken answers the creation of a token with one for another time.
func giveToken(life time.Duration) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		sessiontest.Answer(out, sessiontest.Auth(sessiontest.GrantToken, "grant-accessor", "app", int(life/time.Second)))
	}
}

// giveLease answers with a lease for a time.
func giveLease(life time.Duration, renewable bool) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		sessiontest.Answer(out, map[string]any{
			"lease_id": "database/creds/app/1", "lease_duration": int(life / time.Second), "renewable": renewable,
			"data": map[string]any{"username": "u"},
		})
	}
}
