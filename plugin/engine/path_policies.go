package engine

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathPolicies() []*framework.Path {
	return definition[approval.Policy, *approval.Policy]{
		kind: "policy", collection: "policies", suffix: "policy",
		table:    wire.PolicyTable,
		synopsis: "Approval policies: who must agree, and within which limits.",
		help: `A policy guards roles. A request freezes the policy as it is when it is made; at the claim the quorum must hold under that
one and under the policy as it is then, so tightening a policy reaches requests that are already approved, and loosening does not.
Fields that are not given stay as they are. A policy that a role names cannot be deleted.`,
		catalogue: b.store.Policies,
		show:      showPolicy,
		check:     checkGroupsExist,
		foresee:   foreseePolicy,
		usedBy: func(ctx context.Context, s logical.Storage, name string) ([]string, error) {
			return listUsers(ctx, s, "role", b.store.Roles, func(r approval.Role) bool { return r.Policy == name })
		},
	}.paths(b)
}
