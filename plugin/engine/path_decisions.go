package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathDecisions() []*framework.Path {
	names, decides, shows := wire.NameRequestTable, wire.DecideTable, wire.RequestTable
	return []*framework.Path{
		b.action("approve", "request", decides, decide(approval.Approve), shows, "Approve a request.",
			"Read requests/ID first: what it shows is exactly what a claim executes. Until the claim you may change your mind."),
		b.action("deny", "request", decides, decide(approval.Deny), shows, "Deny a request.",
			"A request is refused for good once as many eligible people deny as its policy's deny_threshold says. An approved request can still be denied until it is claimed."),
		b.action("withdraw", "request", names, change(withdraw), shows, "Take back your own decision on a request.",
			"Possible until the claim, and not once a denial is final."),
		b.action("cancel", "request", names, change(cancel), shows, "Cancel your own request before it is claimed.",
			"An active grant is ended with revoke instead."),
	}
}

// change does to the request that the caller names what the command says, and shows it.
func change(command func(c *call, r approval.Request, who approval.Standing) (approval.Command, error)) handler {
	return identified(func(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
		build := func(r approval.Request, who approval.Standing) (approval.Command, error) { return command(c, r, who) }
		r, err := c.ledger.Change(ctx, c.req.Storage, c.id(), who, build)
		if err != nil {
			return nil, err
		}
		return c.show(ctx, r, false)
	})
}

func decide(verdict approval.DecisionVerdict) handler {
	return change(func(c *call, r approval.Request, who approval.Standing) (approval.Command, error) {
		requester, err := c.people.Entity(r.Ask.Requester.EntityID)
		return approval.Decide{Approver: who, Requester: requester, Verdict: verdict, Comment: c.text("comment")}, err
	})
}

func withdraw(_ *call, _ approval.Request, who approval.Standing) (approval.Command, error) {
	return approval.Withdraw{Approver: who}, nil
}

func cancel(_ *call, _ approval.Request, who approval.Standing) (approval.Command, error) {
	return approval.Cancel{Requester: who}, nil
}
