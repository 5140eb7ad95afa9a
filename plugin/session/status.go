package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Status is what there is to know of the engine's own login.
type Status struct {
	LoggedIn bool
	// TokenExpires is zero for a token without an end, or whose end is not known.
	TokenExpires time.Time
	// SecretIDExpires is zero for a secret id without an end, or whose end is not known.
	SecretIDExpires time.Time
	// Problem says why something above could not be learned; empty if all could.
	Problem string
}

// Status logs in if needed and asks Vault how long the login and the secret id last.
func (s *Session) Status(ctx context.Context) Status {
	defer s.Use()()
	current, err := s.logIn(ctx, "")
	if err != nil {
		return Status{Problem: err.Error()}
	}
	status := Status{LoggedIn: true}
	if current.ttl > 0 {
		status.TokenExpires = current.expires
	}
	if current.appRole == "" {
		return status
	}
	answer, err := s.Write(ctx, s.SecretIDPath(current.appRole)+"/lookup", map[string]any{"secret_id": s.connection.SecretID})
	var failed *loginError
	switch {
	case errors.As(err, &failed):
		return Status{Problem: failed.Error()}
	case err != nil:
		status.Problem = fmt.Sprintf("looking up the secret id: %v", Explain(err))
	case answer != nil:
		text, _ := answer.Data["expiration_time"].(string)
		if expires, err := time.Parse(time.RFC3339Nano, text); err == nil && expires.Year() > 1 {
			status.SecretIDExpires = expires
		}
	}
	return status
}

// AppRole logs in if needed, and returns the name of the AppRole that did; empty with a configured token.
func (s *Session) AppRole(ctx context.Context) (string, error) {
	defer s.Use()()
	current, err := s.logIn(ctx, "")
	return current.appRole, err
}

// SecretIDPath is where the secret ids of an AppRole are made. Below it they are looked up and destroyed.
func (s *Session) SecretIDPath(appRole string) string {
	return "auth/" + s.connection.AuthMount + "/role/" + appRole + "/secret-id"
}

// NewSecretID makes another secret id for the engine's AppRole.
func (s *Session) NewSecretID(ctx context.Context) (string, error) {
	defer s.Use()()
	appRole, err := s.AppRole(ctx)
	if err != nil {
		return "", err
	}
	if appRole == "" {
		return "", errors.New("the engine logs in with a token; only an AppRole's secret_id can be rotated")
	}
	answer, err := s.Write(ctx, s.SecretIDPath(appRole), nil)
	if err != nil {
		return "", fmt.Errorf("making a new secret_id: %w", Explain(err))
	}
	var made string
	if answer != nil {
		made, _ = answer.Data["secret_id"].(string)
	}
	if made == "" {
		return "", errors.New("making a new secret_id: Vault answered without a secret_id")
	}
	return made, nil
}

// DestroySecretID makes a secret id of the engine's AppRole useless.
func (s *Session) DestroySecretID(ctx context.Context, secretID string) error {
	defer s.Use()()
	appRole, err := s.AppRole(ctx)
	if err != nil {
		return err
	}
	if _, err := s.Write(ctx, s.SecretIDPath(appRole)+"/destroy", map[string]any{"secret_id": secretID}); err != nil {
		return fmt.Errorf("destroying the replaced secret_id: %w", Explain(err))
	}
	return nil
}
