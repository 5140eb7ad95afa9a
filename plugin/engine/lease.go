package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

const grantSecretType = "jit_grant"

// What the lease itself carries, so that it can be ended when the request's record is gone. Vault never shows it.
const (
	leaseRequestID = "request_id"
	leaseAccessor  = "accessor"
	leaseLeaseID   = "lease_id"
	leaseExpiresAt = "expires_at"
)

func (b *backend) grantSecret() *framework.Secret {
	return &framework.Secret{Type: grantSecretType, Renew: b.handle(renewLease), Revoke: b.handle(endLease)}
}

// lease is the answer to a successful claim.
func (c *call) lease(r approval.Request, made issuer.Made) *logical.Response {
	token, _ := made.Handles.Find(grant.Token{}.Key()).(grant.Token)
	lease, _ := made.Handles.Find(grant.Lease{}.Key()).(grant.Lease) // without an id if upstream gave none
	response := c.Secret(grantSecretType).Response(made.Data, map[string]any{
		leaseRequestID: r.ID,
		leaseAccessor:  token.Accessor,
		leaseLeaseID:   lease.ID,
		leaseExpiresAt: r.Grant.Until.Format(time.RFC3339Nano),
	})
	response.Secret.TTL = max(0, r.Grant.Until.Sub(made.Answered).Round(time.Second))
	response.Secret.MaxTTL = response.Secret.TTL
	response.Secret.Renewable = true
	response.Warnings = made.Notes
	return response
}

// carried is what a lease of ours carries.
type carried struct {
	requestID string
	handles   grant.Handles
	expiresAt time.Time
}

func readLease(req *logical.Request) (carried, error) {
	if req.Secret == nil {
		return carried{}, errors.New("the lease carries nothing")
	}
	read := func(key string) string {
		value, _ := req.Secret.InternalData[key].(string)
		return value
	}
	requestID, accessor, leaseID := read(leaseRequestID), read(leaseAccessor), read(leaseLeaseID)
	expiresAt, err := time.Parse(time.RFC3339Nano, read(leaseExpiresAt))
	if err != nil || requestID == "" || accessor == "" {
		return carried{}, errors.New("the lease does not carry what it takes to handle it")
	}
	handles := grant.Handles{grant.Token{Accessor: accessor}}
	if leaseID != "" {
		handles = append(handles, grant.Lease{ID: leaseID})
	}
	return carried{requestID: requestID, handles: handles, expiresAt: expiresAt}, nil
}

// renewLease lets the lease go on to the end of the window and not beyond. Vault lets a client's increment override the
// TTL given here; only the maximum limits it.
func renewLease(ctx context.Context, c *call) (*logical.Response, error) {
	l, err := readLease(c.req)
	if err != nil {
		return nil, err
	}
	r, err := c.ledger.Peek(ctx, c.req.Storage, l.requestID)
	if err != nil {
		return nil, err
	}
	now := c.now()
	if r == nil || r.State(now) != approval.StateActive {
		return nil, refusal.New("", fmt.Sprintf("request %s has no active grant any more", l.requestID), "ask again")
	}
	longest := l.expiresAt.Sub(c.req.Secret.IssueTime).Truncate(time.Second)
	left := l.expiresAt.Sub(now).Truncate(time.Second)
	if longest < time.Second || left < time.Second {
		return nil, refusal.Newf("", "the window of request %s ends now", l.requestID)
	}
	secret := *c.req.Secret
	secret.TTL, secret.MaxTTL = left, longest
	return &logical.Response{Secret: &secret}, nil
}

// endLease is called by Vault when the lease ends, for whatever cause. It works when role, policy and even the request's
// record are gone, and does nothing more once the end is confirmed.
func endLease(ctx context.Context, c *call) (*logical.Response, error) {
	l, err := readLease(c.req)
	if err != nil {
		return nil, err
	}
	err = c.ledger.EndLease(ctx, c.req.Storage, l.requestID, l.handles)
	if errors.Is(err, errNotConfigured) {
		// The configuration can be deleted only when no grant is left, and then its record may be tidied away.
		if r, readErr := c.ledger.Peek(ctx, c.req.Storage, l.requestID); r == nil && readErr == nil {
			return nil, nil
		}
	}
	return nil, err
}
