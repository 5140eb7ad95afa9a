package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// defaultPage and maxPage are how many requests one list shows.
const (
	defaultPage = 100
	maxPage     = 1000
	// maxScan bounds how many records one list reads in search of those that the caller may see.
	maxScan = 2000
)

func pageFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"after": {Type: framework.TypeString, Query: true, Description: "List only what comes after this id."},
		"limit": {Type: framework.TypeInt, Query: true, Description: "List at most so many, 1 to 1000. Default: 100."},
	}
}

func (b *backend) pathRequests() []*framework.Path {
	fields := pageFields()
	fields["state"] = &framework.FieldSchema{Type: framework.TypeCommaStringSlice, Query: true,
		Description: "List only requests in these states: " + stateNames() + ", open or all. Default: open."}
	fields["role"] = &framework.FieldSchema{Type: framework.TypeString, Query: true, Description: "List only requests for this role."}
	return []*framework.Path{{
		Pattern:      "requests/?",
		DisplayAttrs: display("requests"),
		Fields:       fields,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: reading(b.listRequests, "List the requests that you may see."),
		},
		HelpSynopsis:    "The requests that you made, can decide on, or see as an auditor.",
		HelpDescription: "Oldest first, the open ones unless state says otherwise. after and limit page through them.",
	}, {
		Pattern:      "requests/" + framework.MatchAllRegex("id"),
		DisplayAttrs: display("request"),
		Fields: map[string]*framework.FieldSchema{
			"id": {Type: framework.TypeString, Description: "The request's id.", Required: true},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: reading(b.readRequest, "Read a request: what was asked, what a claim executes, who decided what, and what is missing."),
		},
		HelpSynopsis: "One request: what was asked, exactly what a claim executes, who decided what and why it counts, and how the grant ended.",
		HelpDescription: `state comes from what is on record. decisions, rules and claimable are judged with today's membership while the request
waits, and as they were counted once it is over.`,
	}}
}

func stateNames() string {
	var names []string
	for _, state := range approval.States() {
		names = append(names, string(state))
	}
	return strings.Join(names, ", ")
}

func (b *backend) readRequest(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	people := b.newLookup(req.Storage)
	who, problem, err := people.caller(ctx, req)
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	id := field[string](d, "id")
	if err := approval.CheckID(id); err != nil {
		return refused(fmt.Errorf("id: %w", err)), nil
	}
	r, _, err := b.visible(ctx, req, people, who, id)
	if err != nil || r == nil {
		return nil, err // 404, for a hidden request as for an absent one
	}
	now := b.now()
	if !waiting(r.State(now)) {
		return b.describeLive(ctx, people, *r, now)
	}
	facts, err := people.claimFacts(ctx, *r)
	if err != nil {
		return nil, err
	}
	if facts.Census, err = people.census(ctx, r.Ask.Policy.Groups()); err != nil {
		return nil, err
	}
	return &logical.Response{Data: describe(*r, r.Claimable(facts, now), r.CanStillApprove(r.Ask.Policy, facts.Census), now)}, nil
}

// filter is what a list of requests is restricted to.
type filter struct {
	states []approval.State
	role   string
}

func (f filter) matches(r approval.Request, now time.Time) bool {
	return (f.role == "" || r.Ask.Role == f.role) && slices.Contains(f.states, r.State(now))
}

// beyondOpen reports whether the filter asks for requests that may have been filed away.
func (f filter) beyondOpen() bool {
	return slices.ContainsFunc(f.states, func(s approval.State) bool { return !s.Open() })
}

func filterOf(d *framework.FieldData) (filter, error) {
	f := filter{role: field[string](d, "role")}
	words := field[[]string](d, "state")
	for _, word := range words {
		switch state := approval.State(word); {
		case word == "all":
			f.states = approval.States()
		case word == "open":
			f.states = append(f.states, openStates()...)
		case slices.Contains(approval.States(), state):
			f.states = append(f.states, state)
		default:
			return f, fmt.Errorf("state: %q is not a state; accepted are %s, open and all", word, stateNames())
		}
	}
	if len(words) == 0 {
		f.states = openStates()
	}
	return f, nil
}

func openStates() []approval.State {
	return slices.DeleteFunc(approval.States(), func(s approval.State) bool { return !s.Open() })
}

func (b *backend) listRequests(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	people := b.newLookup(req.Storage)
	who, problem, err := people.caller(ctx, req)
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	page, pageProblem := pageOf(d)
	wanted, filterProblem := filterOf(d)
	if err := errors.Join(pageProblem, filterProblem); err != nil {
		return refused(err), nil
	}
	standing, err := people.standingEverywhere(ctx, who.EntityID)
	if err != nil {
		return nil, err
	}
	now := b.now()
	ids, err := b.candidates(ctx, req.Storage, who, standing.Groups, wanted)
	if err != nil {
		return nil, err
	}
	return b.listing(ids, page, func(id string) (map[string]any, error) {
		r, err := b.store.Requests.Get(ctx, req.Storage, id)
		if err != nil || r == nil || !wanted.matches(*r, now) || !r.MaySee(standing, who.auditor) {
			return nil, err
		}
		return summary(*r, r.State(now)), nil
	})
}

