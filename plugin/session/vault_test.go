package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestMain(m *testing.M) { vaulttest.Main(m, vaulttest.Options{}) }

// fixture is a session at a real Vault, with what belongs to it.
type fixture struct {
	*vaulttest.Cluster
	*vaulttest.Mount
	Session    *session.Session
	connection session.Connection
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cluster := vaulttest.Shared(t)
	mount, err := cluster.Mount(t.Context(), vaulttest.MountOptions{Unconfigured: true})
	sessiontest.Must(t, err)
	c := session.Connection{
		Address: cluster.Address(), AuthMount: "approle", RoleID: mount.RoleID, SecretID: mount.SecretID, TokenRole: mount.TokenRole,
	}
	return &fixture{Cluster: cluster, Mount: mount, Session: sessiontest.Start(t, c), connection: c}
}

// callVault makes the cheapest call that the engine's policy gives.
func callVault(t *testing.T, s *session.Session) error {
	t.Helper()
	_, err := s.Write(t.Context(), "sys/leases/revoke", map[string]any{"lease_id": "ssh/creds/otp/no-such-lease", "sync": true})
	return err
}

func (f *fixture) countLogins(t *testing.T) int {
	t.Helper()
	live, err := f.EngineTokens(t.Context())
	sessiontest.Must(t, err)
	return len(live)
}

// The engine's own login never lapses: it is renewed while that is possible, and made anew when it is not.
func TestSessionKeepsItsLoginAliveBeyondEveryLimitOfItsToken(t *testing.T) {
	f := newFixture(t)
	_, err := f.Root().Logical().WriteWithContext(t.Context(), "auth/approle/role/"+f.AppRole, map[string]any{"token_ttl": "3s", "token_max_ttl": "7s"})
	sessiontest.Must(t, err)
	most := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		sessiontest.Must(t, callVault(t, f.Session))
		most = max(most, f.countLogins(t))
	}
	if most > 2 {
		t.Errorf("%d tokens of the engine lived at once", most)
	}
}

func TestSessionLogsInAgainAfterItsTokenWasRevoked(t *testing.T) {
	f := newFixture(t)
	sessiontest.Must(t, callVault(t, f.Session))
	live, err := f.EngineTokens(t.Context())
	sessiontest.Must(t, err)
	for _, token := range live {
		sessiontest.Must(t, f.Root().Auth().Token().RevokeAccessorWithContext(t.Context(), token.Accessor))
	}
	sessiontest.Must(t, callVault(t, f.Session))
	if n := f.countLogins(t); n != 1 {
		t.Errorf("%d tokens of the engine live", n)
	}
}

func TestRetiredSessionLeavesNoTokenInVault(t *testing.T) {
	f := newFixture(t)
	release := f.Session.Use()
	sessiontest.Must(t, callVault(t, f.Session))
	f.Session.Retire()
	sessiontest.Must(t, callVault(t, f.Session))
	if n := f.countLogins(t); n != 1 {
		t.Errorf("%d tokens of the engine live while it is in use", n)
	}
	release()
	deadline := time.Now().Add(session.CallTimeout)
	for f.countLogins(t) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("its token lives on")
		}
		time.Sleep(50 * time.Millisecond)
	}
	sessiontest.Must(t, callVault(t, f.Session))
}

func TestStatusTellsWhenTokenAndSecretIdExpire(t *testing.T) {
	f := newFixture(t)
	status := f.Session.Status(t.Context())
	if in := time.Until(status.TokenExpires); !status.LoggedIn || status.Problem != "" || in > time.Hour || in < 59*time.Minute || !status.SecretIDExpires.IsZero() {
		t.Errorf("the status is %+v", status)
	}
	_, err := f.Root().Logical().WriteWithContext(t.Context(), "auth/approle/role/"+f.AppRole, map[string]any{"secret_id_ttl": "2h"})
	sessiontest.Must(t, err)
	limited := f.connection
	limited.SecretID, err = f.Session.NewSecretID(t.Context())
	sessiontest.Must(t, err)
	if in := time.Until(sessiontest.Start(t, limited).Status(t.Context()).SecretIDExpires); in > 2*time.Hour || in < 119*time.Minute {
		t.Errorf("the secret id expires in %s", in)
	}
	limited.SecretID = "hunter2"
	if status := sessiontest.Start(t, limited).Status(t.Context()); status.LoggedIn || status.Problem == "" || strings.Contains(status.Problem, "hunter2") {
		t.Errorf("with a wrong secret id the status is %+v", status)
	}
}

func TestSessionUsesAConfiguredTokenWithWhateverItMayLearnOfItself(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		ask     map[string]any
		expires bool
	}{
		"that may look at itself":     {map[string]any{"policies": []string{f.EnginePolicy}, "ttl": "1h"}, true},
		"that may not":                {map[string]any{"policies": []string{f.EnginePolicy}, "ttl": "1h", "no_default_policy": true}, false},
		"that has no end and is root": {map[string]any{"policies": []string{"root"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := f.Root().Logical().WriteWithContext(t.Context(), "auth/token/create-orphan", c.ask)
			sessiontest.Must(t, err)
			own := session.Connection{Address: f.Address(), Token: made.Auth.ClientToken, TokenRole: f.TokenRole}
			s := sessiontest.Start(t, own)
			if status := s.Status(t.Context()); !status.LoggedIn || status.Problem != "" || status.TokenExpires.IsZero() == c.expires {
				t.Errorf("the status is %+v", status)
			}
			sessiontest.Must(t, callVault(t, s))
			_, err = s.NewSecretID(t.Context())
			sessiontest.WantError(t, err, "logs in with a token")
			sessiontest.Must(t, f.Root().Auth().Token().RevokeAccessorWithContext(t.Context(), made.Auth.Accessor))
			sessiontest.WantError(t, sessiontest.Start(t, own).Login(t.Context()), "configured token")
			sessiontest.WantError(t, callVault(t, s), "403")
		})
	}
}

func TestReplacedSecretIdIsUseless(t *testing.T) {
	f := newFixture(t)
	fresh := f.connection
	var err error
	fresh.SecretID, err = f.Session.NewSecretID(t.Context())
	sessiontest.Must(t, err)
	sessiontest.Must(t, sessiontest.Start(t, fresh).Login(t.Context()))
	sessiontest.Must(t, f.Session.DestroySecretID(t.Context(), f.connection.SecretID))
	sessiontest.WantError(t, sessiontest.Start(t, f.connection).Login(t.Context()), "invalid")
	sessiontest.Must(t, sessiontest.Start(t, fresh).Login(t.Context()))
}
