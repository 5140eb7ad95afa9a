package engine

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/store"
)

func (b *backend) pathStatus() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "status",
		DisplayAttrs: display("status"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: onActive(b.readStatus, "Read how the engine is doing."),
		},
		HelpSynopsis: "How the engine is doing: its login, and what is open, live and not yet confirmed to have ended.",
		HelpDescription: `unconfirmed_ends counts what has ended on record while Vault has not confirmed that nothing is left of it: grants, and
failed claims. The engine tries again every minute; requests/ID shows the last error of a grant's end, and Vault's log that of a
claim. Anything above zero for long deserves a look.`,
	}}
}

func (b *backend) readStatus(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	open, err := b.store.Requests.Open(ctx, req.Storage, func(store.Summary) bool { return true })
	if err != nil {
		return nil, err
	}
	live, unconfirmed := 0, []string{}
	for _, s := range open {
		switch {
		case s.Unconfirmed || (s.Waiting && s.Holding && !b.beingClaimed(s.ID)):
			unconfirmed = append(unconfirmed, s.ID)
		case s.Holding && !s.Waiting:
			live++
		}
	}
	login := issuer.LoginStatus{Problem: errNotConfigured.Error()}
	if vault, err := b.issuerFor(ctx, req.Storage); err == nil {
		login = vault.Status(ctx)
	} else if !errors.Is(err, errNotConfigured) {
		return nil, err
	}
	data := map[string]any{
		"plugin_version":       Version,
		"logged_in":            login.LoggedIn,
		"login_problem":        login.Problem,
		"token_expires_at":     timestamp(login.TokenExpires),
		"secret_id_expires_at": timestamp(login.SecretIDExpires),
		"open_requests":        len(open),
		"live_grants":          live,
		"unconfirmed_ends":     len(unconfirmed),
		"unconfirmed_ids":      unconfirmed,
		"last_periodic_run":    "",
	}
	if last := b.lastPeriodic.Load(); last != nil {
		data["last_periodic_run"] = timestamp(*last)
	}
	return &logical.Response{Data: data}, nil
}

// beingClaimed reports whether somebody is at the request, so that what a claim has made so far is not what a dead one left.
func (b *backend) beingClaimed(id string) bool {
	unlock := b.store.Requests.TryLock(id)
	if unlock == nil {
		return true
	}
	unlock()
	return false
}

// timestamp is RFC 3339 in UTC with milliseconds; "" for the zero time.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
