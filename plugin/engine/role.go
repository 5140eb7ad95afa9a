package engine

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// readSecret is what a role gives, in the one form that this path reads and writes.
func readSecret(r approval.Role) grant.Secret {
	gives, _ := r.Gives.Spec.(grant.Secret) // the zero Secret is refused when it is written
	return gives
}

func (c *call) storeRole(ctx context.Context, name string) (approval.Role, error) {
	c.definitions.Lock()
	defer c.definitions.Unlock()
	current, err := c.store.Roles.Get(ctx, c.req.Storage, name)
	if err != nil {
		return approval.Role{}, err
	}
	role, err := mergeRole(name, current, c.fields)
	if err == nil {
		err = role.Validate()
	}
	if err != nil {
		return role, fmt.Errorf("role %q: %w", name, err)
	}
	policy, err := c.store.Policies.Get(ctx, c.req.Storage, role.Policy)
	if err != nil {
		return role, err
	}
	if policy == nil {
		return role, refusal.Newf("", "role %q: there is no policy %q; create it first", name, role.Policy)
	}
	role.Revision = c.revise(role.Revision)
	return role, c.store.Roles.Put(ctx, c.req.Storage, name, role)
}

// warnOfRole tells what is allowed and hardly meant.
func (c *call) warnOfRole(ctx context.Context, role approval.Role) []string {
	gives := readSecret(role)
	var warnings []string
	if role.OpenToAll() {
		warnings = append(warnings, "the role names no requesters: anyone whose Vault policies reach request may ask for it")
	}
	if gives.AllowUnleased {
		warnings = append(warnings, "allow_unleased: what the path gives without a lease cannot be taken back; where upstream takes a duration, pass {{.TTL}}")
	}
	return append(warnings, c.askVault(ctx, c.req.Storage, func(ctx context.Context, vault *issuer.Issuer) []string {
		return append(prefixEach("grant_policies", vault.PolicyWarnings(ctx, gives.GrantPolicies)),
			prefixEach("requester_identity_group_ids", people.GroupWarnings(ctx, vault.Session(), role.RequesterIdentityGroupIDs))...)
	})...)
}

// mergeRole applies the given fields to the current role, or to the defaults.
func mergeRole(name string, current *approval.Role, d *framework.FieldData) (approval.Role, error) {
	role := approval.Role{RequesterEntityIDs: []string{}, RequesterIdentityGroupIDs: []string{}}
	gives := grant.Secret{Operation: grant.Read, GrantPolicies: []string{}}
	if current != nil {
		role, gives = *current, readSecret(*current)
	}
	role.Name = name
	fill(d, "policy", &role.Policy)
	fill(d, "requester_entity_ids", &role.RequesterEntityIDs)
	fill(d, "requester_identity_group_ids", &role.RequesterIdentityGroupIDs)
	fill(d, "description", &role.Description)
	if kind, given := d.GetOk("grant_type"); given && kind != string(grant.KindSecret) {
		return role, refusal.Newf("", "grant_type is %q; accepted is %q", kind, string(grant.KindSecret))
	}
	fill(d, "path", &gives.Path)
	fill(d, "operation", (*string)(&gives.Operation))
	fill(d, "data", &gives.Data)
	fill(d, "grant_policies", &gives.GrantPolicies)
	fill(d, "allow_unleased", &gives.AllowUnleased)
	if _, given := d.GetOk("parameters"); given {
		gives.Parameters = grant.Parameters{}
		for parameter, item := range field[map[string]any](d, "parameters") {
			var p grant.Parameter
			if err := decodeObject(item, &p, "pattern", "required", "default", "description"); err != nil {
				return role, refusal.Newf("parameters", "%q: %v", parameter, err)
			}
			gives.Parameters[parameter] = p
		}
	}
	role.Gives = grant.Stored{Spec: gives}
	return role, nil
}
