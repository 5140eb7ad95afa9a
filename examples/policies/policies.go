// Package policies has the ACL policies that the engine, its users and its operators need, as the documentation shows them: for a mount
// at jit/, the token role jit-grant and the engine's AppRole jit-engine.
package policies

import _ "embed" // for the files

// Engine is the policy of the engine's own identity. It may end the leases of database/creds/readonly; what comes after
// Optional is of use, but not needed.
//
//go:embed jit-engine.hcl
var Engine string

// Optional begins the part of Engine that the engine works without.
const Optional = "\n# Optional:"

// User is the policy of everybody who asks or approves.
//
//go:embed jit-user.hcl
var User string

// Operator is the policy of who sets the engine up, by hand or with Terraform.
//
//go:embed jit-operator.hcl
var Operator string
