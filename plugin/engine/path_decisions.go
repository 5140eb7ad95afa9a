package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

func (b *backend) pathDecisions() []*framework.Path {
	id := &framework.FieldSchema{Type: framework.TypeString, Description: "The request's id.", Required: true}
	comment := &framework.FieldSchema{Type: framework.TypeString, Description: "A word on it, for the record."}
	decide := func(verdict approval.DecisionVerdict) framework.OperationFunc {
		return b.on(func(d *framework.FieldData, who, requester approval.Standing) approval.Event {
			return approval.Decide{Approver: who, Requester: requester, Verdict: verdict, Comment: field[string](d, "comment")}
		})
	}
	path := func(verb, synopsis, help string, handler framework.OperationFunc, fields map[string]*framework.FieldSchema) *framework.Path {
		return &framework.Path{
			Pattern:      verb,
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: verb, OperationSuffix: "request"},
			Fields:       fields,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: changing(handler, synopsis),
			},
			HelpSynopsis:    synopsis,
			HelpDescription: help,
		}
	}
	word := map[string]*framework.FieldSchema{"id": id, "comment": comment}
	only := map[string]*framework.FieldSchema{"id": id}
	return []*framework.Path{
		path("approve", "Approve a request.",
			"Read requests/ID first: what it shows is exactly what a claim executes. Until the claim you may change your mind.",
			decide(approval.Approve), word),
		path("deny", "Deny a request.",
			"A request is refused for good once as many eligible people deny as its policy's deny_threshold says. An approved request can still be denied until it is claimed.",
			decide(approval.Deny), word),
		path("withdraw", "Take back your own decision on a request.",
			"Possible until the claim, and not once a denial is final.",
			b.on(func(_ *framework.FieldData, who, _ approval.Standing) approval.Event {
				return approval.Withdraw{Approver: who}
			}), only),
		path("cancel", "Cancel your own request before it is claimed.",
			"An active grant is ended with revoke instead.",
			b.on(func(_ *framework.FieldData, who, _ approval.Standing) approval.Event {
				return approval.Cancel{Requester: who}
			}), only),
	}
}

// on makes a handler that applies one event of the caller's to a request.
func (b *backend) on(event func(d *framework.FieldData, who, requester approval.Standing) approval.Event) framework.OperationFunc {
	return func(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
		people := b.newLookup(req.Storage)
		return b.withRequest(ctx, req, d, people, func(r approval.Request, who approval.Standing, now time.Time) (*logical.Response, error) {
			requester, err := people.entity(r.Ask.Requester.EntityID)
			if err != nil {
				return nil, err
			}
			r, refusal := approval.Apply(r, event(d, who, requester), now)
			if refusal != nil {
				return refused(refusal), nil
			}
			if err := b.store.Requests.Put(ctx, req.Storage, r, now); err != nil {
				return nil, err
			}
			return b.describeLive(ctx, people, r, now)
		})
	}
}

// withRequest runs a handler on the request that the caller names, if they may see it, as the only one to change it.
// A hidden request and an absent one are answered alike.
func (b *backend) withRequest(ctx context.Context, req *logical.Request, d *framework.FieldData, people *lookup,
	handle func(r approval.Request, who approval.Standing, now time.Time) (*logical.Response, error),
) (*logical.Response, error) {
	who, problem, err := people.caller(ctx, req)
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	id := field[string](d, "id")
	if err := approval.CheckID(id); err != nil {
		return refused(fmt.Errorf("id: %w", err)), nil
	}
	defer b.store.Requests.Lock(id)()
	r, standing, err := b.visible(ctx, req, people, who, id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return refused(fmt.Errorf("there is no request %q that you can see", id)), nil
	}
	return handle(*r, standing, b.now())
}

// visible returns the request if the caller may see it, or nil, and the caller's standing with regard to it.
func (b *backend) visible(ctx context.Context, req *logical.Request, people *lookup, who caller, id string) (*approval.Request, approval.Standing, error) {
	r, err := b.store.Requests.Get(ctx, req.Storage, id)
	if err != nil || r == nil {
		return nil, approval.Standing{}, err
	}
	standing, err := people.standing(ctx, who.EntityID, r.Ask.Policy.Groups())
	if err != nil || !r.MaySee(standing, who.auditor) {
		return nil, approval.Standing{}, err
	}
	return r, standing, nil
}
