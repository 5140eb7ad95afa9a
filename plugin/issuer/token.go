package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/session"
)

// begin creates the grant token, has it kept as soon as it is known, and accepts it only if it is what was asked for.
// The token, with which everything of the grant is made, never leaves the plugin.
func (i *Issuer) begin(ctx context.Context, o Order, keep Keep) (made Made, token string, err error) {
	// Before the window begins.
	if err := i.session.Login(ctx); err != nil {
		return Made{}, "", err
	}
	made.Began = i.readClock()
	given, err := i.createToken(ctx, o)
	if err != nil {
		return made, "", err
	}
	if given.Auth.Accessor != "" {
		handle := grant.Token{Accessor: given.Auth.Accessor}
		made.Handles = grant.Handles{handle}
		made.Until = made.Began.Add(given.life())
		if err := keep(handle, made.Began); err != nil {
			return made, "", err
		}
	}
	if objection := findObjection(given, o); objection != "" {
		return made, "", fmt.Errorf("token role %q gave %s", i.session.Connection().TokenRole, objection)
	}
	return made, given.Auth.ClientToken, nil
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

func (a tokenAnswer) life() time.Duration { return time.Duration(a.Auth.LeaseDuration) * time.Second }

// createToken creates the grant token through the token role.
func (i *Issuer) createToken(ctx context.Context, o Order) (answer tokenAnswer, err error) {
	role := i.session.Connection().TokenRole
	seconds := fmt.Sprintf("%ds", int64(o.Window/time.Second))
	err = i.session.WriteJSON(ctx, "auth/token/create/"+role, map[string]any{
		"policies":          o.Grant.GrantPolicies,
		"no_default_policy": true,
		"ttl":               seconds,
		"explicit_max_ttl":  seconds,
		"renewable":         false,
		"type":              "service",
		"display_name":      "jit-" + o.RequesterName,
		"meta": map[string]string{
			"jit_request":             o.RequestID,
			"jit_role":                o.Role,
			"jit_requester":           o.RequesterName,
			"jit_requester_entity_id": o.RequesterEntityID,
		},
	}, &answer)
	if err == nil && answer.Auth == nil {
		err = errors.New("Vault answered without a token")
	}
	if err != nil {
		return answer, fmt.Errorf("creating the grant token through token role %q: %w", role, session.Explain(err))
	}
	return answer, nil
}

// findObjection says in what a token differs from what was asked for; "" if in nothing that matters.
// Vault answers some differences with a mere warning: a ttl that it cut, a policy that does not exist.
func findObjection(answer tokenAnswer, o Order) string {
	auth, life := answer.Auth, answer.life()
	got, asked := slices.Sorted(slices.Values(auth.Policies)), slices.Sorted(slices.Values(o.Grant.GrantPolicies))
	switch {
	case auth.Accessor == "" || auth.TokenType != "service":
		return fmt.Sprintf("a %s token; a grant needs a service token, to which leases can be attached", auth.TokenType)
	case !slices.Equal(got, asked) || len(auth.IdentityPolicies) > 0:
		return fmt.Sprintf("a token with the policies %s instead of %s",
			strings.Join(append(got, auth.IdentityPolicies...), ", "), strings.Join(asked, ", "))
	case !auth.Orphan:
		return "a token that is not an orphan; set orphan=true on the token role"
	case auth.EntityID != "":
		return "a token with an entity, which would have the entity's policies too"
	case life > o.Window || isShortened(life, o.Window):
		return fmt.Sprintf("a token for %s instead of %s; ask for less, or raise the limit of the token role or of the token auth mount", life, o.Window)
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

// Knows reports whether Vault knows a token by its accessor.
func (i *Issuer) Knows(ctx context.Context, token grant.Token) (bool, error) {
	_, err := i.session.Write(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": token.Accessor})
	if err == nil || isUnknownAccessor(err) {
		return err == nil, nil
	}
	return false, fmt.Errorf("looking up a grant token: %w", session.Explain(err))
}

// revokeToken revokes a token, and with it all that was made with it. One that is gone already counts as revoked.
func (i *Issuer) revokeToken(ctx context.Context, token grant.Token) error {
	_, err := i.session.Write(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": token.Accessor})
	if err == nil || isUnknownAccessor(err) {
		return nil
	}
	// A token that is being revoked has its accessor until that is done.
	if isRefusedWith(err, "token not found") {
		if known, lookupErr := i.Knows(ctx, token); lookupErr == nil && !known {
			return nil
		}
	}
	return fmt.Errorf("revoking the grant token: %w", session.Explain(err))
}

// isUnknownAccessor recognises how releases of Vault and OpenBao say that there is no such token.
func isUnknownAccessor(err error) bool {
	return isRefusedWith(err, "invalid accessor") || isRefusedWith(err, "failed to find accessor")
}

// isRefusedWith reports whether Vault refused a call in these words.
func isRefusedWith(err error, words string) bool {
	var response *api.ResponseError
	return errors.As(err, &response) &&
		slices.Contains([]int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound}, response.StatusCode) &&
		strings.Contains(strings.Join(response.Errors, " "), words)
}
