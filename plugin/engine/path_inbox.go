package engine

import (
	"context"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/store"
)

func (b *backend) pathInbox() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "inbox/?",
		DisplayAttrs: display("inbox"),
		Fields:       pageFields(),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: reading(b.listInbox, "List the requests that wait for your decision."),
		},
		HelpSynopsis:    "The requests that you can decide on now and have not.",
		HelpDescription: "Oldest first. vault list -detailed shows what each one would execute. A decision of yours that stands is in requests/ID.",
	}}
}

func (b *backend) listInbox(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	people := b.newLookup(req.Storage)
	who, problem, err := people.caller(ctx, req)
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	page, problem := pageOf(d)
	if problem != nil {
		return refused(problem), nil
	}
	standing, err := people.standingEverywhere(ctx, who.EntityID)
	if err != nil {
		return nil, err
	}
	now := b.now()
	candidates, err := b.store.Requests.Open(ctx, req.Storage, func(s store.Summary) bool {
		return s.Waiting && now.UnixNano() < s.Due &&
			slices.ContainsFunc(s.Groups, func(g string) bool { return slices.Contains(standing.Groups, g) })
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(candidates))
	for i, candidate := range candidates {
		ids[i] = candidate.ID
	}
	return b.listing(ids, page, func(id string) (map[string]any, error) {
		r, err := b.store.Requests.GetOpen(ctx, req.Storage, id)
		if err != nil || r == nil {
			return nil, err
		}
		requester, err := people.entity(r.Ask.Requester.EntityID)
		if err != nil || !requester.Exists || requester.Disabled || !r.Decidable(standing, requester, now) {
			return nil, err
		}
		return summary(*r, r.State(now)), nil
	})
}
