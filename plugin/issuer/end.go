package issuer

import (
	"context"
	"errors"
	"fmt"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/session"
)

// End ends one thing that a grant consists of. Nil means that it does not work any more; what is gone already counts as
// ended, so an end can be repeated.
func (i *Issuer) End(ctx context.Context, h grant.Handle) error {
	switch h := h.(type) {
	case grant.Token:
		return i.revokeToken(ctx, h)
	case grant.Lease:
		return i.revokeLease(ctx, h)
	case grant.Answer:
		return errors.New("an answer without a lease cannot be ended by this release")
	case grant.Member:
		return errors.New("a membership cannot be ended by this release")
	}
	return fmt.Errorf("a handle of the type %T cannot be ended by this release", h)
}

// revokeLease waits until upstream has taken back what it gave.
func (i *Issuer) revokeLease(ctx context.Context, lease grant.Lease) error {
	_, err := i.session.Write(ctx, "sys/leases/revoke", map[string]any{"lease_id": lease.ID, "sync": true})
	if err != nil {
		return fmt.Errorf("revoking the upstream lease: %w", session.Explain(err))
	}
	if lease.Inert {
		return errors.New("the upstream lease is revoked, but what it gave goes on to work")
	}
	return nil
}
