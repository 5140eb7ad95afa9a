package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/store"
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
	return &framework.Secret{Type: grantSecretType, Renew: b.renewGrant, Revoke: b.revokeGrant}
}

// wholeSeconds is a duration as leases count it.
func wholeSeconds(d time.Duration) time.Duration { return max(0, d.Round(time.Second)) }

// leased is the answer to a successful claim.
func (b *backend) leased(r approval.Request, made issuer.Made, now time.Time) *logical.Response {
	response := b.Secret(grantSecretType).Response(made.Data, map[string]any{
		leaseRequestID: r.ID,
		leaseAccessor:  r.Grant.Accessor,
		leaseLeaseID:   r.Grant.LeaseID,
		leaseExpiresAt: r.Grant.ExpiresAt.Format(time.RFC3339Nano),
	})
	response.Secret.TTL = wholeSeconds(r.Grant.ExpiresAt.Sub(now))
	response.Secret.MaxTTL = response.Secret.TTL
	response.Secret.Renewable = true
	response.Warnings = made.Notes
	return response
}

// handles are what a lease carries.
type handles struct {
	requestID, accessor, leaseID string
	expiresAt                    time.Time
}

func handlesOf(req *logical.Request) (handles, error) {
	var h handles
	if req.Secret == nil {
		return h, errors.New("the lease carries nothing")
	}
	text := func(key string) string {
		value, _ := req.Secret.InternalData[key].(string)
		return value
	}
	h = handles{requestID: text(leaseRequestID), accessor: text(leaseAccessor), leaseID: text(leaseLeaseID)}
	expiresAt, err := time.Parse(time.RFC3339Nano, text(leaseExpiresAt))
	if err != nil || h.requestID == "" || h.accessor == "" {
		return h, errors.New("the lease does not carry what it takes to handle it")
	}
	h.expiresAt = expiresAt
	return h, nil
}

// renewGrant lets the lease go on to the end of the window and not beyond. Vault lets a client's increment override the
// TTL given here; only the maximum limits it.
func (b *backend) renewGrant(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	h, err := handlesOf(req)
	if err != nil {
		return nil, err
	}
	r, err := b.store.Requests.Get(ctx, req.Storage, h.requestID)
	if err != nil {
		return nil, err
	}
	now := b.now()
	if r == nil || r.State(now) != approval.Active {
		return refused(fmt.Errorf("request %s has no active grant any more; ask again", h.requestID)), nil
	}
	longest := h.expiresAt.Sub(req.Secret.IssueTime).Truncate(time.Second)
	left := h.expiresAt.Sub(now).Truncate(time.Second)
	if longest < time.Second || left < time.Second {
		return refused(fmt.Errorf("the window of request %s ends now", h.requestID)), nil
	}
	secret := *req.Secret
	secret.TTL, secret.MaxTTL = left, longest
	return &logical.Response{Secret: &secret}, nil
}

// revokeGrant is called by Vault when the lease ends, for whatever cause. It works when role, policy and even the
// request's record are gone, and does nothing more once the end is confirmed.
func (b *backend) revokeGrant(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	h, err := handlesOf(req)
	if err != nil {
		return nil, err
	}
	defer b.store.Requests.Lock(h.requestID)()
	r, readErr := b.store.Requests.Get(ctx, req.Storage, h.requestID)
	if errors.Is(readErr, store.ErrUnreadable) {
		// The lease itself carries what it takes, and must not stay for the record's sake.
		b.Logger().Error("the record of a grant that ends cannot be read", "id", h.requestID, "problem", readErr)
		readErr = nil
	}
	if readErr == nil && r != nil && r.End != nil && r.End.Confirmed() {
		return nil, nil
	}
	ctx, cancel := outlasting(ctx)
	defer cancel()
	vault, err := b.issuerFor(ctx, req.Storage)
	if errors.Is(err, errNotConfigured) && readErr == nil && r == nil {
		return nil, nil // the configuration can be deleted only when no grant is left, and then its record may be tidied away
	}
	if err != nil {
		return nil, errors.Join(err, readErr)
	}
	endErr := vault.End(ctx, h.accessor, h.leaseID)
	if readErr != nil || r == nil || r.Grant == nil {
		return nil, errors.Join(endErr, readErr)
	}
	next, err := ended(*r, approval.BeginEnd{Reason: approval.LeaseRevoked}, endErr, b.now())
	if err == nil {
		err = b.store.Requests.Put(ctx, req.Storage, next, b.now())
	}
	return nil, errors.Join(endErr, err)
}

// ended notes the end of a grant and how far it got.
func ended(r approval.Request, begin approval.BeginEnd, problem error, now time.Time) (approval.Request, error) {
	var err error
	if r.End == nil {
		if r, err = approval.Apply(r, begin, now); err != nil {
			return r, err
		}
	}
	if problem != nil {
		return approval.Apply(r, approval.FailEnd{Problem: problem.Error()}, now)
	}
	return approval.Apply(r, approval.ConfirmEnd{}, now)
}
