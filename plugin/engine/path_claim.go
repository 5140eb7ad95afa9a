package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathClaim() []*framework.Path {
	// A claim has one form, so that the request's id is part of the lease's id. The form without it only says so.
	withoutID := b.writing(refuseClaimWithoutID, "")
	withoutID.Unpublished = true
	synopsis := "Turn your own approved request into a leased credential."
	return []*framework.Path{b.accept(wire.NameRequestTable, &framework.Path{
		Pattern:         "claim/?",
		Operations:      operations{logical.UpdateOperation: withoutID},
		HelpSynopsis:    synopsis,
		HelpDescription: "The request's id is part of the path: " + claimCommand("ID"),
	}), b.accept(wire.NameRequestTable, &framework.Path{
		Pattern:      "claim/" + framework.MatchAllRegex("id"),
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: "claim", OperationSuffix: "request"},
		Operations: operations{
			logical.UpdateOperation: b.writing(identified(claim), "Turn an approved request into a leased credential."),
		},
		HelpSynopsis: synopsis,
		HelpDescription: `Checks the quorum once more, with the groups and the policy as they are now, and then makes the credential, for this request
alone. The window starts now. A request is granted once. A claim that fails takes back what it made and can be repeated.`,
	})}
}

func claimCommand(id string) string { return "vault write -f jit/claim/" + id }

func refuseClaimWithoutID(_ context.Context, c *call) (*logical.Response, error) {
	id := c.id()
	if text.CheckRequestID(id) != nil {
		id = "ID"
	}
	return nil, refusal.New("id", "it is not in the path", "claim/ID: "+claimCommand(id))
}

func claim(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	if c.id() != c.text("id") { // it is part of the lease's id already, where it has to be the request's own
		return nil, refusal.New("id", "it is not as jit/request returned it", claimCommand(c.id()))
	}
	r, made, err := c.ledger.Claim(ctx, c.req.Storage, c.id(), who, func(r approval.Request) (approval.World, error) {
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
