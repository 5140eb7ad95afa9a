package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// Order is one grant to be made.
type Order struct {
	RequestID string
	Role      string
	Requester approval.Person
	Grant     approval.Rendered
	// Window is the approved time, in whole seconds.
	Window time.Duration
}

// GrantToken is the token that everything of one grant is made with. It never leaves the plugin.
type GrantToken struct {
	Accessor string
	secret   string
}

// Made is what a grant consists of.
type Made struct {
	// Data is exactly what upstream answered.
	Data map[string]any
	// LeaseID is upstream's lease; empty if it gave none and the role allows that.
	LeaseID string
	// Lasts is for how long from now upstream gave it: the order's window, or less.
	Lasts time.Duration
	// Notes are for the one who claimed.
	Notes []string
}

// RefusedError is an answer of Vault's that must not become a grant. What it came with has been revoked, unless Left says otherwise.
type RefusedError struct {
	Why string
	// Left is the accessor of a token that could not be revoked; empty if nothing is left.
	Left string
}

func (r *RefusedError) Error() string {
	if r.Left != "" {
		return r.Why + "; the token made for it could not be revoked yet"
	}
	return r.Why
}

// NewToken creates the grant token through the token role, and accepts it only if it is exactly what was asked for.
func (i *Issuer) NewToken(ctx context.Context, order Order) (GrantToken, error) {
	seconds := fmt.Sprintf("%ds", int64(order.Window/time.Second))
	wanted, err := json.Marshal(map[string]any{
		"policies":          order.Grant.GrantPolicies,
		"no_default_policy": true,
		"ttl":               seconds,
		"explicit_max_ttl":  seconds,
		"renewable":         false,
		"type":              "service",
		"display_name":      "jit-" + order.Requester.Name,
		"meta": map[string]string{
			"jit_request":             order.RequestID,
			"jit_role":                order.Role,
			"jit_requester":           order.Requester.Name,
			"jit_requester_entity_id": order.Requester.EntityID,
		},
	})
	if err != nil {
		return GrantToken{}, fmt.Errorf("encoding the order of a grant token: %w", err)
	}
	var answer tokenAnswer
	err = i.as(ctx, func(client *api.Client) error {
		response, err := client.Logical().WriteRawWithContext(ctx, "auth/token/create/"+i.connection.TokenRole, wanted)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }() // it has been read, so there is nothing left to fail
		return response.DecodeJSON(&answer)
	})
	if err != nil {
		return GrantToken{}, fmt.Errorf("creating the grant token through token role %q: %w", i.connection.TokenRole, told(err))
	}
	if answer.Auth == nil {
		return GrantToken{}, fmt.Errorf("creating the grant token through token role %q: Vault answered without a token", i.connection.TokenRole)
	}
	if why := objection(answer, order); why != "" {
		refused := &RefusedError{Why: fmt.Sprintf("token role %q gave %s", i.connection.TokenRole, why)}
		if answer.Auth.Accessor != "" && i.RevokeToken(ctx, answer.Auth.Accessor) != nil {
			refused.Left = answer.Auth.Accessor
		}
		return GrantToken{}, refused
	}
	return GrantToken{Accessor: answer.Auth.Accessor, secret: answer.Auth.ClientToken}, nil
}

// tokenAnswer is Vault's answer to the creation of a token; vault/api's own type leaves out two fields that matter here.
type tokenAnswer struct {
	Auth *struct {
		api.SecretAuth
		TokenType string `json:"token_type"`
		NumUses   int    `json:"num_uses"`
	} `json:"auth"`
	Warnings []string `json:"warnings"`
}

