package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

func (b *backend) pathRequest() []*framework.Path {
	// Two paths, because an optional capture would blank the role given in the body.
	var both []*framework.Path
	for pattern, suffix := range map[string]string{"request": "request", "request/" + framework.GenericNameRegex("role"): "request-for-role"} {
		both = append(both, &framework.Path{
			Pattern:      pattern,
			DisplayAttrs: display(suffix),
			Fields: map[string]*framework.FieldSchema{
				"role":       {Type: framework.TypeString, Description: "The role to ask for.", Required: true},
				"reason":     {Type: framework.TypeString, Description: "Why, for the approvers and the record."},
				"ttl":        {Type: framework.TypeDurationSecond, Description: "For how long, from the claim on. Default: the policy's default_ttl."},
				"parameters": {Type: framework.TypeKVPairs, Description: "The role's parameters: repeated name=value, or a JSON object."},
			},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: changing(b.ask, "Ask for a role. Returns the request's id."),
			},
			HelpSynopsis: "Ask for a role.",
			HelpDescription: `Makes a request and returns its id. It freezes the role's policy and exactly what a claim would execute.
Nothing is given out before a quorum of approvers agreed and the request is claimed; the window starts at the claim.`,
		})
	}
	return both
}

func (b *backend) ask(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	people := b.newLookup(req.Storage)
	who, problem, err := people.caller(ctx, req)
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	question, problem, err := b.question(ctx, req, d, people, who)
	if problem != nil || err != nil {
		return answer(problem, err)
	}
	id, err := store.NewID()
	if err != nil {
		return nil, err
	}
	now := b.now()
	r, err := approval.NewRequest(id, question, now)
	if err != nil {
		return refused(err), nil
	}
	limit := defaultMaxPending
	if config, err := b.store.Config.Get(ctx, req.Storage); err != nil {
		return nil, err
	} else if config != nil {
		limit = config.MaxPendingPerRequester
	}
	err = b.store.Requests.Create(ctx, req.Storage, r, limit, now)
	if errors.Is(err, store.ErrTooManyOpen) {
		return refused(fmt.Errorf("you have %d requests waiting, as many as this engine allows one person; cancel some or wait for their decision", limit)), nil
	}
	if err != nil {
		return nil, err
	}
	return b.describeLive(ctx, people, r, now)
}

// question gathers what a new request is made from.
func (b *backend) question(ctx context.Context, req *logical.Request, d *framework.FieldData, people *lookup, who caller) (q approval.Question, problem, fault error) {
	name := field[string](d, "role")
	if name == "" {
		return q, errors.New("role is empty; name the role to ask for"), nil
	}
	if err := store.CheckName(name); err != nil {
		return q, fmt.Errorf("role: %w", err), nil
	}
	role, err := b.store.Roles.Get(ctx, req.Storage, name)
	if err != nil {
		return q, nil, err
	}
	if role == nil {
		return q, fmt.Errorf("there is no role %q", name), nil
	}
	policy, err := b.store.Policies.Get(ctx, req.Storage, role.Policy)
	if err != nil {
		return q, nil, err
	}
	if policy == nil {
		return q, fmt.Errorf("role %q cannot be asked for: its policy %q does not exist", name, role.Policy), nil
	}
	var identityGroups []string
	if len(role.RequesterIdentityGroupIDs) > 0 {
		if identityGroups, err = people.identityGroups(who.EntityID); err != nil {
			return q, nil, err
		}
	}
	return approval.Question{
		Role:             *role,
		Policy:           *policy,
		Requester:        who.Standing,
		IdentityGroupIDs: identityGroups,
		Reason:           field[string](d, "reason"),
		TTL:              time.Duration(field[int](d, "ttl")) * time.Second,
		Parameters:       field[map[string]string](d, "parameters"),
		MaxWindow:        people.maxWindow(),
	}, nil, nil
}
