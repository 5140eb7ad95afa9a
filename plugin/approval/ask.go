package approval

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
)

// Ask is what was asked for, with everything that it is judged and executed by frozen into it.
type Ask struct {
	// ID is the request's, so that the digest of an ask covers it.
	ID   string `json:"id"`
	Role string `json:"role"`
	// RoleFingerprint tells whether what the role gives has changed since.
	RoleFingerprint string            `json:"role_fingerprint"`
	Requester       Person            `json:"requester"`
	Reason          string            `json:"reason"`
	TTL             time.Duration     `json:"ttl"`
	Parameters      map[string]string `json:"parameters,omitempty"`
	Policy          Policy            `json:"policy"`
	Grant           grant.Rendered    `json:"grant"`
	At              time.Time         `json:"at"`
}

// Question is everything that a new request is made from.
type Question struct {
	Role      Role
	Policy    Policy
	Requester Standing
	// IdentityGroupIDs are the requester's Vault identity groups.
	IdentityGroupIDs []string
	Reason           string
	// TTL is the asked window; 0 asks for the policy's default.
	TTL        time.Duration
	Parameters map[string]string
	// MaxWindow is the longest lease that the mount allows.
	MaxWindow time.Duration
	// Waiting is how many requests of the requester wait already, MaxWaiting how many may.
	Waiting, MaxWaiting int
}

// New makes the record of a request, or refuses the question.
func New(id string, q Question, now time.Time) (Record, error) {
	if err := q.check(); err != nil {
		return Record{}, err
	}
	ttl := q.TTL
	if ttl == 0 {
		// Nobody named this window, so the mount's maximum may shorten it.
		ttl = min(q.Policy.WindowDefault(), q.MaxWindow)
	}
	if err := q.Policy.checkTTL(ttl, q.MaxWindow); err != nil {
		return Record{}, err
	}
	parameters, err := q.Role.Gives.Fill(q.Parameters)
	if err != nil {
		return Record{}, err
	}
	rendered, err := q.Role.Gives.Render(q.Requester.values(id, parameters, ttl))
	if err != nil {
		return Record{}, err
	}
	fingerprint, err := fingerprintOf(q.Role)
	if err != nil {
		return Record{}, err
	}
	asked, err := json.Marshal(Ask{
		ID: id, Role: q.Role.Name, RoleFingerprint: fingerprint, Requester: q.Requester.Person, Reason: q.Reason, TTL: ttl,
		Parameters: parameters, Policy: q.Policy, Grant: rendered, At: now.UTC().Round(0),
	})
	if err != nil {
		return Record{}, fmt.Errorf("encoding what was asked: %w", err)
	}
	return Record{V: RecordVersion, ID: id, Asked: asked, Digest: digestOf(asked), Events: Events{}}, nil
}

func (q Question) check() error {
	if problem := q.Requester.problem(); problem != "" {
		return refusal.New("", "your entity "+problem, "")
	}
	if err := cmp.Or(q.Role.Validate(), q.Policy.Validate()); err != nil {
		// Whoever asks can only choose another role.
		return refusal.Newf("role", "%q cannot be asked for: %v", q.Role.Name, err)
	}
	if q.Policy.Name != q.Role.Policy {
		return refusal.Newf("role", "%q is guarded by policy %q, not by %q", q.Role.Name, q.Role.Policy, q.Policy.Name)
	}
	if !q.Role.MayBeAskedBy(q.Requester.EntityID, q.IdentityGroupIDs) {
		return refusal.Newf("role", "you are not among the requesters of %q", q.Role.Name)
	}
	if q.Waiting >= q.MaxWaiting {
		return refusal.New("", fmt.Sprintf("you have %d requests waiting, as many as this engine allows one person", q.Waiting),
			"cancel some or wait for their decision")
	}
	return q.Policy.checkReason(q.Reason)
}

// values are what the templates of a role stand for in a request of this person.
func (s Standing) values(id string, parameters map[string]string, ttl time.Duration) grant.Values {
	v := grant.Values{
		RequestID: id, TTL: ttl, Parameters: parameters,
		EntityID: s.EntityID, Name: s.Name, Metadata: s.Metadata, Aliases: map[string]string{},
	}
	for _, alias := range s.Aliases {
		if _, taken := v.Aliases[alias.MountAccessor]; !taken {
			v.Aliases[alias.MountAccessor] = alias.Name
		}
	}
	return v
}

func (p Policy) checkReason(reason string) error {
	if p.RequireReason && !text.HasMark(reason) {
		return refusal.Newf("reason", "it is empty, but policy %q requires one", p.Name)
	}
	if err := text.CheckProse(reason); err != nil {
		return refusal.In("reason", err)
	}
	if p.ReasonPattern == "" || reason == "" {
		return nil
	}
	pattern, err := text.CompileWhole(p.ReasonPattern)
	if err != nil {
		return refusal.In("reason", err)
	}
	if !pattern.MatchString(reason) {
		return refusal.Newf("reason", "%q does not match %q, which policy %q requires", reason, p.ReasonPattern, p.Name)
	}
	return nil
}

func (p Policy) checkTTL(ttl, maxWindow time.Duration) error {
	switch {
	case !isWholeSeconds(ttl):
		return refusal.New("ttl", fmt.Sprintf("it is %s", ttl), "it must be whole seconds and at least 1s")
	case ttl > p.MaxTTL:
		return refusal.Newf("ttl", "%s is longer than the max_ttl of policy %q, %s", ttl, p.Name, p.MaxTTL)
	case ttl > maxWindow:
		return refusal.Newf("ttl", "%s is longer than the longest lease of this mount, %s", ttl, maxWindow)
	}
	return nil
}