// objection says in what a token differs from what was asked for; "" if in nothing.
// Vault answers some differences with a mere warning: a ttl that it cut, a policy that does not exist.
func objection(answer tokenAnswer, order Order) string {
	auth := answer.Auth
	got, asked := slices.Sorted(slices.Values(auth.Policies)), slices.Sorted(slices.Values(order.Grant.GrantPolicies))
	switch lasts := time.Duration(auth.LeaseDuration) * time.Second; {
	case auth.Accessor == "" || auth.TokenType != "service":
		return fmt.Sprintf("a %s token; a grant needs a service token, to which leases can be attached", auth.TokenType)
	case !slices.Equal(got, asked) || len(auth.IdentityPolicies) > 0:
		return fmt.Sprintf("a token with the policies %s instead of %s",
			strings.Join(append(got, auth.IdentityPolicies...), ", "), strings.Join(asked, ", "))
	case !auth.Orphan:
		return "a token that is not an orphan; set orphan=true on the token role"
	case auth.EntityID != "":
		return "a token with an entity, which would have the entity's policies too"
	case lasts != order.Window:
		return fmt.Sprintf("a token for %s instead of %s; ask for less, or raise the limit of the token role or of the token auth mount", lasts, order.Window)
	case auth.Renewable:
		return "a token that can be renewed"
	case auth.NumUses != 0:
		return fmt.Sprintf("a token for %d uses; set token_num_uses=0 on the token role", auth.NumUses)
	}
	for _, warning := range answer.Warnings {
		if strings.Contains(warning, "does not exist") {
			return "a token for a policy that does not exist: " + warning
		}
	}
	return ""
}

// Fetch makes what the grant consists of, with the grant token. After an error the caller revokes that token.
func (i *Issuer) Fetch(ctx context.Context, token GrantToken, order Order) (Made, error) {
	client := i.client(token.secret)
	var answer *api.Secret
	var err error
	switch order.Grant.Operation {
	case approval.Read:
		answer, err = client.Logical().ReadWithContext(ctx, order.Grant.Path)
	case approval.Write:
		answer, err = client.Logical().WriteWithContext(ctx, order.Grant.Path, order.Grant.Data)
	default:
		return Made{}, &RefusedError{Why: fmt.Sprintf("operation %q is neither read nor write", string(order.Grant.Operation))}
	}
	if err != nil {
		return Made{}, fmt.Errorf("%s %s: %w", order.Grant.Operation, order.Grant.Path, told(err))
	}
	refuse := func(why string) (Made, error) {
		return Made{}, &RefusedError{Why: fmt.Sprintf("%s %s answered %s", order.Grant.Operation, order.Grant.Path, why)}
	}
	switch {
	case answer == nil || (len(answer.Data) == 0 && answer.Auth == nil && answer.WrapInfo == nil):
		return refuse("nothing that could be given")
	case answer.Auth != nil:
		if answer.Auth.Accessor != "" {
			// A token made by the grant token is its child unless it is an orphan, so it is revoked for itself.
			if err := i.RevokeToken(ctx, answer.Auth.Accessor); err != nil {
				return Made{}, fmt.Errorf("%s answered with a token, which cannot be given and could not be revoked: %w", order.Grant.Path, err)
			}
		}
		return refuse("with a token; a role of grant_type secret cannot give tokens")
	case answer.WrapInfo != nil:
		// The wrapped token, if it is one, does not go with its wrapping.
		for _, accessor := range []string{answer.WrapInfo.Accessor, answer.WrapInfo.WrappedAccessor} {
			if accessor == "" {
				continue
			}
			if err := i.RevokeToken(ctx, accessor); err != nil {
				return Made{}, fmt.Errorf("%s answered wrapped, which cannot be given and could not be revoked: %w", order.Grant.Path, err)
			}
		}
		return refuse("wrapped; what it holds cannot be checked")
	case answer.LeaseID == "" && !order.Grant.AllowUnleased:
		return refuse("without a lease, so what it gave cannot be taken back; a role for this needs allow_unleased=true")
	}
	made := Made{Data: answer.Data, LeaseID: answer.LeaseID, Lasts: order.Window, Notes: answer.Warnings}
	if made.LeaseID == "" {
		made.Notes = append(made.Notes, "this cannot be taken back: the Vault path gave no lease, so it may outlive the grant")
		return made, nil
	}
	return i.stretch(ctx, made, time.Duration(answer.LeaseDuration)*time.Second, answer.Renewable)
}

