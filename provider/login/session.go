package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-plugin-log/tflog"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
)

// oldestPlugin is the first release of the engine that has all that this provider asks of it.
const oldestPlugin = "0.1.0"

// A Session is what one provider block does at Vault, as whom. Its methods may be called from several goroutines.
type Session struct {
	// unusable says why nothing can be asked yet.
	unusable error
	version  string
	vault    *api.Client
	client   *client.Client
	way      way
	logins   *Logins

	mu sync.Mutex
	// token is the one of the last login; nil before the first.
	token *token

	checking sync.Mutex
	checked  bool
}

// Mount is the path of the engine's mount; empty while it is not known.
func (s *Session) Mount() string {
	if s.client == nil {
		return ""
	}
	return s.client.Mount()
}

// Place tells the mount from those of other sessions; empty while it is not known.
func (s *Session) Place() string {
	if s.client == nil {
		return ""
	}
	return strings.Join([]string{s.client.Address(), s.client.Namespace(), s.client.Mount()}, "\n")
}

// Client is the engine. The first call logs in and looks whether the mount is what it should be: a write to a mount of
// another type might succeed.
func (s *Session) Client(ctx context.Context) (*client.Client, error) {
	if s.unusable != nil {
		return nil, s.unusable
	}
	if err := s.logInOnce(ctx); err != nil {
		return nil, err
	}
	s.checking.Lock()
	defer s.checking.Unlock()
	if !s.checked {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
		s.checked = true
	}
	return s.client, nil
}

func (s *Session) logInOnce(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != nil {
		return nil
	}
	return s.logIn(ctx)
}

func (s *Session) logIn(ctx context.Context) error {
	secret, err := s.way.take(ctx, s.vault)
	if err != nil {
		return err
	}
	if s.token, err = s.logins.begin(s.vault, secret, s.way.own); err != nil {
		return err
	}
	s.client.SetToken(secret.Auth.ClientToken)
	return nil
}

// logInAgain gives another token in place of the given one.
func (s *Session) logInAgain(ctx context.Context, forgotten string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client.Token() == forgotten {
		if err := s.logIn(ctx); err != nil {
			return "", err
		}
	}
	return s.client.Token(), nil
}

// Last has the session's token live for the given time. The error says that it ends before; a token that may not look
// itself up is believed. A login of this process is made again when its token ends, so it lasts.
func (s *Session) Last(ctx context.Context, wait time.Duration) error {
	if s.way.own {
		return nil
	}
	if left := s.current().reach(ctx, wait, 0); left < wait {
		return fmt.Errorf("Vault's token ends in %s, before timeouts.open (%s) is over, and with it whatever it claimed: give the provider one that "+
			"lives longer or can be renewed, a login (auth_login_approle or auth_login_jwt), or a shorter timeouts.open", left.Round(time.Second), wait)
	}
	return nil
}

// Outlast has the session's token live as long as a grant that is claimed with it within the given time, because the
// grant ends with it. If that cannot be, the warning says so.
func (s *Session) Outlast(ctx context.Context, window, within time.Duration) (warning string) {
	used := s.current()
	reach := used.reach(ctx, window, within)
	// A new token lives longer by as much as this one is old.
	if s.way.own && reach < window && (reach <= 0 || reach+time.Since(used.began) >= window) {
		if _, err := s.logInAgain(ctx, used.vault.Token()); err == nil {
			reach = s.current().reach(ctx, window, within)
		}
	}
	if reach >= window {
		return ""
	}
	return fmt.Sprintf("The grant ends with the login that claims it: in %s, although its window is %s. Have the login's role give tokens with a "+
		"token_max_ttl of more than %[2]s, or a token_ttl of that where they cannot be renewed.", reach.Round(time.Second), window)
}

func (s *Session) current() *token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

func (s *Session) check(ctx context.Context) error {
	status, err := s.client.Status(ctx)
	var denied *client.DeniedError
	switch mount := s.client.Mount(); {
	case errors.As(err, &denied):
		if denied.Forgotten {
			return err
		}
		tflog.Debug(ctx, "this token may not read the engine's status, so the mount and the plugin's version are not checked")
		return nil
	case errors.Is(err, client.ErrNoMount):
		return fmt.Errorf("%w %q: mount it with `vault secrets enable -path=%[2]s vault-plugin-secrets-jit`, or set the provider's mount", err, mount)
	case errors.Is(err, client.ErrAbsent), err == nil && status.PluginVersion == "":
		return fmt.Errorf("the mount %q is of another type, not the jit secrets engine: set the provider's mount to where that is mounted", mount)
	case err != nil:
		return err
	}
	return s.checkVersion(status.PluginVersion)
}

// checkVersion lets builds without a release's number pass: whoever makes them knows.
func (s *Session) checkVersion(plugin string) error {
	found, err := version.NewVersion(plugin)
	released := err == nil && found.Prerelease() == ""
	if released && found.LessThan(version.Must(version.NewVersion(oldestPlugin))) {
		return fmt.Errorf("the plugin at %q is version %s, but provider %s needs %s or later: upgrade the plugin, or use an older provider",
			s.client.Mount(), plugin, s.version, oldestPlugin)
	}
	return nil
}
