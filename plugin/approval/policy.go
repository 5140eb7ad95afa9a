package approval

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
)

// Limits on what one policy may hold. They keep the cost of a decision bounded; no real policy comes near them.
const (
	MaxRules         = 32
	MaxApprovals     = 100
	MaxGroupsPerRule = 32
)

// Revision tells which write of a named object this is.
type Revision struct {
	// Version counts writes, from 1.
	Version   int       `json:"version"`
	UpdatedAt time.Time `json:"updated_at"`
	// UpdatedBy is the display name of the token that wrote it.
	UpdatedBy string `json:"updated_by"`
}

// Revise is the next revision, written now by the token of the given display name.
func (r *Revision) Revise(now time.Time, by string) {
	*r = Revision{Version: r.Version + 1, UpdatedAt: now.UTC().Round(0), UpdatedBy: by}
}

// ApproverGroup is a named set of approvers: entities, and members of identity groups.
type ApproverGroup struct {
	Name             string   `json:"name"`
	EntityIDs        []string `json:"entity_ids"`
	IdentityGroupIDs []string `json:"identity_group_ids"`
	Description      string   `json:"description"`
	Revision
}

// Validate refuses a group that nobody could ever be in.
func (g ApproverGroup) Validate() error {
	if len(g.EntityIDs) == 0 && len(g.IdentityGroupIDs) == 0 {
		return refusal.New("entity_ids", "it is empty, and so is identity_group_ids", "name at least one entity or identity group")
	}
	return cmp.Or(checkNoneEmpty("entity_ids", g.EntityIDs), checkNoneEmpty("identity_group_ids", g.IdentityGroupIDs))
}

// checkNoneEmpty refuses an empty id, which is nobody's: a caller without an entity presents it.
func checkNoneEmpty(field string, ids []string) error {
	if i := slices.Index(ids, ""); i >= 0 {
		return refusal.New(fmt.Sprintf("%s[%d]", field, i), "it is empty", "")
	}
	return nil
}

// Has reports whether an entity, of which the identity groups are given, belongs to the group.
func (g ApproverGroup) Has(entityID string, identityGroupIDs []string) bool {
	return isMember(g.EntityIDs, g.IdentityGroupIDs, entityID, identityGroupIDs)
}

func isMember(entities, groups []string, entityID string, identityGroupIDs []string) bool {
	return slices.Contains(entities, entityID) || shareAny(groups, identityGroupIDs)
}

// Rule is one condition of a policy: so many distinct people out of these approver groups.
type Rule struct {
	Name           string   `json:"name"`
	ApproverGroups []string `json:"approver_groups"`
	Approvals      int      `json:"approvals"`
}

// Policy says who must agree and within which limits. Every rule must be met; one person counts for at most one rule.
type Policy struct {
	Name  string `json:"name"`
	Rules []Rule `json:"rules"`
	// DenyThreshold is how many eligible people must deny to refuse a request for good; at least 1.
	DenyThreshold     int  `json:"deny_threshold"`
	AllowSelfApproval bool `json:"allow_self_approval"`
	RequireReason     bool `json:"require_reason"`
	// ReasonPattern is a regular expression that the whole reason must match; empty allows any.
	ReasonPattern string `json:"reason_pattern"`
	// RequestTTL bounds how long a request waits for its quorum, ClaimTTL how long an approval waits to be claimed.
	RequestTTL time.Duration `json:"request_ttl"`
	ClaimTTL   time.Duration `json:"claim_ttl"`
	// DefaultTTL is the window of a request that names none; 0 stands for the smaller of one hour and MaxTTL.
	DefaultTTL  time.Duration `json:"default_ttl"`
	MaxTTL      time.Duration `json:"max_ttl"`
	Description string        `json:"description"`
	Revision
}

// NewPolicy is what a policy says where its author says nothing. It has no rules yet, so it is not valid.
func NewPolicy(name string) Policy {
	return Policy{
		Name: name, DenyThreshold: 1, RequireReason: true,
		RequestTTL: 8 * time.Hour, ClaimTTL: time.Hour, MaxTTL: 8 * time.Hour,
	}
}

