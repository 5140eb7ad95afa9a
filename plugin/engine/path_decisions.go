package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
)

func (b *backend) pathDecisions() []*framework.Path {
	id := map[string]*framework.FieldSchema{"id": idField()}
	withComment := map[string]*framework.FieldSchema{
		"id":      idField(),
		"comment": {Type: framework.TypeString, Description: "A word on it, for the record."},
	}
	return []*framework.Path{
		b.action("approve", "request", withComment, decide(approval.Approve), "Approve a request.",
			"Read requests/ID first: what it shows is exactly what a claim executes. Until the claim you may change your mind."),
		b.action("deny", "request", withComment, decide(approval.Deny), "Deny a request.",
			"A request is refused for good once as many eligible people deny as its policy's deny_threshold says. An approved request can still be denied until it is claimed."),
		b.action("withdraw", "request", id, change(withdraw), "Take back your own decision on a request.",
			"Possible until the claim, and not once a denial is final."),
		b.action("cancel", "request", id, change(cancel), "Cancel your own request before it is claimed.",
			"An active grant is ended with revoke instead."),
	}
}

// change does to the request that the caller names what the command says, and shows it.
func change(command func(c *call, r approval.Request, who approval.Standing) (approval.Command, error)) handler {
	return identified(func(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
		build := func(r approval.Request, who approval.Standing) (approval.Command, error) { return command(c, r, who) }
		r, err := c.ledger.Change(ctx, c.req.Storage, field[string](c.fields, "id"), who, build)
		if err != nil {
			return nil, err
		}
		return c.show(ctx, r, false)
	})
}

func decide(verdict approval.DecisionVerdict) handler {
	return change(func(c *call, r approval.Request, who approval.Standing) (approval.Command, error) {
		requester, err := c.people.Entity(r.Ask.Requester.EntityID)
		return approval.Decide{Approver: who, Requester: requester, Verdict: verdict, Comment: field[string](c.fields, "comment")}, err
	})
}

func withdraw(_ *call, _ approval.Request, who approval.Standing) (approval.Command, error) {
	return approval.Withdraw{Approver: who}, nil
}

func cancel(_ *call, _ approval.Request, who approval.Standing) (approval.Command, error) {
	return approval.Cancel{Requester: who}, nil
}
