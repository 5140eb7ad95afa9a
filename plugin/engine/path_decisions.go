package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

func (b *backend) pathDecisions() []*framework.Path {
	id := &framework.FieldSchema{Type: framework.TypeString, Description: "The request's id.", Required: true}
	comment := &framework.FieldSchema{Type: framework.TypeString, Description: "A word on it, for the record."}
	path := func(verb, synopsis, help string, h handler, fields map[string]*framework.FieldSchema) *framework.Path {
		return &framework.Path{
			Pattern:      verb,
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: verb, OperationSuffix: "request"},
			Fields:       fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: b.writing(h, synopsis),
			},
			HelpSynopsis:    synopsis,
			HelpDescription: help,
		}
	}
	withComment := map[string]*framework.FieldSchema{"id": id, "comment": comment}
	withoutComment := map[string]*framework.FieldSchema{"id": id}
	return []*framework.Path{
		path("approve", "Approve a request.",
			"Read requests/ID first: what it shows is exactly what a claim executes. Until the claim you may change your mind.",
			decide(approval.Approve), withComment),
		path("deny", "Deny a request.",
			"A request is refused for good once as many eligible people deny as its policy's deny_threshold says. An approved request can still be denied until it is claimed.",
			decide(approval.Deny), withComment),
		path("withdraw", "Take back your own decision on a request.",
			"Possible until the claim, and not once a denial is final.",
			withdraw, withoutComment),
		path("cancel", "Cancel your own request before it is claimed.",
			"An active grant is ended with revoke instead.",
			cancel, withoutComment),
	}
}

func decide(verdict approval.DecisionVerdict) handler {
	return func(ctx context.Context, c *call) (*logical.Response, error) {
		return c.change(ctx, func(r approval.Request, who approval.Standing) (approval.Command, error) {
			requester, err := c.people.Entity(r.Ask.Requester.EntityID)
			return approval.Decide{Approver: who, Requester: requester, Verdict: verdict, Comment: field[string](c.fields, "comment")}, err
		})
	}
}

func withdraw(ctx context.Context, c *call) (*logical.Response, error) {
	return c.change(ctx, func(_ approval.Request, who approval.Standing) (approval.Command, error) {
		return approval.Withdraw{Approver: who}, nil
	})
}

func cancel(ctx context.Context, c *call) (*logical.Response, error) {
	return c.change(ctx, func(_ approval.Request, who approval.Standing) (approval.Command, error) {
		return approval.Cancel{Requester: who}, nil
	})
}
