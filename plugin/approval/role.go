package approval

import (
	"cmp"
	"crypto/sha256"
	"fmt"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// Role is something one can ask for: what it gives, the policy that guards it, and who may ask.
type Role struct {
	Name                      string       `json:"name"`
	Policy                    string       `json:"policy"`
	Gives                     grant.Stored `json:"gives"`
	RequesterEntityIDs        []string     `json:"requester_entity_ids"`
	RequesterIdentityGroupIDs []string     `json:"requester_identity_group_ids"`
	Description               string       `json:"description"`
	Revision
}

// MayBeAskedBy reports whether an entity is among the role's requesters. A role without requesters may be asked for by anyone.
func (r Role) MayBeAskedBy(entityID string, identityGroupIDs []string) bool {
	return r.OpenToAll() || isMember(r.RequesterEntityIDs, r.RequesterIdentityGroupIDs, entityID, identityGroupIDs)
}

// OpenToAll reports whether the role names no requesters.
func (r Role) OpenToAll() bool {
	return len(r.RequesterEntityIDs) == 0 && len(r.RequesterIdentityGroupIDs) == 0
}

// Validate refuses a role that could give nothing, or something other than approvers would see.
func (r Role) Validate() error {
	if r.Policy == "" {
		return refusal.New("policy", "it is empty", "name the policy that guards this role")
	}
	if r.Gives.Spec == nil {
		return refusal.New("grant_type", "it is empty", "say what the role gives")
	}
	return cmp.Or(
		checkNoneEmpty("requester_entity_ids", r.RequesterEntityIDs),
		checkNoneEmpty("requester_identity_group_ids", r.RequesterIdentityGroupIDs),
		r.Gives.Validate(),
	)
}

// Now is what a claim has to know of the role: whether it is still what was asked for, by whom.
func (r Role) Now(requester string, identityGroupIDs []string) (*RoleNow, error) {
	fingerprint, err := fingerprintOf(r)
	if err != nil {
		return nil, err
	}
	return &RoleNow{Policy: r.Policy, Fingerprint: fingerprint, MayAsk: r.MayBeAskedBy(requester, identityGroupIDs)}, nil
}

// fingerprintOf changes when what the role gives changes. Hex SHA-256 over the grant specification's bytes.
func fingerprintOf(r Role) (string, error) {
	if r.Gives.Spec == nil {
		return "", fmt.Errorf("role %q gives nothing", r.Name)
	}
	text, err := r.Gives.Fingerprint()
	if err != nil {
		return "", fmt.Errorf("role %q: encoding a grant specification: %w", r.Name, err)
	}
	return digestOf(text), nil
}

// digestOf is the hex SHA-256 of the bytes.
func digestOf(text []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(text))
}
