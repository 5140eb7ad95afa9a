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
	if current.secretIDPath == "" {
		return status
	}
	answer, err := s.Write(ctx, current.secretIDPath+"/lookup", map[string]any{"secret_id": s.connection.SecretID})
	var failed LoginError
	switch {
	case errors.As(err, &failed):
		return Status{Problem: failed.Error()}
	case err != nil:
		status.Problem = fmt.Sprintf("looking up the secret id: %v", Explain(err))
	default:
		// For a secret id without an end, Vault gives the zero time.
		text, _ := answer.Data["expiration_time"].(string)
		status.SecretIDExpires, _ = time.Parse(time.RFC3339Nano, text)
	}
	return status
}

// SecretIDPath logs in if needed, and returns where the secret ids of the AppRole that did are made; empty with a
// configured token. Below it they are looked up and destroyed.
func (s *Session) SecretIDPath(ctx context.Context) (string, error) {
	defer s.Use()()
	current, err := s.logIn(ctx, "")
	return current.secretIDPath, err
}

// NewSecretID makes another secret id for the engine's AppRole.
func (s *Session) NewSecretID(ctx context.Context) (string, error) {
	defer s.Use()()
	path, err := s.SecretIDPath(ctx)
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", errors.New("the engine logs in with a token; only an AppRole's secret_id can be rotated")
	}
	answer, err := s.Write(ctx, path, nil)
	if err != nil {
		return "", fmt.Errorf("making a new secret_id: %w", Explain(err))
	}
	made, _ := answer.Data["secret_id"].(string)
	if made == "" {
		return "", errors.New("making a new secret_id: Vault answered without a secret_id")
	}
	return made, nil
}

// DestroySecretID makes a secret id of the engine's AppRole useless.
func (s *Session) DestroySecretID(ctx context.Context, secretID string) error {
	defer s.Use()()
	path, err := s.SecretIDPath(ctx)
	if err != nil {
		return err
	}
	if _, err := s.Write(ctx, path+"/destroy", map[string]any{"secret_id": secretID}); err != nil {
		return fmt.Errorf("destroying the replaced secret_id: %w", Explain(err))
	}
	return nil
}
