package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

// session is one login of the engine.
type session struct {
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

// due reports whether the token has used up two thirds of its life.
func (s session) due(now time.Time) bool { return s.ttl > 0 && s.expires.Sub(now) < s.ttl/3 }

// Login makes sure that the engine has a token with life left in it.
func (i *Issuer) Login(ctx context.Context) error {
	_, err := i.login(ctx, "")
	return err
}

// login returns a session with life left in it, whose token is not the one given as rejected.
// Callers that come at the same time share one login; no lock is held meanwhile.
func (i *Issuer) login(ctx context.Context, rejected string) (session, error) {
	for {
		current := i.session.Load()
		if current != nil && current.token != rejected && !current.due(time.Now()) {
			return *current, nil
		}
		done := i.logins.DoChan("login", func() (any, error) { return i.refresh(ctx, current, rejected) })
		select {
		case <-ctx.Done():
			return session{}, fmt.Errorf("logging in to Vault: %w", context.Cause(ctx))
		case result := <-done:
			if fresh, ok := result.Val.(session); ok && result.Err == nil {
				return fresh, nil
			}
			// Another caller's context ended while it logged in for both.
			if ctx.Err() == nil && (errors.Is(result.Err, context.Canceled) || errors.Is(result.Err, context.DeadlineExceeded)) && result.Shared {
				continue
			}
			return session{}, result.Err
		}
	}
}

func (i *Issuer) refresh(ctx context.Context, current *session, rejected string) (session, error) {
	if current != nil && current.token != rejected && current.renewable && current.accessor != "" {
		if renewed, err := i.renew(ctx, *current); err == nil && !renewed.due(time.Now()) {
			i.session.Store(&renewed)
			return renewed, nil
		}
	}
	fresh, err := i.authenticate(ctx)
	if err != nil {
		return session{}, err
	}
	i.session.Store(&fresh)
	return fresh, nil
}

func (i *Issuer) renew(ctx context.Context, current session) (session, error) {
	client := i.client(current.token)
	// By accessor, because that is in the engine's policy already; renew-self would be one line more.
	secret, err := client.Logical().WriteWithContext(ctx, "auth/token/renew-accessor", map[string]any{"accessor": current.accessor})
	if err != nil {
		return session{}, fmt.Errorf("renewing the engine's token: %w", told(err))
	}
	if secret == nil || secret.Auth == nil {
		return session{}, errors.New("renewing the engine's token: Vault answered without a token")
	}
	return current.lasting(secret.Auth.LeaseDuration, secret.Auth.Renewable), nil
}

// lasting is the session with so much life left from now on.
func (s session) lasting(seconds int, renewable bool) session {
	s.ttl = time.Duration(seconds) * time.Second
	s.expires = time.Now().Add(s.ttl)
	s.renewable = renewable
	return s
}

func (i *Issuer) authenticate(ctx context.Context) (session, error) {
	if i.connection.Token != "" {
		return i.adopt(ctx)
	}
	client := i.client("")
	secret, err := client.Logical().WriteWithContext(ctx, "auth/"+i.connection.AuthMount+"/login", map[string]any{
		"role_id": i.connection.RoleID, "secret_id": i.connection.SecretID,
	})
	if err != nil {
		hint := ""
		if hasStatus(err, http.StatusForbidden) { // a wrong secret_id is answered with 400
			hint = " (after a few failed logins Vault locks a role_id out for a while: see sys/locked-users)"
		}
		return session{}, &loginError{fmt.Errorf("logging in to Vault by AppRole (auth_mount %q): %w%s", i.connection.AuthMount, told(err), hint)}
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return session{}, &loginError{errors.New("logging in to Vault by AppRole: Vault answered without a token")}
	}
	s := session{token: secret.Auth.ClientToken, accessor: secret.Auth.Accessor, appRole: secret.Auth.Metadata["role_name"]}
	return s.lasting(secret.Auth.LeaseDuration, secret.Auth.Renewable), nil
}

// adopt takes the configured token and learns what it may learn of it.
func (i *Issuer) adopt(ctx context.Context) (session, error) {
	client := i.client(i.connection.Token)
	s := session{token: i.connection.Token}
	secret, err := client.Logical().ReadWithContext(ctx, "auth/token/lookup-self")
	if hasStatus(err, http.StatusForbidden) {
		// Either the token is dead or its policies do not let it look at itself: a call it needs anyway tells which.
		if _, err := i.capabilities(ctx, client, []string{"sys/leases/revoke"}); err != nil {
			return session{}, &loginError{fmt.Errorf("using the configured token: %w", told(err))}
		}
		return s, nil
	}
	if err != nil {
		return session{}, &loginError{fmt.Errorf("using the configured token: %w", told(err))}
	}
	if secret == nil {
		return session{}, &loginError{errors.New("using the configured token: Vault answered nothing about it")}
	}
	s.accessor, _ = secret.Data["accessor"].(string)
	renewable, _ := secret.Data["renewable"].(bool)
	seconds, err := number(secret.Data["ttl"])
	if err != nil {
		return session{}, &loginError{fmt.Errorf("using the configured token: ttl: %w", err)}
	}
	return s.lasting(seconds, renewable), nil
}

func number(value any) (int, error) {
	text, ok := value.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%v is no number", value)
	}
	n, err := text.Int64()
	return int(n), err
}

