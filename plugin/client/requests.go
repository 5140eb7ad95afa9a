package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Ask makes a request, in the name of the token's entity. A TTL of zero asks for the policy's default.
func (c *Client) Ask(ctx context.Context, ask wire.Ask) (wire.Request, error) {
	fields, err := wire.EncodeWhole(wire.AskTable, ask)
	if err != nil {
		return wire.Request{}, err
	}
	if ask.TTL == 0 {
		delete(fields, "ttl")
	}
	return c.AskWith(ctx, fields)
}

// AskWith makes a request with the given fields.
func (c *Client) AskWith(ctx context.Context, fields map[string]any) (wire.Request, error) {
	return decode[wire.Request](c.write(ctx, "request", fields))
}

// Request reads a request; [ErrAbsent] if there is none that the caller may see.
func (c *Client) Request(ctx context.Context, id string) (wire.Request, error) {
	request, err := decode[wire.Request](c.read(ctx, "requests/"+id, nil))
	if errors.Is(err, ErrAbsent) {
		err = fmt.Errorf("request %s: %w that this token may see", id, err)
	}
	return request, err
}

// Approve approves a request. The comment may be empty.
func (c *Client) Approve(ctx context.Context, id, comment string) (wire.Request, error) {
	return c.decide(ctx, "approve", id, comment)
}

// Deny denies a request. The comment may be empty.
func (c *Client) Deny(ctx context.Context, id, comment string) (wire.Request, error) {
	return c.decide(ctx, "deny", id, comment)
}

// Withdraw takes the caller's own decision back.
func (c *Client) Withdraw(ctx context.Context, id string) (wire.Request, error) {
	return c.decide(ctx, "withdraw", id, "")
}

// Cancel cancels the caller's own request before it is claimed.
func (c *Client) Cancel(ctx context.Context, id string) (wire.Request, error) {
	return c.decide(ctx, "cancel", id, "")
}

func (c *Client) decide(ctx context.Context, verb, id, comment string) (wire.Request, error) {
	fields := map[string]any{"id": id}
	if comment != "" {
		fields["comment"] = comment
	}
	return decode[wire.Request](c.write(ctx, verb, fields))
}

// A Credential is what a claim gave.
type Credential struct {
	// Data is what upstream gave, under the names it gave it. It is secret.
	Data map[string]any
	// LeaseID is Vault's lease of the grant.
	LeaseID string
	// LeaseDuration is how long the grant lives at most.
	LeaseDuration time.Duration
	// Renewable is whether the lease can be renewed, within the window.
	Renewable bool
	// Warnings are the engine's.
	Warnings []string
}

// Claim turns the caller's approved request into a credential. A request is granted once.
func (c *Client) Claim(ctx context.Context, id string) (Credential, error) {
	secret, err := c.write(ctx, "claim/"+id, nil)
	if err != nil {
		return Credential{}, err
	}
	return Credential{
		Data: secret.Data, LeaseID: secret.LeaseID, LeaseDuration: time.Duration(secret.LeaseDuration) * time.Second,
		Renewable: secret.Renewable, Warnings: secret.Warnings,
	}, nil
}

// Renew extends the lease of a grant by so much at most, and never past its window.
func (c *Client) Renew(ctx context.Context, leaseID string, increment time.Duration) error {
	_, err := c.call(ctx, c.writing, "PUT", "sys/leases/renew", nil, map[string]any{
		"lease_id": leaseID, "increment": int64(wire.ToSeconds(increment)),
	})
	return err
}

// Revoke ends a live grant. Warnings say what of it is not confirmed.
func (c *Client) Revoke(ctx context.Context, id string) (revoked wire.Revoked, warnings []string, err error) {
	secret, err := c.write(ctx, "revoke", map[string]any{"id": id})
	if err != nil {
		return revoked, nil, err
	}
	revoked, err = decode[wire.Revoked](secret, nil)
	return revoked, secret.Warnings, err
}

// A Listed is one entry of a list of requests.
type Listed struct {
	ID string
	wire.Summary
}

// A Page is part of a list of requests, newest first.
type Page struct {
	Requests []Listed
	// Next is the After of the page after this one; empty on the last.
	Next string
	// Warnings are the engine's.
	Warnings []string
}

// Requests lists requests that the caller may see. The zero Query asks for the first hundred open ones.
func (c *Client) Requests(ctx context.Context, query wire.Query) (Page, error) {
	values := pageValues(query.Page)
	if len(query.State) > 0 {
		values["state"] = query.State
	}
	if query.Role != "" {
		values.Set("role", query.Role)
	}
	return readPage(c.list(ctx, "requests", values))
}

// Inbox lists the requests that wait for the caller's decision.
func (c *Client) Inbox(ctx context.Context, page wire.Page) (Page, error) {
	return readPage(c.list(ctx, "inbox", pageValues(page)))
}

// AllRequests goes through all pages of a list.
func (c *Client) AllRequests(ctx context.Context, query wire.Query) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		for {
			page, err := c.Requests(ctx, query)
			if err != nil {
				yield(Listed{}, err)
				return
			}
			for _, request := range page.Requests {
				if !yield(request, nil) {
					return
				}
			}
			if query.After = page.Next; page.Next == "" {
				return
			}
		}
	}
}

func pageValues(page wire.Page) url.Values {
	values := url.Values{}
	if page.After != "" {
		values.Set("after", page.After)
	}
	if page.Limit != 0 {
		values.Set("limit", strconv.Itoa(page.Limit))
	}
	return values
}

func readPage(secret *api.Secret, err error) (Page, error) {
	if err != nil {
		return Page{}, orEmpty(err)
	}
	listed, err := decode[struct {
		Keys []string                `json:"keys"`
		Info map[string]wire.Summary `json:"key_info"`
		Next string                  `json:"next"`
	}](secret, nil)
	page := Page{Next: listed.Next, Warnings: secret.Warnings}
	for _, id := range listed.Keys {
		page.Requests = append(page.Requests, Listed{ID: id, Summary: listed.Info[id]})
	}
	return page, err
}

// orEmpty forgives a list that has nothing in it: Vault answers 404.
func orEmpty(err error) error {
	if errors.Is(err, ErrAbsent) {
		return nil
	}
	return err
}

// Between two looks at a request that waits for people.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 10 * time.Second
)

// Wait waits until the request can be claimed, or is claimed or over, or the context ends, and returns the request as
// it was seen last. It looks again while Vault is not available. The function look, if it is not nil, is told of every
// look at the request, to show how far it is.
func (c *Client) Wait(ctx context.Context, id string, look func(wire.Request, error)) (wire.Request, error) {
	var last wire.Request
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		request, err := c.Request(ctx, id)
		if look != nil {
			look(request, err)
		}
		var unavailable *UnavailableError
		switch {
		case err == nil:
			last = request
			if request.Claimable || request.IsOver() || request.IsActive() {
				return request, nil
			}
		case !errors.As(err, &unavailable):
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-time.After(pause):
		}
	}
}
