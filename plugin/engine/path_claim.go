package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathClaim() []*framework.Path {
	// In the second form the id becomes part of the lease's id, so that `vault lease revoke -prefix jit/claim/ID` works.
	var both []*framework.Path
	for pattern, suffix := range map[string]string{"claim": "request", "claim/" + framework.MatchAllRegex("id"): "request-by-id"} {
		both = append(both, b.accept(wire.NameRequestTable, &framework.Path{
			Pattern:      pattern,
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "claim", OperationSuffix: suffix},
			Operations: operations{
				logical.UpdateOperation: b.writing(identified(claim), "Turn an approved request into a leased credential."),
			},
			HelpSynopsis: "Turn your own approved request into a leased credential.",
			HelpDescription: `Checks the quorum once more, with the groups and the policy as they are now, and then makes the credential, for this request
alone. The window starts now. A request is granted once. A claim that fails takes back what it made and can be repeated.`,
		}))
	}
	return both
}

func claim(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	r, made, err := c.ledger.Claim(ctx, c.req.Storage, c.text("id"), who, func(r approval.Request) (approval.World, error) {
		return who.WorldNow(ctx, r)
	})
	if refusal.Of(err) != nil {
		return nil, c.explainRefusedClaim(ctx, r, who.Standing, err)
	}
	if err != nil {
		return nil, err
	}
	return c.lease(r, made), nil
}

// explainRefusedClaim adds who could still approve, if that is what is missing.
func (c *call) explainRefusedClaim(ctx context.Context, r approval.Request, who approval.Standing, refused error) error {
	now := c.now()
	if !r.State(now).Undecided() {
		return refused
	}
	world, err := c.people.World(ctx, r)
	if err != nil {
		return err
	}
	if why := approval.MayClaim(r, who, approval.Judge(r, world, now)); why == nil || why.Error() != refused.Error() {
		return refused // for another reason
	}
	if world.Census, err = c.people.Census(ctx, r.Ask.Policy.Groups()); err != nil {
		return err
	}
	return approval.MayClaim(r, who, approval.Judge(r, world, now))
}
