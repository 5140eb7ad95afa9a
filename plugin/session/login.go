package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

// login is one login of the engine.
type login struct {
	token    string
	accessor string
	// ttl is the token's life at its last renewal; 0 for one without an end or whose end could not be learned.
	ttl       time.Duration
	expires   time.Time
	renewable bool
	// secretIDPath is where the secret ids of the AppRole that logged in are made; empty with a configured token.
	secretIDPath string
}

// LoginError is why the engine could not log in.
type LoginError struct {
	error
	// Field is the part of the connection that is probably at fault.
	Field string
}

// Unwrap gives the cause.
func (e LoginError) Unwrap() error { return e.error }

// findFault is the field of the connection that is probably wrong if a login with it meets the error.
func (c Connection) findFault(err error) string {
	var answered *api.ResponseError
	switch {
	case !errors.As(err, &answered):
		return "address"
	case c.Token != "":
		return "token"
	}
	return "secret_id"
}

// isDue reports whether the token has used up two thirds of its life.
func (l login) isDue(now time.Time) bool { return l.ttl > 0 && l.expires.Sub(now) < l.ttl/3 }

// extend returns the login with the life that Vault's answer gives its token from now on.
func (l login) extend(answer *api.Secret) (extended login, err error) {
	if l.ttl, err = answer.TokenTTL(); err != nil {
		return l, fmt.Errorf("ttl: %w", err)
	}
	l.expires = time.Now().Add(l.ttl)
	l.renewable, _ = answer.TokenIsRenewable() // what is not known to be renewable is not renewed
	return l, nil
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
	if current := s.current.Load(); canUse(current, rejected) {
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

func canUse(l *login, rejected string) bool {
	return l != nil && l.token != rejected && !l.isDue(time.Now())
}

func (s *Session) refresh(ctx context.Context, rejected string) (login, error) {
	defer s.Use()() // the one who asked for it may have gone
	current := s.current.Load()
	if canUse(current, rejected) { // somebody logged in just before
		return *current, nil
	}
	if current != nil && current.token != rejected && current.renewable && current.accessor != "" {
		if renewed, err := s.renew(ctx, *current); err == nil && !renewed.isDue(time.Now()) {
			s.current.Store(&renewed)
			return renewed, nil
		}
	}
	fresh, err := s.authenticate(ctx)
	var failed LoginError
	switch {
	case err != nil && !errors.As(err, &failed):
		return login{}, LoginError{err, ""}
	case err != nil:
		return login{}, err
	}
	s.current.Store(&fresh)
	return fresh, nil
}

func (s *Session) renew(ctx context.Context, current login) (login, error) {
	// By accessor, because that is in the engine's policy already; renew-self would be one line more.
	answer, err := s.clientFor(current.token).Write(ctx, "auth/token/renew-accessor", map[string]any{"accessor": current.accessor})
	if err == nil && answer.Auth == nil {
		err = errors.New("Vault answered without a token")
	}
	if err != nil {
		return login{}, err
	}
	return current.extend(answer)
}

func (s *Session) authenticate(ctx context.Context) (login, error) {
	if s.connection.Token != "" {
		adopted, err := s.adopt(ctx)
		if err != nil {
			return login{}, LoginError{fmt.Errorf("using the configured token: %w", Explain(err)), s.connection.findFault(err)}
		}
		return adopted, nil
	}
	answer, err := s.clientFor("").Write(ctx, "auth/"+s.connection.AuthMount+"/login", map[string]any{
		"role_id": s.connection.RoleID, "secret_id": s.connection.SecretID,
	})
	if err != nil {
		hint := ""
		if hasStatus(err, http.StatusForbidden) { // a wrong secret_id is answered with 400
			hint = " (after a few failed logins Vault locks a role_id out for a while: see sys/locked-users)"
		}
		failed := fmt.Errorf("logging in to Vault by AppRole (auth_mount %q): %w%s", s.connection.AuthMount, Explain(err), hint)
		return login{}, LoginError{failed, s.connection.findFault(err)}
	}
	if answer.Auth == nil || answer.Auth.ClientToken == "" {
		return login{}, LoginError{errors.New("logging in to Vault by AppRole: Vault answered without a token"), "auth_mount"}
	}
	l := login{token: answer.Auth.ClientToken, accessor: answer.Auth.Accessor}
	if appRole := answer.Auth.Metadata["role_name"]; appRole != "" {
		l.secretIDPath = "auth/" + s.connection.AuthMount + "/role/" + appRole + "/secret-id"
	}
	return l.extend(answer)
}

// adopt takes the configured token and learns what it may learn of it.
func (s *Session) adopt(ctx context.Context) (login, error) {
	l := login{token: s.connection.Token}
	client := s.clientFor(l.token)
	answer, err := client.Read(ctx, "auth/token/lookup-self")
	switch {
	case hasStatus(err, http.StatusForbidden):
		// Either the token is dead or its policies do not let it look at itself: a call it needs anyway tells which.
		return l, client.probe(ctx)
	case err != nil:
		return l, err
	case answer.Data["ttl"] == nil:
		return l, errors.New("Vault answered nothing about it")
	}
	l.accessor, _ = answer.TokenAccessor() // without it, it is not renewed
	return l.extend(answer)
}
