package engine

import (
	"github.com/hashicorp/vault/sdk/framework"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (b *backend) pathRoles() []*framework.Path {
	return definition[approval.Role, *approval.Role]{
		kind: "role", collection: "roles", suffix: "role",
		table:    wire.RoleTable,
		synopsis: "Roles: what one can ask for.",
		help: `A role names a Vault path that makes a credential, the policies that a grant may use for it, and the approval policy that guards it.
Templates in path and data know {{.Request.ID}}, {{.Parameters.NAME}}, {{.TTL}} (seconds), {{.Requester.EntityID}},
{{.Requester.Name}}, {{.Requester.Metadata.KEY}} and {{.Requester.Alias.MOUNT_ACCESSOR}}: substitution only.

A request freezes what it would execute. If what the role gives, or its policy, changes before the claim, the request has to be
made again. Fields that are not given stay as they are.`,
		catalogue: b.store.Roles,
		define:    wire.DefineRole,
		show:      wire.ShowRole,
		check:     checkPolicyExists,
		warn:      warnOfRole,
	}.paths(b)
}