// candidates lists, in order, the ids among which the requests are that the caller may see and that the filter wants.
// Ended requests are looked for only if they are asked for.
func (b *backend) candidates(ctx context.Context, s logical.Storage, who caller, groups []string, wanted filter) ([]string, error) {
	open, err := b.store.Requests.Open(ctx, s, func(sum store.Summary) bool {
		return !sum.Unreadable && (wanted.role == "" || sum.Role == wanted.role) &&
			(who.auditor || sum.RequesterID == who.EntityID ||
				slices.ContainsFunc(sum.Groups, func(g string) bool { return slices.Contains(groups, g) }))
	})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, sum := range open {
		ids = append(ids, sum.ID)
	}
	if wanted.beyondOpen() {
		filed, err := b.filed(ctx, s, who, len(groups) > 0)
		if err != nil {
			return nil, err
		}
		ids = append(ids, filed...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// filed lists ids of requests that have been filed away: all of them for somebody who may see others', their own otherwise.
func (b *backend) filed(ctx context.Context, s logical.Storage, who caller, approver bool) ([]string, error) {
	if !who.auditor && !approver {
		return b.store.Requests.EndedOf(ctx, s, who.EntityID)
	}
	months, err := b.store.Requests.EndedMonths(ctx, s)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, month := range months {
		of, err := b.store.Requests.EndedIn(ctx, s, month)
		if err != nil {
			return nil, err
		}
		ids = append(ids, of...)
	}
	return ids, nil
}

// page is the part of a list that is asked for.
type page struct {
	after string
	limit int
}

func pageOf(d *framework.FieldData) (page, error) {
	p := page{after: field[string](d, "after"), limit: defaultPage}
	if p.after != "" {
		if err := approval.CheckID(p.after); err != nil {
			return p, fmt.Errorf("after: %w", err)
		}
	}
	given(d, "limit", &p.limit)
	if p.limit < 1 || p.limit > maxPage {
		return p, fmt.Errorf("limit: %d is not accepted; it must be 1 to %d", p.limit, maxPage)
	}
	return p, nil
}

// listing answers with one page of the given ids, which are in order. show returns what a detailed list shows of one,
// or nil for one that does not belong in the list.
func (b *backend) listing(ids []string, p page, show func(id string) (map[string]any, error)) (*logical.Response, error) {
	keys, info, unreadable := []string{}, map[string]any{}, 0
	next, why, last, looked := "", "", p.after, 0
	for _, id := range ids {
		if id <= p.after {
			continue
		}
		if len(keys) == p.limit {
			next, why = keys[len(keys)-1], "there may be more"
			break
		}
		if looked == maxScan {
			next, why = last, fmt.Sprintf("the search stopped after %d records", maxScan)
			break
		}
		last = id
		looked++
		shown, err := show(id)
		if errors.Is(err, store.ErrUnreadable) {
			b.Logger().Error("a request that belongs in a list cannot be read", "id", id, "problem", err)
			unreadable++
			continue
		}
		if err != nil {
			return nil, err
		}
		if shown != nil {
			keys = append(keys, id)
			info[id] = shown
		}
	}
	response := logical.ListResponseWithInfo(keys, info)
	if unreadable > 0 {
		response.AddWarning(fmt.Sprintf("%d requests are left out because their records cannot be read; Vault's log says why", unreadable))
	}
	if next != "" {
		response.Data["next"] = next
		response.AddWarning(fmt.Sprintf("%s; list again with after=%s", why, next))
	}
	return response, nil
}

// summary is what a detailed list shows of a request: enough to decide whether to read it.
func summary(r approval.Request, state approval.State) map[string]any {
	return map[string]any{
		"role":                 r.Ask.Role,
		"state":                string(state),
		"requester":            r.Ask.Requester.Name,
		"reason":               r.Ask.Reason,
		"ttl":                  seconds(r.Ask.TTL),
		"created_at":           timestamp(r.Ask.At),
		"expires_at":           timestamp(r.Deadline()),
		"operation":            string(r.Ask.Grant.Operation),
		"path":                 r.Ask.Grant.Path,
		"data":                 orEmpty(r.Ask.Grant.Data),
		"grant_policies":       r.Ask.Grant.GrantPolicies,
		"parameters":           orEmpty(r.Ask.Parameters),
		"cannot_be_taken_back": r.Ask.Grant.AllowUnleased,
		"digest":               r.Digest,
	}
}