// WindowDefault is the window of a request that names none.
func (p Policy) WindowDefault() time.Duration {
	return cmp.Or(p.DefaultTTL, min(time.Hour, p.MaxTTL))
}

// Validate refuses a policy that could never be met or that would let anything pass.
// Whether its groups exist and hold enough people is for [Check].
func (p Policy) Validate() error {
	if err := p.validateRules(); err != nil {
		return err
	}
	if p.DenyThreshold < 1 {
		return refusal.New("deny_threshold", fmt.Sprintf("it is %d", p.DenyThreshold), "it must be at least 1")
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"request_ttl", p.RequestTTL}, {"claim_ttl", p.ClaimTTL}, {"max_ttl", p.MaxTTL}, {"default_ttl", p.WindowDefault()}} {
		if !isWholeSeconds(d.value) {
			return refusal.New(d.field, fmt.Sprintf("it is %s", d.value), "it must be whole seconds and at least 1s")
		}
	}
	if p.DefaultTTL > p.MaxTTL {
		return refusal.Newf("default_ttl", "it is %s, which is longer than max_ttl (%s)", p.DefaultTTL, p.MaxTTL)
	}
	_, err := text.CompileWhole(p.ReasonPattern)
	return refusal.In("reason_pattern", err)
}

func (p Policy) validateRules() error {
	if len(p.Rules) == 0 {
		return refusal.New("rules", "it is empty", "a policy needs at least one rule")
	}
	if len(p.Rules) > MaxRules {
		return refusal.New("rules", fmt.Sprintf("it has %d entries", len(p.Rules)), fmt.Sprintf("at most %d are accepted", MaxRules))
	}
	for i, rule := range p.Rules {
		err := rule.validate()
		if slices.ContainsFunc(p.Rules[:i], func(r Rule) bool { return r.Name == rule.Name }) {
			err = refusal.New("name", fmt.Sprintf("there are two rules %q", rule.Name), "give each a name of its own")
		}
		if err != nil {
			return refusal.In(fmt.Sprintf("rules[%d]", i), err)
		}
	}
	return nil
}

// isWholeSeconds reports whether a duration is one that Vault can count: leases are whole seconds.
func isWholeSeconds(d time.Duration) bool { return d >= time.Second && d%time.Second == 0 }

func (r Rule) validate() error {
	switch {
	case r.Name == "":
		return refusal.New("name", "it is empty", "every rule needs one")
	case r.Approvals < 1:
		return refusal.New("approvals", fmt.Sprintf("it is %d in rule %q", r.Approvals, r.Name), "it must be at least 1")
	case r.Approvals > MaxApprovals:
		return refusal.New("approvals", fmt.Sprintf("it is %d in rule %q", r.Approvals, r.Name), fmt.Sprintf("at most %d are accepted", MaxApprovals))
	case len(r.ApproverGroups) == 0:
		return refusal.New("approver_groups", fmt.Sprintf("it is empty in rule %q", r.Name), "name at least one approver group")
	case len(r.ApproverGroups) > MaxGroupsPerRule:
		return refusal.New("approver_groups", fmt.Sprintf("it has %d entries in rule %q", len(r.ApproverGroups), r.Name),
			fmt.Sprintf("at most %d are accepted", MaxGroupsPerRule))
	}
	for i, group := range r.ApproverGroups {
		field := fmt.Sprintf("approver_groups[%d]", i)
		if group == "" {
			return refusal.Newf(field, "it is empty in rule %q", r.Name)
		}
		if slices.Contains(r.ApproverGroups[:i], group) {
			return refusal.Newf(field, "it is %q, which rule %q names twice", group, r.Name)
		}
	}
	return nil
}

// Groups lists the approver groups that the rules name, each once, in order.
func (p Policy) Groups() []string {
	var groups []string
	for _, rule := range p.Rules {
		for _, group := range rule.ApproverGroups {
			if !slices.Contains(groups, group) {
				groups = append(groups, group)
			}
		}
	}
	return groups
}

// eligible lists the indexes of the rules that someone in the given approver groups can count for.
func (p Policy) eligible(groups []string) []int {
	var rules []int
	for i, rule := range p.Rules {
		if shareAny(rule.ApproverGroups, groups) {
			rules = append(rules, i)
		}
	}
	return rules
}
