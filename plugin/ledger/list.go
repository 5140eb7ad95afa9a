package ledger

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// MaxScan bounds how many records one list reads.
const MaxScan = 2000

// Query is what a list of requests is restricted to. Lists are newest first.
type Query struct {
	States []approval.State
	Role   string // "" for any
	// After is the id after which the page begins: what comes is older. Limit is how many it shows.
	After string
	Limit int
}

// Page is a part of a list.
type Page struct {
	Requests []approval.Request
	// Next is the id after which there may be more; empty if there is not. Stopped says that the search stopped there
	// because it had read enough records, or for long enough.
	Next    string
	Stopped bool
	// Unreadable is how many requests are left out because their records cannot be read.
	Unreadable int
}

// List lists the requests that the caller may see. Of open ones it reads only those that it shows.
func (l *Ledger) List(ctx context.Context, s logical.Storage, who people.Caller, q Query) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, grace) // after a start the index may take longer to be read
	defer cancel()
	standing, err := who.Everywhere(ctx)
	if err != nil {
		return Page{}, err
	}
	now := l.now()
	open, err := l.requests.List(ctx, s, q.After, q.Limit+1, func(listing approval.Listing) bool {
		return (q.Role == "" || listing.Role == q.Role) && listing.Concerns(standing, who.Auditor) && slices.Contains(q.States, listing.State(now))
	})
	if err != nil {
		return Page{}, err
	}
	p := &pager{ledger: l, query: q, show: func(r approval.Request) (bool, error) {
		return (q.Role == "" || r.Ask.Role == q.Role) && slices.Contains(q.States, r.State(now)) && r.MaySee(standing, who.Auditor), nil
	}}
	if !slices.ContainsFunc(q.States, func(state approval.State) bool { return !state.Open() }) {
		return p.fill(ctx, s, open)
	}
	seesOthers := who.Auditor || len(standing.Groups) > 0
	err = l.requests.Ended(ctx, s, q.After, func(id string) (bool, error) {
		for len(open) > 0 && open[0].ID >= id {
			first := open[0]
			open = open[1:]
			if goOn, err := p.add(ctx, s, first.ID); !goOn || err != nil {
				return false, err
			}
			if first.ID == id {
				return true, nil
			}
		}
		if !seesOthers {
			if own, err := l.requests.MayBeOf(ctx, s, id, who.EntityID); !own || err != nil {
				return err == nil, err
			}
		}
		return p.add(ctx, s, id)
	})
	if err != nil {
		return Page{}, err
	}
	return p.fill(ctx, s, open)
}

// Inbox lists the requests that the caller can decide on now and has not.
func (l *Ledger) Inbox(ctx context.Context, s logical.Storage, who people.Caller, entity func(id string) (approval.Standing, error), q Query) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, grace) // after a start the index may take longer to be read
	defer cancel()
	standing, err := who.Everywhere(ctx)
	if err != nil {
		return Page{}, err
	}
	now := l.now()
	open, err := l.requests.List(ctx, s, q.After, 0, func(listing approval.Listing) bool { return listing.Awaits(standing, now) })
	if err != nil {
		return Page{}, err
	}
	p := &pager{ledger: l, query: q, show: func(r approval.Request) (bool, error) {
		requester, err := entity(r.Ask.Requester.EntityID)
		return err == nil && r.Decidable(standing, requester, now), err
	}}
	return p.fill(ctx, s, open)
}

// pager fills a page with the requests of given ids.
type pager struct {
	ledger *Ledger
	query  Query
	show   func(approval.Request) (bool, error)
	page   Page
	looked int
	last   string // the id that was looked at
}

// stop ends the page: more may come after the id.
func (p *pager) stop(after string, early bool) (goOn bool, err error) {
	p.page.Next, p.page.Stopped = after, early
	return false, nil
}

func (p *pager) fill(ctx context.Context, s logical.Storage, entries []store.Entry) (Page, error) {
	for _, entry := range entries {
		if goOn, err := p.add(ctx, s, entry.ID); !goOn || err != nil {
			return p.page, err
		}
	}
	return p.page, nil
}

// add reads one request into the page, if it belongs there. It goes on until the page is full.
func (p *pager) add(ctx context.Context, s logical.Storage, id string) (goOn bool, err error) {
	shown := len(p.page.Requests)
	switch {
	case p.page.Next != "":
		return false, nil
	case shown == p.query.Limit:
		return p.stop(p.page.Requests[shown-1].ID, false)
	case p.last != "" && (p.looked == MaxScan || ctx.Err() != nil):
		return p.stop(p.last, true)
	}
	r, err := p.ledger.requests.Load(ctx, s, id)
	if err != nil && ctx.Err() != nil && p.last != "" {
		return p.stop(p.last, true) // the time is up
	}
	p.looked++
	p.last = id
	if errors.Is(err, store.ErrUnreadable) {
		p.ledger.logger.Error("a request that belongs in a list cannot be read", "id", id, "problem", err)
		p.page.Unreadable++
		return true, nil
	}
	if err != nil || r == nil {
		return err == nil, err
	}
	belongs, err := p.show(*r)
	if belongs {
		p.page.Requests = append(p.page.Requests, *r)
	}
	return err == nil, err
}
