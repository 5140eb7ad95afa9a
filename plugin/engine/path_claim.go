package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
)

func (b *backend) pathClaim() []*framework.Path {
	// In the second form the id becomes part of the lease's id, so that `vault lease revoke -prefix jit/claim/ID` works.
	var both []*framework.Path
	for pattern, suffix := range map[string]string{"claim": "request", "claim/" + framework.MatchAllRegex("id"): "request-by-id"} {
		both = append(both, &framework.Path{
			Pattern:      pattern,
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "claim", OperationSuffix: suffix},
			Fields: map[string]*framework.FieldSchema{
				"id": {Type: framework.TypeString, Description: "The request's id.", Required: true},
			},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: changing(b.claim, "Turn an approved request into a leased credential."),
			},
			HelpSynopsis: "Turn your own approved request into a leased credential.",
			HelpDescription: `Checks the quorum once more, with the groups and the policy as they are now, and then makes the credential, for this request
alone. The window starts now. A request is granted once. A claim that fails takes back what it made and can be repeated.`,
		})
	}
	return both
}

func (b *backend) claim(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	people := b.newLookup(req.Storage)
	return b.withRequest(ctx, req, d, people, func(r approval.Request, who approval.Standing, now time.Time) (*logical.Response, error) {
		facts, err := people.claimFacts(ctx, r)
		if err != nil {
			return nil, err
		}
		if r.MayClaim(who.Person, facts, now) != nil {
			return b.refuseClaim(ctx, people, r, who.Person, facts, now)
		}
		b.claims.RLock()
		defer b.claims.RUnlock()
		vault, err := b.issuerFor(ctx, req.Storage)
		if errors.Is(err, errNotConfigured) {
			return refused(err), nil
		}
		if err != nil {
			return nil, err
		}
		attempt := &claiming{b: b, storage: req.Storage, vault: vault, request: r}
		return attempt.run(ctx, approval.StartClaim{Claimer: who.Person, Facts: facts}, now)
	})
}

// refuseClaim says what stands in the way, and who could still approve.
func (b *backend) refuseClaim(ctx context.Context, people *lookup, r approval.Request, claimer approval.Person, facts approval.ClaimFacts,
	now time.Time,
) (*logical.Response, error) {
	if waiting(r.State(now)) {
		census, err := people.census(ctx, r.Ask.Policy.Groups())
		if err != nil {
			return nil, err
		}
		facts.Census = census
	}
	return refused(r.MayClaim(claimer, facts, now)), nil
}

// claiming is one attempt to turn a request into a grant. Each step is recorded before the next one is taken, so that
// whatever an interrupted attempt made can be found and revoked; what cannot be found ends with its window.
type claiming struct {
	b       *backend
	storage logical.Storage
	vault   *issuer.Issuer
	request approval.Request
}

