package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/session"
)

// makeSecret gives what the grant's path answers to the grant token.
func (i *Issuer) makeSecret(ctx context.Context, o Order, keep Keep) (Made, error) {
	made, token, err := i.begin(ctx, o, keep)
	if err != nil {
		return made, err
	}
	made.Sent = true
	answer, err := i.ask(ctx, token, o.Grant)
	if err != nil {
		return made, fmt.Errorf("%s %s: %w", o.Grant.Operation, o.Grant.Path, session.Explain(err))
	}
	received := i.readClock()
	if answer.LeaseID != "" {
		made.Handles = append(made.Handles, grant.Lease{ID: answer.LeaseID})
	}
	if err := i.refuseAnswer(ctx, answer, o.Grant); err != nil {
		return made, err
	}
	made.Data, made.Notes = answer.Data, answer.Warnings
	if answer.LeaseID == "" {
		made.Notes = append(made.Notes, "this cannot be taken back: the Vault path gave no lease, so it may outlive the grant")
		return made, nil
	}
	return made, i.stretchLease(ctx, &made, answer, received, o.Window)
}

func (i *Issuer) ask(ctx context.Context, token string, g grant.Rendered) (*api.Secret, error) {
	client := i.session.As(token)
	switch g.Operation {
	case grant.Read:
		return client.Read(ctx, g.Path)
	case grant.Write:
		return client.Write(ctx, g.Path, g.Data)
	}
	return nil, fmt.Errorf("operation %q is neither read nor write", string(g.Operation))
}

// refuseAnswer refuses an answer that must not be given, and revokes the tokens in it. What hangs on the grant token or
// on the answer's lease is the caller's to end.
func (i *Issuer) refuseAnswer(ctx context.Context, answer *api.Secret, g grant.Rendered) error {
	refuse := func(why string) error { return fmt.Errorf("%s %s answered %s", g.Operation, g.Path, why) }
	switch {
	case len(answer.Data) == 0 && answer.Auth == nil && answer.WrapInfo == nil:
		return refuse("nothing that could be given")
	case answer.Auth != nil:
		// A token made by the grant token is its child unless it is an orphan, so it is revoked for itself.
		if err := i.revokeAll(ctx, answer.Auth.Accessor); err != nil {
			return fmt.Errorf("%s answered with a token, which cannot be given and could not be revoked: %w", g.Path, err)
		}
		return refuse("with a token; a role of grant_type secret cannot give tokens")
	case answer.WrapInfo != nil:
		// The wrapped token, if it is one, does not go with its wrapping.
		if err := i.revokeAll(ctx, answer.WrapInfo.Accessor, answer.WrapInfo.WrappedAccessor); err != nil {
			return fmt.Errorf("%s answered wrapped, which cannot be given and could not be revoked: %w", g.Path, err)
		}
		return refuse("wrapped; what it holds cannot be checked")
	case answer.LeaseID == "" && !g.AllowUnleased:
		return refuse("without a lease, so what it gave cannot be taken back; a role for this needs allow_unleased=true")
	}
	return nil
}

// revokeAll tries each of the tokens that has an accessor, whatever another one says.
func (i *Issuer) revokeAll(ctx context.Context, accessors ...string) error {
	var faults []error
	for _, accessor := range accessors {
		if accessor != "" {
			faults = append(faults, i.revokeToken(ctx, grant.Token{Accessor: accessor}))
		}
	}
	return errors.Join(faults...)
}

// stretchLease renews upstream's lease once if it is shorter than the window. What is still missing shortens the grant.
func (i *Issuer) stretchLease(ctx context.Context, made *Made, answer *api.Secret, received time.Time, window time.Duration) error {
	life := time.Duration(answer.LeaseDuration) * time.Second
	if isShortened(life, window) && answer.Renewable {
		renewed, err := i.session.Write(ctx, "sys/leases/renew", map[string]any{
			"lease_id": answer.LeaseID, "increment": int64(window / time.Second),
		})
		switch {
		case err != nil:
			made.Notes = append(made.Notes, fmt.Sprintf("the upstream lease could not be renewed to the approved window: %v", session.Explain(err)))
		case renewed.LeaseID != "":
			life, received = time.Duration(renewed.LeaseDuration)*time.Second, i.readClock()
		}
	}
	if life < time.Second {
		return errors.New("the upstream lease ends at once")
	}
	if isShortened(life, window) {
		made.Notes = append(made.Notes, fmt.Sprintf("the upstream lease gives %s, less than the approved %s: the grant ends when it does", life, window))
	}
	if end := received.Add(life); end.Before(made.Until) {
		made.Until = end
	}
	return nil
}
