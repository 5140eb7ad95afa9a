package engine

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathStatus() []*framework.Path {
	return []*framework.Path{b.accept(wire.Table{}, &framework.Path{
		Pattern:      "status",
		DisplayAttrs: display("status"),
		Operations:   operations{logical.ReadOperation: answering(wire.StatusTable, b.readingOnActive(readStatus, "Read how the engine is doing."))},
		HelpSynopsis: "How the engine is doing: its login, and what is open, live and not yet confirmed to have ended.",
		HelpDescription: `unconfirmed_ends counts what is over while Vault has not confirmed that nothing is left of it: grants, and failed claims.
The engine tries again by itself, every minute at first; requests/ID shows the last error of a grant's end, and Vault's log that
of a claim. Anything above zero for long deserves a look.`,
	})}
}

func readStatus(ctx context.Context, c *call) (*logical.Response, error) {
	counts, err := c.ledger.Count(ctx, c.req.Storage)
	if err != nil {
		return nil, err
	}
	login := session.Status{Problem: errNotConfigured.Error()}
	if vault, err := c.issuerFor(ctx, c.req.Storage); err == nil {
		login = vault.Session().Status(ctx)
	} else if !errors.Is(err, errNotConfigured) {
		return nil, err
	}
	status := wire.Status{
		PluginVersion:     Version,
		LoggedIn:          login.LoggedIn,
		LoginProblem:      login.Problem,
		TokenExpiresAt:    wire.Time{Time: login.TokenExpires},
		SecretIDExpiresAt: wire.Time{Time: login.SecretIDExpires},
		OpenRequests:      counts.Open,
		LiveGrants:        counts.Live,
		UnconfirmedEnds:   len(counts.Unconfirmed),
		UnconfirmedIDs:    counts.Unconfirmed,
	}
	if last := c.lastPeriodic.Load(); last != nil {
		status.LastPeriodicRun = wire.Time{Time: *last}
	}
	return answer(status)
}
