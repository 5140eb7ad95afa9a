package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/ledger"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
)

// defaultPage and maxPage are how many requests one list shows.
const (
	defaultPage = 100
	maxPage     = 1000
)

func pageFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"after": {Type: framework.TypeString, Query: true, Description: "List only what comes after this id: requests that are older."},
		"limit": {Type: framework.TypeInt, Query: true, Description: "List at most so many, 1 to 1000. Default: 100."},
	}
}

func (b *backend) pathRequests() []*framework.Path {
	fields := pageFields()
	fields["state"] = &framework.FieldSchema{Type: framework.TypeCommaStringSlice, Query: true,
		Description: "List only requests in these states: " + joinStates() + ", open or all. Default: open."}
	fields["role"] = &framework.FieldSchema{Type: framework.TypeString, Query: true, Description: "List only requests for this role."}
	return []*framework.Path{{
		Pattern:         "requests/?",
		DisplayAttrs:    display("requests"),
		Fields:          fields,
		Operations:      operations{logical.ListOperation: b.reading(identified(listRequests), "List the requests that you may see.")},
		HelpSynopsis:    "The requests that you made, can decide on, or see as an auditor.",
		HelpDescription: "Newest first, the open ones unless state says otherwise. after and limit page through them.",
	}, {
		Pattern:      "requests/" + framework.MatchAllRegex("id"),
		DisplayAttrs: display("request"),
		Fields:       map[string]*framework.FieldSchema{"id": idField()},
		Operations: operations{
			logical.ReadOperation: b.reading(identified(readRequest), "Read a request: what was asked, what a claim executes, who decided what, and what is missing."),
		},
		HelpSynopsis: "One request: what was asked, exactly what a claim executes, who decided what and why it counts, and how the grant ended.",
		HelpDescription: `state comes from what is on record. decisions, rules and claimable are judged with today's membership while the request
waits, and as they were counted once it is over.`,
	}}
}

func (b *backend) pathInbox() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "inbox/?",
		DisplayAttrs: display("inbox"),
		Fields:       pageFields(),
		Operations: operations{
			logical.ListOperation: b.reading(identified(listInbox), "List the requests that wait for your decision."),
		},
		HelpSynopsis:    "The requests that you can decide on now and have not.",
		HelpDescription: "Newest first. vault list -detailed shows what each one would execute. A decision of yours that stands is in requests/ID.",
	}}
}

func readRequest(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	r, err := c.ledger.Read(ctx, c.req.Storage, field[string](c.fields, "id"), who)
	if err != nil || r == nil {
		return nil, err // 404, for a hidden request as for an absent one
	}
	return c.show(ctx, *r, true)
}

func listRequests(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	query, err := readQuery(c.fields)
	if err != nil {
		return nil, err
	}
	query.Role = field[string](c.fields, "role")
	if query.States, err = readStates(field[[]string](c.fields, "state")); err != nil {
		return nil, err
	}
	page, err := c.ledger.List(ctx, c.req.Storage, who, query)
	return c.answerPage(page), err
}

func listInbox(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	query, err := readQuery(c.fields)
	if err != nil {
		return nil, err
	}
	page, err := c.ledger.Inbox(ctx, c.req.Storage, who, c.people.Entity, query)
	return c.answerPage(page), err
}

func (c *call) answerPage(page ledger.Page) *logical.Response {
	now := c.now()
	keys, info := []string{}, map[string]any{}
	for _, r := range page.Requests {
		keys = append(keys, r.ID)
		info[r.ID] = viewSummary(r, now)
	}
	response := logical.ListResponseWithInfo(keys, info)
	if page.Unreadable > 0 {
		response.AddWarning(fmt.Sprintf("%d requests are left out because they cannot be read; Vault's log says why", page.Unreadable))
	}
	if page.Next != "" {
		response.Data["next"] = page.Next
		why := "there may be more"
		if page.Stopped {
			why = fmt.Sprintf("the search stopped after it had looked at %d requests", ledger.MaxScan)
		}
		response.AddWarning(fmt.Sprintf("%s; list again with after=%s", why, page.Next))
	}
	return response
}

func readQuery(d *framework.FieldData) (ledger.Query, error) {
	q := ledger.Query{After: field[string](d, "after"), Limit: defaultPage}
	if q.After != "" {
		if err := text.CheckRequestID(q.After); err != nil {
			return q, refusal.In("after", err)
		}
	}
	fill(d, "limit", &q.Limit)
	if q.Limit < 1 || q.Limit > maxPage {
		return q, refusal.Newf("limit", "%d is not accepted; it must be 1 to %d", q.Limit, maxPage)
	}
	return q, nil
}

func readStates(words []string) ([]approval.State, error) {
	if len(words) == 0 {
		return listOpenStates(), nil
	}
	var states []approval.State
	for _, word := range words {
		switch state := approval.State(word); {
		case word == "all":
			states = approval.States()
		case word == "open":
			states = append(states, listOpenStates()...)
		case slices.Contains(approval.States(), state):
			states = append(states, state)
		default:
			return nil, refusal.Newf("state", "%q is not a state; accepted are %s, open and all", word, joinStates())
		}
	}
	return states, nil
}

func listOpenStates() []approval.State {
	return slices.DeleteFunc(approval.States(), func(s approval.State) bool { return !s.Open() })
}

func joinStates() string {
	var names []string
	for _, state := range approval.States() {
		names = append(names, string(state))
	}
	return strings.Join(names, ", ")
}
