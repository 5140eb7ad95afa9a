package engine

import (
	"context"
	"fmt"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

func checkPolicyExists(ctx context.Context, c *call, role approval.Role) error {
	policy, err := c.store.Policies.Get(ctx, c.req.Storage, role.Policy)
	if err == nil && policy == nil {
		err = refusal.New("policy", fmt.Sprintf("there is no policy %q", role.Policy), "create it first")
	}
	return err
}

// warnOfRole tells what is allowed and hardly meant.
func warnOfRole(ctx context.Context, c *call, role approval.Role) ([]string, error) {
	var warnings []string
	if role.OpenToAll() {
		warnings = append(warnings, "the role names no requesters: anyone whose Vault policies reach request may ask for it")
	}
	warnings = append(warnings, role.Gives.Warnings()...)
	return append(warnings, c.askVault(ctx, c.req.Storage, func(ctx context.Context, vault *issuer.Issuer) []string {
		return append(vault.PolicyWarnings(ctx, role.Gives.Policies()),
			prefixEach("requester_identity_group_ids", people.GroupWarnings(ctx, vault.Session(), role.RequesterIdentityGroupIDs))...)
	})...), nil
}
