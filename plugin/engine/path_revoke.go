package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

func (b *backend) pathRevoke() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "revoke",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "revoke", OperationSuffix: "grant"},
		Fields: map[string]*framework.FieldSchema{
			"id": {Type: framework.TypeString, Description: "The request's id.", Required: true},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: changing(b.revoke, "End a live grant now."),
		},
		HelpSynopsis: "End a live grant now.",
		HelpDescription: `Its requester, whoever can decide on it, and auditors may end a grant. Upstream's lease and the grant token are both revoked at
once, and who did it is recorded. If Vault cannot confirm the end, the answer says so and the engine tries again every minute.
The lease of the claim stays as an empty husk until its time is up.`,
	}}
}

func (b *backend) revoke(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	people := b.newLookup(req.Storage)
	return b.withRequest(ctx, req, d, people, func(r approval.Request, who approval.Standing, now time.Time) (*logical.Response, error) {
		if r.End == nil {
			begun, refusal := approval.Apply(r, approval.BeginEnd{Reason: approval.Revoked, By: &who.Person}, now)
			if refusal != nil {
				return refused(refusal), nil
			}
			// On record before anything is revoked: if this node dies now, the periodic work carries on.
			if err := b.store.Requests.Put(ctx, req.Storage, begun, now); err != nil {
				return nil, err
			}
			r = begun
		}
		ctx, cancel := outlasting(ctx)
		defer cancel()
		if r.End.Confirmed() {
			return refused(fmt.Errorf("the grant has ended already, at %s (%s)", timestamp(r.End.At), r.End.Reason)), nil
		}
		r, problem, err := b.settle(ctx, req.Storage, r)
		if err != nil {
			return nil, err
		}
		response := &logical.Response{Data: map[string]any{"id": r.ID, "state": string(r.State(now)), "grant": describeGrant(r, now)}}
		if r.Grant.LeaseID == "" {
			response.AddWarning("what the claim gave cannot be taken back: its path gave no lease; only the grant token has ended")
		}
		if problem != nil {
			response.AddWarning(fmt.Sprintf("the end is on record but not confirmed, and the engine tries again every minute: %v", problem))
		}
		return response, nil
	})
}

// settle does what is outstanding for a request that the caller has locked: it ends a grant whose time is up or whose
// end is not confirmed, revokes what a dead claim left, and files the request away once nothing remains to be done.
// The problem is what kept it from finishing; the error means that the outcome could not be stored.
func (b *backend) settle(ctx context.Context, s logical.Storage, r approval.Request) (settled approval.Request, problem, err error) {
	now := b.now()
	ending := r.Ending(now)
	switch {
	case r.Leftover() != "":
		vault, err := b.issuerFor(ctx, s)
		if err != nil {
			return r, err, nil
		}
		if problem = vault.RevokeToken(ctx, r.Leftover()); problem != nil {
			return r, problem, nil
		}
		if r, err = approval.Apply(r, approval.AbandonClaim{}, now); err != nil {
			return r, nil, err
		}
	case ending != nil && !ending.Confirmed():
		vault, issuerErr := b.issuerFor(ctx, s)
		problem = issuerErr
		if issuerErr == nil {
			problem = vault.End(ctx, r.Grant.Accessor, r.Grant.LeaseID)
		}
		if r, err = ended(r, approval.BeginEnd{Reason: approval.WindowEnd}, problem, now); err != nil {
			return r, problem, errors.Join(problem, err)
		}
	}
	return r, problem, b.store.Requests.Put(ctx, s, r, now)
}