// stretch renews upstream's lease once if it is shorter than the window. What is still missing shortens the grant.
func (i *Issuer) stretch(ctx context.Context, made Made, lasts time.Duration, renewable bool) (Made, error) {
	if lasts < made.Lasts && renewable {
		err := i.as(ctx, func(client *api.Client) error {
			renewed, err := client.Logical().WriteWithContext(ctx, "sys/leases/renew", map[string]any{
				"lease_id": made.LeaseID, "increment": int64(made.Lasts / time.Second),
			})
			if err == nil && renewed != nil {
				lasts = time.Duration(renewed.LeaseDuration) * time.Second
			}
			return err
		})
		if err != nil {
			made.Notes = append(made.Notes, fmt.Sprintf("the upstream lease could not be renewed to the approved window: %v", told(err)))
		}
	}
	if lasts < made.Lasts {
		made.Notes = append(made.Notes, fmt.Sprintf("the upstream lease gives %s, less than the approved %s: the grant ends when it does", lasts, made.Lasts))
		made.Lasts = lasts
	}
	if made.Lasts < time.Second {
		return Made{}, &RefusedError{Why: "the upstream lease ends at once"}
	}
	return made, nil
}

// End revokes upstream's lease synchronously and the grant token, always both, whatever the first one says.
// A lease or token that is already gone counts as done. Empty handles are skipped.
func (i *Issuer) End(ctx context.Context, accessor, leaseID string) error {
	var faults []error
	if leaseID != "" {
		err := i.as(ctx, func(client *api.Client) error {
			_, err := client.Logical().WriteWithContext(ctx, "sys/leases/revoke", map[string]any{"lease_id": leaseID, "sync": true})
			return err
		})
		if err != nil {
			faults = append(faults, fmt.Errorf("revoking the upstream lease: %w", told(err)))
		}
	}
	if accessor != "" {
		if err := i.RevokeToken(ctx, accessor); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// RevokeToken revokes a token, and with it all that was made with it, by its accessor.
func (i *Issuer) RevokeToken(ctx context.Context, accessor string) error {
	err := i.as(ctx, func(client *api.Client) error {
		_, err := client.Logical().WriteWithContext(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": accessor})
		return err
	})
	if err == nil || unknownAccessor(err) {
		return nil
	}
	return fmt.Errorf("revoking the grant token: %w", told(err))
}

// KnowsToken reports whether Vault knows a token by its accessor.
func (i *Issuer) KnowsToken(ctx context.Context, accessor string) (bool, error) {
	err := i.as(ctx, func(client *api.Client) error {
		_, err := client.Logical().WriteWithContext(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		return err
	})
	if err == nil || unknownAccessor(err) {
		return err == nil, nil
	}
	return false, fmt.Errorf("looking up a grant token: %w", told(err))
}

// unknownAccessor recognises how releases of Vault and OpenBao say that there is no such token.
func unknownAccessor(err error) bool {
	var response *api.ResponseError
	if !errors.As(err, &response) {
		return false
	}
	said := strings.Join(response.Errors, " ")
	return (response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusNotFound) &&
		(strings.Contains(said, "invalid accessor") || strings.Contains(said, "failed to find accessor"))
}

// GroupMembers lists the entity ids of an identity group and of the groups inside it that can be read, known is false
// if any could not be.
func (i *Issuer) GroupMembers(ctx context.Context, groupID string) (entityIDs []string, known bool) {
	return i.groupMembers(ctx, groupID, map[string]bool{})
}

func (i *Issuer) groupMembers(ctx context.Context, groupID string, seen map[string]bool) (entityIDs []string, known bool) {
	if seen[groupID] {
		return nil, true
	}
	seen[groupID] = true
	answer, err := i.group(ctx, groupID)
	if err != nil || !cleanName(groupID, false) {
		return nil, false
	}
	if answer == nil { // no such group, so nobody is in it
		return nil, true
	}
	known = true
	entityIDs = words(answer.Data["member_entity_ids"])
	for _, inner := range words(answer.Data["member_group_ids"]) {
		more, ok := i.groupMembers(ctx, inner, seen)
		entityIDs, known = append(entityIDs, more...), known && ok
	}
	return entityIDs, known
}

// group is what Vault says of an identity group; nil if there is none.
func (i *Issuer) group(ctx context.Context, id string) (group *api.Secret, err error) {
	if !cleanName(id, false) {
		return nil, nil // such as no id is
	}
	err = i.as(ctx, func(client *api.Client) (err error) {
		group, err = client.Logical().ReadWithContext(ctx, "identity/group/id/"+id)
		return err
	})
	return group, err
}

func words(value any) []string {
	list, _ := value.([]any)
	var out []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}