func (c *claiming) run(caller context.Context, start approval.StartClaim, now time.Time) (*logical.Response, error) {
	// Upstream may keep what it has made for a call that was broken off, and then nobody knows of it.
	ctx, cancel := outlasting(caller)
	defer cancel()
	if err := c.clear(ctx, now); err != nil {
		return nil, err
	}
	// The first side effect is a write: a node that may not write stops here.
	if err := c.apply(ctx, start, now); err != nil {
		return nil, err
	}
	order := issuer.Order{
		RequestID: c.request.ID,
		Role:      c.request.Ask.Role,
		Requester: c.request.Ask.Requester,
		Grant:     c.request.Ask.Grant,
		Window:    c.request.Ask.TTL,
	}
	began := c.b.now().UTC().Round(0)
	token, err := c.vault.NewToken(ctx, order)
	if err != nil {
		var refusal *issuer.RefusedError
		if errors.As(err, &refusal) && refusal.Left != "" {
			return nil, errors.Join(err, c.apply(ctx, approval.KeepToken{Accessor: refusal.Left}, now))
		}
		return c.giveUp(ctx, err, "", "")
	}
	if err := c.apply(ctx, approval.KeepToken{Accessor: token.Accessor}, now); err != nil {
		return c.fail(ctx, err, token.Accessor, "")
	}
	made, err := c.vault.Fetch(ctx, token, order)
	if err != nil {
		return c.giveUp(ctx, err, token.Accessor, made.LeaseID)
	}
	if caller.Err() != nil { // nobody is there to take it
		return c.fail(ctx, context.Cause(caller), token.Accessor, made.LeaseID)
	}
	answered := c.b.now().UTC().Round(0)
	grant := approval.Grant{ClaimedAt: began, ExpiresAt: windowEnd(began, order.Window, answered, made.Lasts), Accessor: token.Accessor, LeaseID: made.LeaseID}
	if wholeSeconds(grant.ExpiresAt.Sub(answered)) == 0 {
		return c.giveUp(ctx, fmt.Errorf("%s took until the window of %s was over", order.Grant.Path, order.Window), token.Accessor, made.LeaseID)
	}
	if err := c.apply(ctx, approval.Succeed{Grant: grant}, answered); err != nil {
		return c.fail(ctx, err, token.Accessor, made.LeaseID)
	}
	if took := wholeSeconds(answered.Sub(began)); took > 0 {
		made.Notes = append(made.Notes, fmt.Sprintf("making this took %s, which are part of its window", took))
	}
	return c.b.leased(c.request, made, answered), nil
}

// windowEnd is when a grant ends: with its grant token, which lives from its making on, or with upstream if that ends earlier.
func windowEnd(tokenMade time.Time, window time.Duration, answered time.Time, upstreamLasts time.Duration) time.Time {
	end := tokenMade.Add(window)
	if upstream := answered.Add(upstreamLasts); upstream.Before(end) {
		return upstream
	}
	return end
}

// clear revokes what an earlier attempt left behind.
func (c *claiming) clear(ctx context.Context, now time.Time) error {
	if c.request.Leftover() == "" {
		return nil
	}
	if err := c.b.store.Requests.Put(ctx, c.storage, c.request, now); err != nil {
		return err
	}
	if err := c.vault.RevokeToken(ctx, c.request.Leftover()); err != nil {
		return fmt.Errorf("an earlier claim left something behind that must go first: %w", err)
	}
	// The next write says so; until then a repetition revokes it once more, which does no harm.
	cleared, err := approval.Apply(c.request, approval.AbandonClaim{}, now)
	c.request = cleared
	return err
}

func (c *claiming) apply(ctx context.Context, event approval.Event, now time.Time) error {
	next, err := approval.Apply(c.request, event, now)
	if err != nil {
		return fmt.Errorf("claiming request %s: %w", c.request.ID, err)
	}
	if err := c.b.store.Requests.Put(ctx, c.storage, next, now); err != nil {
		return err
	}
	c.request = next
	return nil
}

// giveUp answers a claim for which Vault did not give what it should. Nothing is left, and the claim can be repeated.
func (c *claiming) giveUp(ctx context.Context, cause error, accessor, leaseID string) (*logical.Response, error) {
	if err := c.undo(ctx, accessor, leaseID); err != nil {
		return nil, errors.Join(cause, err)
	}
	return refused(fmt.Errorf("the claim failed and nothing was given out; the request can be claimed again: %w", cause)), nil
}

// fail answers a claim that the engine could not record.
func (c *claiming) fail(ctx context.Context, cause error, accessor, leaseID string) (*logical.Response, error) {
	return nil, errors.Join(cause, c.undo(ctx, accessor, leaseID))
}

// undo ends whatever the attempt made, also when the caller has gone away meanwhile. What cannot be undone now stays
// on record, and the next claim or the periodic work tries again.
func (c *claiming) undo(ctx context.Context, accessor, leaseID string) error {
	ctx, cancel := outlasting(ctx)
	defer cancel()
	if err := c.vault.End(ctx, accessor, leaseID); err != nil {
		return fmt.Errorf("undoing the claim: %w", err)
	}
	return c.apply(ctx, approval.AbandonClaim{}, c.b.now())
}
