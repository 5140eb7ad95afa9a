package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathRevoke() []*framework.Path {
	return []*framework.Path{b.action("revoke", "grant", wire.NameRequestTable, identified(revoke), wire.RevokedTable,
		"End a live grant now.",
		`Its requester, whoever is in an approver group of its policy now, and auditors may end a grant. The grant token and upstream's
lease are both revoked at once, and who did it is recorded. If Vault cannot confirm the end, the answer says so and the engine
tries again, every minute at first. The lease of the claim stays until its time is up; nothing is behind it any more.`)}
}

func revoke(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	r, err := c.ledger.Revoke(ctx, c.req.Storage, c.id(), who, func(_ approval.Request, standing approval.Standing) (approval.Command, error) {
		return approval.Revoke{By: standing, Auditor: who.Auditor}, nil
	})
	if err != nil {
		return nil, err
	}
	now := c.now()
	revoked := wire.Revoked{ID: r.ID, State: string(r.State(now))}
	if grant := viewGrant(r, now); grant != nil {
		revoked.Grant = *grant
	}
	response, err := answer(revoked)
	if err != nil {
		return nil, err
	}
	hasLease := slices.ContainsFunc(r.Held, func(h approval.Held) bool { return h.Handle.Key() == grant.Lease{}.Key() })
	if !hasLease {
		response.AddWarning("what the claim gave cannot be taken back: its path gave no lease; only the grant token has ended")
	}
	if !r.End.Confirmed() {
		response.AddWarning(fmt.Sprintf("the end is on record but not confirmed, and the engine tries again every minute at first: %s", r.Problem()))
	}
	return response, nil
}
