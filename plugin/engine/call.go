package engine

import (
	"context"
	"net/http"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// call is one call of the engine, and what was asked of Vault's identity store for it.
type call struct {
	*backend
	req *logical.Request
	// given are the fields of the path and the body, decoded by the path's table.
	given  map[string]any
	people *people.Lookup
}

// text is a string field; "" if it was not given.
func (c *call) text(field string) string {
	word, _ := c.given[field].(string)
	return word
}

// handler answers a call. What the user did wrong is a refusal; every other error is a fault of the system.
type handler func(ctx context.Context, c *call) (*logical.Response, error)

// handle is the one adapter between the framework and the handlers.
func (b *backend) handle(h handler) framework.OperationFunc {
	return func(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
		if err := checkGivenOnce(req, d); err != nil {
			return respond(nil, err)
		}
		return respond(h(ctx, &call{backend: b, req: req, given: d.Raw, people: b.source.Lookup(req.Storage)}))
	}
}

// respond turns a refusal into status 400: the sentence in errors, and in data what the refusal consists of. It is the
// one place that does. Where the error says more than the refusal, such as which object it is about, the sentence does.
func respond(response *logical.Response, err error) (*logical.Response, error) {
	refused := refusal.Of(err)
	if refused == nil {
		return response, err
	}
	parts := map[string]any{"field": refused.Field, "problem": refused.Problem, "advice": refused.Advice}
	return logical.ErrorResponseWithData(parts, err.Error()), nil
}

type operations = map[logical.Operation]framework.OperationHandler

// action is a path that is a verb, and does that when it is written to.
func (b *backend) action(verb, suffix string, takes wire.Table, h handler, gives wire.Table, synopsis, help string) *framework.Path {
	return b.accept(takes, &framework.Path{
		Pattern:         verb,
		DisplayAttrs:    &framework.DisplayAttributes{OperationPrefix: "jit", OperationVerb: verb, OperationSuffix: suffix},
		Operations:      operations{logical.UpdateOperation: answering(gives, b.writing(h, synopsis))},
		HelpSynopsis:    synopsis,
		HelpDescription: help,
	})
}

// answering has an operation describe what it answers.
func answering(gives wire.Table, operation *framework.PathOperation) *framework.PathOperation {
	operation.Responses = map[int][]framework.Response{
		http.StatusOK: {{Description: "OK", Fields: describeFields(gives.Answered())}},
	}
	return operation
}

// writing is an operation that changes something: it runs on the active node of the primary cluster only, so that no
// side effect happens twice.
func (b *backend) writing(h handler, summary string) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: b.handle(func(ctx context.Context, c *call) (*logical.Response, error) {
			if !b.WriteSafeReplicationState() {
				return nil, logical.ErrReadOnly
			}
			return h(ctx, c)
		}),
		Summary:                     summary,
		ForwardPerformanceStandby:   true,
		ForwardPerformanceSecondary: true,
	}
}

// reading is an operation that any node answers.
func (b *backend) reading(h handler, summary string) *framework.PathOperation {
	return &framework.PathOperation{Callback: b.handle(h), Summary: summary}
}

// readingOnActive is a read of what only the active node knows.
func (b *backend) readingOnActive(h handler, summary string) *framework.PathOperation {
	return &framework.PathOperation{Callback: b.handle(h), Summary: summary, ForwardPerformanceStandby: true}
}

// identified is a handler that has to know who calls. It refuses somebody who can do nothing.
func identified(h func(ctx context.Context, c *call, who people.Caller) (*logical.Response, error)) handler {
	return func(ctx context.Context, c *call) (*logical.Response, error) {
		config, err := c.configuration(ctx, c.req.Storage)
		if err != nil {
			return nil, err
		}
		who, err := c.people.Caller(c.req.EntityID, config.AuditorGroupIDs)
		if err != nil {
			return nil, err
		}
		return h(ctx, c, who)
	}
}

// alone is a handler that changes the configuration. A second change at the same time is refused, because waiting would
// mean waiting for Vault.
func alone(h handler) handler {
	return func(ctx context.Context, c *call) (*logical.Response, error) {
		if !c.configuring.TryLock() {
			return nil, refusal.New("", "another change of the configuration is under way", "try again")
		}
		defer c.configuring.Unlock()
		return h(ctx, c)
	}
}

// show answers with a request as it stands now: who counts today, and whether it can be claimed. With the census, also
// who could still approve.
func (c *call) show(ctx context.Context, r approval.Request, withCensus bool) (*logical.Response, error) {
	now := c.now()
	var world approval.World
	if r.State(now).Undecided() {
		var err error
		if world, err = c.people.World(ctx, r); err != nil {
			return nil, err
		}
		if withCensus {
			if world.Census, err = c.people.Census(ctx, r.Ask.Policy.Groups()); err != nil {
				return nil, err
			}
		}
	}
	verdict := approval.Judge(r, world, now)
	if !withCensus {
		verdict.Candidates = nil
	}
	view, err := viewRequest(r, verdict, now)
	if err != nil {
		return nil, err
	}
	return answer(view)
}

// answer is the answer with the fields of a type of package wire.
func answer(view any) (*logical.Response, error) {
	values, err := wire.Encode(view)
	return &logical.Response{Data: values}, err
}
