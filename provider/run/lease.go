package run

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// Lease is what renewing and giving back need to know of a grant. No part of the credential is in it.
type Lease struct {
	RequestID string `json:"request_id"`
	ID        string `json:"lease_id"`
	Renewable bool   `json:"renewable"`
	// ExpiresAt is when the grant ends at the latest.
	ExpiresAt time.Time `json:"expires_at"`
}

// RenewAt is after two thirds of what is left; zero, that is never, when that is too little to bother.
func (l Lease) RenewAt(now time.Time) time.Time {
	left := l.ExpiresAt.Sub(now)
	if !l.Renewable || left < 10*time.Second {
		return time.Time{}
	}
	return now.Add(left * 2 / 3)
}

// Renew keeps the lease alive within its window. An error says that the grant has ended: one that cannot be renewed still
// has its window.
func (l Lease) Renew(ctx context.Context, jit *client.Client) error {
	err := jit.Renew(ctx, l.ID, time.Until(l.ExpiresAt))
	if err == nil {
		return nil
	}
	if refusal.Of(err) != nil {
		request, readErr := jit.Request(ctx, l.RequestID)
		if readErr == nil && request.IsOver() {
			return errors.New(Describe(request))
		}
	}
	tflog.Warn(ctx, "cannot renew the lease; it ends with the window at the latest", map[string]any{"request_id": l.RequestID, "error": err.Error()})
	return nil
}
