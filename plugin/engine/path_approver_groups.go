package engine

import (
	"context"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathApproverGroups() []*framework.Path {
	return definition[approval.ApproverGroup, *approval.ApproverGroup]{
		kind: "approver group", collection: "approver-groups", suffix: "approver-group",
		table:    wire.ApproverGroupTable,
		synopsis: "Named sets of approvers.",
		help: `An approver group holds Vault entities and members of Vault identity groups; it needs at least one of either. Who is in it is
looked up at every decision and again at the claim. Fields that are not given stay as they are. A group that a policy names
cannot be deleted.`,
		catalogue: b.store.Groups,
		warn:      warnOfGroup,
		usedBy: func(ctx context.Context, s logical.Storage, name string) ([]string, error) {
			return listUsers(ctx, s, "policy", b.store.Policies, func(p approval.Policy) bool { return slices.Contains(p.Groups(), name) })
		},
	}.paths(b)
}
