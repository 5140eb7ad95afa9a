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

func (b *backend) pathRequest() []*framework.Path {
	// Two paths, because an optional capture would blank the role given in the body.
	var both []*framework.Path
	for pattern, suffix := range map[string]string{"request": "request", "request/" + framework.GenericNameRegex("role"): "request-for-role"} {
		both = append(both, b.accept(wire.AskTable, &framework.Path{
			Pattern:      pattern,
			DisplayAttrs: display(suffix),
			Operations: operations{
				logical.UpdateOperation: answering(wire.RequestTable, b.writing(identified(ask), "Ask for a role. Returns the request's id.")),
			},
			HelpSynopsis: "Ask for a role.",
			HelpDescription: `Makes a request and returns its id. It freezes the role's policy and exactly what a claim would execute.
Nothing is given out before a quorum of approvers agreed and the request is claimed; the window starts at the claim.`,
		}))
	}
	return both
}

func ask(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	question, err := c.gatherQuestion(ctx, who)
	if err != nil {
		return nil, err
	}
	r, err := c.ledger.Ask(ctx, c.req.Storage, who.EntityID, func(id string, waiting int) (approval.Record, error) {
		question.Waiting = waiting
		return approval.New(id, question, c.now())
	})
	if err != nil {
		return nil, err
	}
	return c.show(ctx, r, false)
}

// gatherQuestion gathers what a new request is made from.
func (c *call) gatherQuestion(ctx context.Context, who people.Caller) (approval.Question, error) {
	var none approval.Question
	name := c.text("role")
	if name == "" {
		return none, refusal.New("role", "it is empty", "name the role to ask for")
	}
	if err := text.CheckName(name); err != nil {
		return none, refusal.In("role", err)
	}
	role, err := c.store.Roles.Get(ctx, c.req.Storage, name)
	if err != nil {
		return none, err
	}
	if role == nil {
		return none, refusal.Newf("role", "there is no role %q", name)
	}
	policy, err := c.store.Policies.Get(ctx, c.req.Storage, role.Policy)
	if err != nil {
		return none, err
	}
	if policy == nil {
		return none, refusal.Newf("role", "%q cannot be asked for: its policy %q does not exist", name, role.Policy)
	}
	identityGroups, err := c.people.IdentityGroups(who.EntityID, role.RequesterIdentityGroupIDs)
	if err != nil {
		return none, err
	}
	config, err := c.configuration(ctx, c.req.Storage)
	if err != nil {
		return none, err
	}
	ttl, _ := c.given["ttl"].(int64) // 0 asks for the policy's default
	parameters, _ := c.given["parameters"].(map[string]string)
	return approval.Question{
		Role:             *role,
		Policy:           *policy,
		Requester:        who.Standing,
		IdentityGroupIDs: identityGroups,
		Reason:           c.text("reason"),
		TTL:              wire.Seconds(ttl).Duration(),
		Parameters:       parameters,
		MaxWindow:        c.people.LongestLease(),
		MaxWaiting:       config.MaxPendingPerRequester,
	}, nil
}