// LoginStatus is what there is to know of the engine's own login.
type LoginStatus struct {
	LoggedIn bool
	// TokenExpires is zero for a token without an end, or whose end is not known.
	TokenExpires time.Time
	// SecretIDExpires is zero for a secret id without an end, or whose end is not known.
	SecretIDExpires time.Time
	// Problem says why something above could not be learned; empty if all could.
	Problem string
}

// Status logs in if needed and asks Vault how long the login and the secret id last.
func (i *Issuer) Status(ctx context.Context) LoginStatus {
	current, err := i.login(ctx, "")
	if err != nil {
		return LoginStatus{Problem: err.Error()}
	}
	status := LoginStatus{LoggedIn: true}
	if current.ttl > 0 {
		status.TokenExpires = current.expires
	}
	if current.appRole == "" {
		return status
	}
	err = i.as(ctx, func(client *api.Client) error {
		secret, err := client.Logical().WriteWithContext(ctx, i.secretIDPath(current.appRole)+"/lookup",
			map[string]any{"secret_id": i.connection.SecretID})
		if err != nil || secret == nil {
			return err
		}
		text, _ := secret.Data["expiration_time"].(string)
		if expires, err := time.Parse(time.RFC3339Nano, text); err == nil && expires.Year() > 1 {
			status.SecretIDExpires = expires
		}
		return nil
	})
	var failed *loginError
	switch {
	case errors.As(err, &failed):
		return LoginStatus{Problem: failed.Error()}
	case err != nil:
		status.Problem = fmt.Sprintf("looking up the secret id: %v", told(err))
	}
	return status
}

func (i *Issuer) secretIDPath(appRole string) string {
	return "auth/" + i.connection.AuthMount + "/role/" + appRole + "/secret-id"
}

// NewSecretID makes another secret id for the engine's AppRole.
func (i *Issuer) NewSecretID(ctx context.Context) (string, error) {
	current, err := i.login(ctx, "")
	if err != nil {
		return "", err
	}
	if current.appRole == "" {
		return "", errors.New("the engine logs in with a token; only an AppRole's secret_id can be rotated")
	}
	var made string
	err = i.as(ctx, func(client *api.Client) error {
		secret, err := client.Logical().WriteWithContext(ctx, i.secretIDPath(current.appRole), nil)
		if err != nil {
			return err
		}
		if secret != nil {
			made, _ = secret.Data["secret_id"].(string)
		}
		if made == "" {
			return errors.New("Vault answered without a secret_id")
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("making a new secret_id: %w", told(err))
	}
	return made, nil
}

// DestroySecretID makes a secret id of the engine's AppRole useless.
func (i *Issuer) DestroySecretID(ctx context.Context, secretID string) error {
	current, err := i.login(ctx, "")
	if err != nil {
		return err
	}
	err = i.as(ctx, func(client *api.Client) error {
		_, err := client.Logical().WriteWithContext(ctx, i.secretIDPath(current.appRole)+"/destroy", map[string]any{"secret_id": secretID})
		return err
	})
	if err != nil {
		return fmt.Errorf("destroying the replaced secret_id: %w", told(err))
	}
	return nil
}
