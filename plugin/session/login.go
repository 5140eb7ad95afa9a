package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// login is one login of the engine.
type login struct {
	token    string
	accessor string
	// ttl is the token's life at its last renewal; 0 for one without an end or whose end could not be learned.
	ttl       time.Duration
	expires   time.Time
	renewable bool
	// appRole is the name of the AppRole that logged in; empty with a configured token.
	appRole string
}

// loginError is why the engine could not log in.
type loginError struct{ cause error }

func (e *loginError) Error() string { return e.cause.Error() }
func (e *loginError) Unwrap() error { return e.cause }

// isDue reports whether the token has used up two thirds of its life.
func (l login) isDue(now time.Time) bool { return l.ttl > 0 && l.expires.Sub(now) < l.ttl/3 }

// extend returns the login with so much life left from now on.
func (l login) extend(seconds int, renewable bool) login {
	l.ttl = time.Duration(seconds) * time.Second
	l.expires = time.Now().Add(l.ttl)
	l.renewable = renewable
	return l
}

// Login makes sure that the engine has a token with life left in it.
func (s *Session) Login(ctx context.Context) error {
	defer s.Use()()
	_, err := s.logIn(ctx, "")
	return err
}

// logIn returns a login with life left in it, whose token is not the one given as rejected. Callers that come at the
// same time share one. It goes on for the others, and for whoever comes next, when the caller's context ends: a login
// that was broken off may have made a token that nobody knows of.
func (s *Session) logIn(ctx context.Context, rejected string) (login, error) {
	if current := s.load(); canUse(current, rejected) {
		return *current, nil
	}
	done := s.logins.DoChan("login", func() (any, error) { return s.refresh(context.WithoutCancel(ctx), rejected) })
	select {
	case <-ctx.Done():
		return login{}, fmt.Errorf("logging in to Vault: %w", context.Cause(ctx))
	case result := <-done:
		fresh, _ := result.Val.(login)
		return fresh, result.Err
	}
}

func (s *Session) load() *login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func (s *Session) store(fresh login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = &fresh
}

func canUse(l *login, rejected string) bool {
	return l != nil && l.token != rejected && !l.isDue(time.Now())
}

func (s *Session) refresh(ctx context.Context, rejected string) (login, error) {
	defer s.Use()() // the one who asked for it may have gone
	current := s.load()
	if canUse(current, rejected) { // somebody logged in just before
		return *current, nil
	}
	if current != nil && current.token != rejected && current.renewable && current.accessor != "" {
		if renewed, err := s.renew(ctx, *current); err == nil && !renewed.isDue(time.Now()) {
			s.store(renewed)
			return renewed, nil
		}
	}
	fresh, err := s.authenticate(ctx)
	if err != nil {
		return login{}, &loginError{err}
	}
	s.store(fresh)
	return fresh, nil
}

func (s *Session) renew(ctx context.Context, current login) (login, error) {
	// By accessor, because that is in the engine's policy already; renew-self would be one line more.
	answer, err := s.clientFor(current.token).Write(ctx, "auth/token/renew-accessor", map[string]any{"accessor": current.accessor})
	if err != nil {
		return login{}, fmt.Errorf("renewing the engine's token: %w", Explain(err))
	}
	if answer == nil || answer.Auth == nil {
		return login{}, errors.New("renewing the engine's token: Vault answered without a token")
	}
	return current.extend(answer.Auth.LeaseDuration, answer.Auth.Renewable), nil
}

func (s *Session) authenticate(ctx context.Context) (login, error) {
	if s.connection.Token != "" {
		return s.adopt(ctx)
	}
	answer, err := s.clientFor("").Write(ctx, "auth/"+s.connection.AuthMount+"/login", map[string]any{
		"role_id": s.connection.RoleID, "secret_id": s.connection.SecretID,
	})
	if err != nil {
		hint := ""
		if HasStatus(err, http.StatusForbidden) { // a wrong secret_id is answered with 400
			hint = " (after a few failed logins Vault locks a role_id out for a while: see sys/locked-users)"
		}
		return login{}, fmt.Errorf("logging in to Vault by AppRole (auth_mount %q): %w%s", s.connection.AuthMount, Explain(err), hint)
	}
	if answer == nil || answer.Auth == nil || answer.Auth.ClientToken == "" {
		return login{}, errors.New("logging in to Vault by AppRole: Vault answered without a token")
	}
	l := login{token: answer.Auth.ClientToken, accessor: answer.Auth.Accessor, appRole: answer.Auth.Metadata["role_name"]}
	return l.extend(answer.Auth.LeaseDuration, answer.Auth.Renewable), nil
}

// adopt takes the configured token and learns what it may learn of it.
func (s *Session) adopt(ctx context.Context) (login, error) {
	l := login{token: s.connection.Token}
	client := s.clientFor(l.token)
	answer, err := client.Read(ctx, "auth/token/lookup-self")
	if HasStatus(err, http.StatusForbidden) {
		// Either the token is dead or its policies do not let it look at itself: a call it needs anyway tells which.
		if _, err := client.askCapabilities(ctx, []string{probedPath}); err != nil {
			return login{}, fmt.Errorf("using the configured token: %w", Explain(err))
		}
		return l, nil
	}
	if err != nil {
		return login{}, fmt.Errorf("using the configured token: %w", Explain(err))
	}
	if answer == nil {
		return login{}, errors.New("using the configured token: Vault answered nothing about it")
	}
	l.accessor, _ = answer.Data["accessor"].(string)
	renewable, _ := answer.Data["renewable"].(bool)
	seconds, err := parseNumber(answer.Data["ttl"])
	if err != nil {
		return login{}, fmt.Errorf("using the configured token: ttl: %w", err)
	}
	return l.extend(seconds, renewable), nil
}
