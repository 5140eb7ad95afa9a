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

// grantToken is the token that everything of one grant is made with. Its secret never leaves the plugin.
type grantToken struct {
	grant.Token
	secret string
	life   time.Duration
	// objection says in what it differs from what was asked for; empty if in nothing that matters.
	objection string
}

// begin creates the grant token, has it kept as soon as it is known, and accepts it only if it is what was asked for.
func (i *Issuer) begin(ctx context.Context, o Order, keep Keep) (Made, grantToken, error) {
	// Before the window begins.
	if err := i.session.Login(ctx); err != nil {
		return Made{}, grantToken{}, err
	}
	made := Made{Began: i.readClock()}
	token, err := i.createToken(ctx, o)
	if err != nil {
		return made, token, err
	}
	if token.Accessor != "" {
		made.Handles = grant.Handles{token.Token}
		made.Until = made.Began.Add(token.life)
		if err := keep(token.Token, made.Began); err != nil {
			return made, token, err
		}
	}
	if token.objection != "" {
		return made, token, fmt.Errorf("token role %q gave %s", i.session.Connection().TokenRole, token.objection)
	}
	return made, token, nil
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

// createToken creates the grant token through the token role, and says what there is to object to it.
func (i *Issuer) createToken(ctx context.Context, o Order) (grantToken, error) {
	role := i.session.Connection().TokenRole
	seconds := fmt.Sprintf("%ds", int64(o.Window/time.Second))
	var answer tokenAnswer
	err := i.session.WriteJSON(ctx, "auth/token/create/"+role, map[string]any{
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
	if err != nil {
		return grantToken{}, fmt.Errorf("creating the grant token through token role %q: %w", role, session.Explain(err))
	}
	if answer.Auth == nil {
		return grantToken{}, fmt.Errorf("creating the grant token through token role %q: Vault answered without a token", role)
	}
	token := grantToken{
		Token: grant.Token{Accessor: answer.Auth.Accessor}, secret: answer.Auth.ClientToken,
		life: time.Duration(answer.Auth.LeaseDuration) * time.Second,
	}
	token.objection = findObjection(answer, token.life, o)
	return token, nil
}

// findObjection says in what a token differs from what was asked for; "" if in nothing that matters.
// Vault answers some differences with a mere warning: a ttl that it cut, a policy that does not exist.
func findObjection(answer tokenAnswer, life time.Duration, o Order) string {
	auth := answer.Auth
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
	if !errors.As(err, &response) {
		return false
	}
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		return strings.Contains(strings.Join(response.Errors, " "), words)
	}
	return false
}
