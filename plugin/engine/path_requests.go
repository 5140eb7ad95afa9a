package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/ledger"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// maxPage is how many requests one list shows at most.
const maxPage = 1000

func (b *backend) pathRequests() []*framework.Path {
	return []*framework.Path{inQuery(b.accept(wire.QueryTable, &framework.Path{
		Pattern:         "requests/?",
		DisplayAttrs:    display("requests"),
		Operations:      operations{logical.ListOperation: b.reading(identified(listRequests), "List the requests that you may see.")},
		HelpSynopsis:    "The requests that you made, can decide on, or see as an auditor.",
		HelpDescription: "Newest first, the open ones unless state says otherwise. after and limit page through them.",
	})), b.accept(wire.NameRequestTable, &framework.Path{
		Pattern:      "requests/" + framework.MatchAllRegex("id"),
		DisplayAttrs: display("request"),
		Operations: operations{
			logical.ReadOperation: answering(wire.RequestTable, b.reading(identified(readRequest),
				"Read a request: what was asked, what a claim executes, who decided what, and what is missing.")),
		},
		HelpSynopsis: "One request: what was asked, exactly what a claim executes, who decided what and why it counts, and how the grant ended.",
		HelpDescription: `state comes from what is on record. decisions, rules and claimable are judged with today's membership while the request
waits, and as they were counted once it is over.`,
	})}
}

func (b *backend) pathInbox() []*framework.Path {
	return []*framework.Path{inQuery(b.accept(wire.PageTable, &framework.Path{
		Pattern:      "inbox/?",
		DisplayAttrs: display("inbox"),
		Operations: operations{
			logical.ListOperation: b.reading(identified(listInbox), "List the requests that wait for your decision."),
		},
		HelpSynopsis:    "The requests that you can decide on now and have not.",
		HelpDescription: "Newest first. vault list -detailed shows what each one would execute. A decision of yours that stands is in requests/ID.",
	}))}
}

func readRequest(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	r, err := c.ledger.Read(ctx, c.req.Storage, c.id(), who)
	if err != nil || r == nil {
		return nil, err // 404, for a hidden request as for an absent one
	}
	return c.show(ctx, *r, true)
}

func listRequests(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	query, err := readQuery(c)
	if err != nil {
		return nil, err
	}
	query.Role = c.text("role")
	words, _ := c.given["state"].([]string)
	query.States = readStates(words)
	page, err := c.ledger.List(ctx, c.req.Storage, who, query)
	if err != nil {
		return nil, err
	}
	return c.answerPage(page)
}

func listInbox(ctx context.Context, c *call, who people.Caller) (*logical.Response, error) {
	query, err := readQuery(c)
	if err != nil {
		return nil, err
	}
	page, err := c.ledger.Inbox(ctx, c.req.Storage, who, c.people.Entity, query)
	if err != nil {
		return nil, err
	}
	return c.answerPage(page)
}

func (c *call) answerPage(page ledger.Page) (*logical.Response, error) {
	now := c.now()
	keys, info := []string{}, map[string]any{}
	for _, r := range page.Requests {
		summary, err := viewSummary(r, now)
		if err != nil {
			return nil, err
		}
		keys = append(keys, r.ID)
		info[r.ID] = summary
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
	return response, nil
}

func readQuery(c *call) (ledger.Query, error) {
	limit, _ := wire.PageTable.Defaults()["limit"].(int64)
	if given, ok := c.given["limit"].(int64); ok {
		limit = given
	}
	q := ledger.Query{After: c.text("after"), Limit: int(limit)}
	if q.After != "" {
		if err := text.CheckRequestID(q.After); err != nil {
			return q, refusal.In("after", err)
		}
	}
	if q.Limit < 1 || q.Limit > maxPage {
		return q, refusal.New("limit", fmt.Sprintf("%d is not accepted", q.Limit), fmt.Sprintf("it must be 1 to %d", maxPage))
	}
	return q, nil
}

// readStates are the states that words of the table stand for.
func readStates(words []string) []approval.State {
	if len(words) == 0 {
		words = []string{"open"}
	}
	var states []approval.State
	for _, word := range words {
		switch word {
		case "all":
			states = append(states, approval.States()...)
		case "open":
			states = append(states, slices.DeleteFunc(approval.States(), func(s approval.State) bool { return !s.Open() })...)
		default:
			states = append(states, approval.State(word))
		}
	}
	return states
}
