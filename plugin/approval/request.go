package approval

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxTextBytes bounds a reason and a comment.
const MaxTextBytes = 4 << 10

// Request is the record of one ask: facts only, each added by [Apply]. What it amounts to is [Request.State].
type Request struct {
	ID  string `json:"id"`
	Ask Ask    `json:"ask"`
	// Digest is the hex SHA-256 of the id and the ask, which never change.
	Digest    string        `json:"digest"`
	Decisions []Decision    `json:"decisions,omitempty"`
	Cancelled *Cancellation `json:"cancelled,omitempty"`
	Claim     *Claim        `json:"claim,omitempty"`
	Grant     *Grant        `json:"grant,omitempty"`
	End       *End          `json:"end,omitempty"`
}

// Ask is what was asked for, with everything that it is judged and executed by frozen into it.
type Ask struct {
	Role string `json:"role"`
	// RoleFingerprint is the role's [Role.Fingerprint] at the ask.
	RoleFingerprint string            `json:"role_fingerprint"`
	Requester       Person            `json:"requester"`
	Reason          string            `json:"reason"`
	TTL             time.Duration     `json:"ttl"`
	Parameters      map[string]string `json:"parameters,omitempty"`
	Policy          Policy            `json:"policy"`
	Grant           Rendered          `json:"grant"`
	At              time.Time         `json:"at"`
}

// Cancellation is the requester's own end of a request that was not granted.
type Cancellation struct {
	At time.Time `json:"at"`
}

// Claim is an attempt to make the grant. It stays without a Grant beside it when the attempt died half-way.
type Claim struct {
	At time.Time `json:"at"`
	// Accessor is the grant token's, once there is one: what the next attempt or the periodic work revokes.
	Accessor string `json:"accessor,omitempty"`
}

// Grant is what a claim produced. It holds handles to end it by, never what it gives.
type Grant struct {
	ClaimedAt time.Time `json:"claimed_at"`
	// ExpiresAt is the end of the window; earlier than ClaimedAt + TTL if upstream gave less.
	ExpiresAt time.Time `json:"expires_at"`
	Accessor  string    `json:"accessor"`
	// LeaseID is upstream's lease; empty for an answer without one.
	LeaseID string `json:"lease_id,omitempty"`
}

// EndReason says why a grant ended.
type EndReason string

const (
	WindowEnd    EndReason = "window_end"
	Revoked      EndReason = "revoked"
	LeaseRevoked EndReason = "lease_revoked"
)

// End is the end of a grant. It is recorded before, and whether or not, Vault confirms that nothing is left.
type End struct {
	At     time.Time `json:"at"`
	Reason EndReason `json:"reason"`
	// By is who revoked it, for the reason Revoked.
	By *Person `json:"by,omitempty"`
	// ConfirmedAt is when both upstream's lease and the grant token were known to be gone; zero while that is pending.
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	// LastError is what stood in the way at the last attempt.
	LastError string `json:"last_error,omitempty"`
}

// Confirmed reports whether nothing of the grant is left.
func (e End) Confirmed() bool { return !e.ConfirmedAt.IsZero() }

// Question is everything a new request is made from.
type Question struct {
	Role      Role
	Policy    Policy
	Requester Standing
	// IdentityGroupIDs are the requester's identity groups.
	IdentityGroupIDs []string
	Reason           string
	// TTL is the asked window; 0 asks for the policy's default.
	TTL        time.Duration
	Parameters map[string]string
	// MaxWindow is the longest lease the mount allows.
	MaxWindow time.Duration
}

// NewRequest makes a request, or says what is wrong with the question.
func NewRequest(id string, q Question, now time.Time) (Request, error) {
	if problem := q.Requester.problem(); problem != "" {
		return Request{}, fmt.Errorf("your entity %s", problem)
	}
	if err := errors.Join(q.Role.Validate(), q.Policy.Validate()); err != nil {
		return Request{}, fmt.Errorf("role %q cannot be asked for: %w", q.Role.Name, err)
	}
	if q.Policy.Name != q.Role.Policy {
		return Request{}, fmt.Errorf("role %q is guarded by policy %q, not by %q", q.Role.Name, q.Role.Policy, q.Policy.Name)
	}
	if !q.Role.MayBeAskedBy(q.Requester.EntityID, q.IdentityGroupIDs) {
		return Request{}, fmt.Errorf("you are not among the requesters of role %q", q.Role.Name)
	}
	if err := q.Policy.acceptsReason(q.Reason); err != nil {
		return Request{}, fmt.Errorf("reason: %w", err)
	}
	ttl := q.TTL
	if ttl == 0 {
		// Nobody named this window, so the mount's maximum may shorten it.
		ttl = min(q.Policy.WindowDefault(), q.MaxWindow)
	}
	if err := q.Policy.acceptsTTL(ttl, q.MaxWindow); err != nil {
		return Request{}, fmt.Errorf("ttl: %w", err)
	}
	parameters, err := q.Role.Parametrise(q.Parameters)
	if err != nil {
		return Request{}, err
	}
	grant, err := q.Role.Render(q.Requester, parameters, ttl)
	if err != nil {
		return Request{}, err
	}
	r := Request{ID: id, Ask: Ask{
		Role:            q.Role.Name,
		RoleFingerprint: q.Role.Fingerprint(),
		Requester:       q.Requester.Person,
		Reason:          q.Reason,
		TTL:             ttl,
		Parameters:      parameters,
		Policy:          q.Policy,
		Grant:           grant,
		At:              now.UTC().Round(0),
	}}
	r.Digest = r.digest()
	return r, nil
}

func (r Request) digest() string {
	return digestOf(struct {
		ID  string
		Ask Ask
	}{r.ID, r.Ask})
}

// Intact reports whether the ask is still the one that was made.
func (r Request) Intact() bool { return r.Digest == r.digest() }

func (p Policy) acceptsReason(reason string) error {
	if !strings.ContainsFunc(reason, visible) && p.RequireReason {
		return fmt.Errorf("it is empty, but policy %q requires one", p.Name)
	}
	if err := checkText(reason); err != nil {
		return err
	}
	if p.ReasonPattern == "" || reason == "" {
		return nil
	}
	pattern, err := anchored(p.ReasonPattern)
	if err != nil {
		return err
	}
	if !pattern.MatchString(reason) {
		return fmt.Errorf("%q does not match %q, which policy %q requires", reason, p.ReasonPattern, p.Name)
	}
	return nil
}

// visible reports whether a character leaves a mark: spaces of any kind and width do not.
func visible(char rune) bool { return unicode.IsGraphic(char) && !unicode.IsSpace(char) }

func (p Policy) acceptsTTL(ttl, maxWindow time.Duration) error {
	switch {
	case !wholeSeconds(ttl):
		return fmt.Errorf("%s is not accepted; it must be whole seconds and at least 1s", ttl)
	case ttl > p.MaxTTL:
		return fmt.Errorf("%s is longer than the max_ttl of policy %q, %s", ttl, p.Name, p.MaxTTL)
	case ttl > maxWindow:
		return fmt.Errorf("%s is longer than the longest lease of this mount, %s", ttl, maxWindow)
	}
	return nil
}

// joiners are the only invisible characters that words and emoji need. All others of their kind (Unicode's Cf) can make
// a text read other than it is: direction overrides, spaces of no width, tags.
var joiners = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x200C, Hi: 0x200D, Stride: 1}}}

// lineSeparators break lines in some terminals and viewers.
var lineSeparators = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x2028, Hi: 0x2029, Stride: 1}}}

// checkText refuses a reason or comment that is too long or that could not be shown to an approver as it is.
func checkText(text string) error {
	if len(text) > MaxTextBytes {
		return fmt.Errorf("it has %d bytes; at most %d are accepted", len(text), MaxTextBytes)
	}
	return checkReadable(text)
}

// checkReadable refuses characters that would show an approver something else than what is there.
func checkReadable(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("it is not valid UTF-8")
	}
	for _, char := range text {
		if char == '\n' || char == '\t' {
			continue
		}
		if unicode.IsControl(char) || unicode.Is(lineSeparators, char) || (unicode.Is(unicode.Cf, char) && !unicode.Is(joiners, char)) {
			return fmt.Errorf("it holds the control character %U; of those only newline and tab are accepted", char)
		}
	}
	return nil
}

// MaySee reports whether somebody may see the request: its requester, whoever can decide on it or has, and auditors.
func (r Request) MaySee(who Standing, auditor bool) bool {
	if who.problem() != "" {
		return false
	}
	return auditor || who.EntityID == r.Ask.Requester.EntityID || len(r.Ask.Policy.eligible(who.Groups)) > 0 ||
		slices.ContainsFunc(r.Decisions, func(d Decision) bool { return d.Approver.EntityID == who.EntityID }) // to take it back
}

// mayDecide says why somebody can not decide on the request, or nil.
func (r Request) mayDecide(approver, requester Standing) error {
	if problem := approver.problem(); problem != "" {
		return fmt.Errorf("your entity %s", problem)
	}
	if len(r.Ask.Policy.eligible(approver.Groups)) == 0 {
		return fmt.Errorf("you are in none of the approver groups of policy %q", r.Ask.Policy.Name)
	}
	if !r.Ask.Policy.AllowSelfApproval &&
		(samePerson(approver.Person, r.Ask.Requester) || samePerson(approver.Person, requester.Person)) {
		return errors.New("you made this request, and its policy does not count its requester; cancel it if it is not needed")
	}
	return nil
}

// Decidable reports whether somebody can usefully decide on the request now: what an inbox holds.
func (r Request) Decidable(approver, requester Standing, now time.Time) bool {
	state := r.State(now)
	return (state == Pending || state == Approved) && r.mayDecide(approver, requester) == nil &&
		!slices.ContainsFunc(r.Decisions, func(d Decision) bool { return samePerson(d.Approver, approver.Person) })
}

// idPattern is the canonical text of a UUID.
var idPattern = regexp.MustCompile(`\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\z`)

// CheckID refuses what cannot be a request's id.
func CheckID(id string) error {
	if !idPattern.MatchString(id) {
		shown := id
		if len(shown) > 64 {
			shown = shown[:64] + "…"
		}
		return fmt.Errorf("%q is not a request id; accepted is a UUID as jit/request returned it", shown)
	}
	return nil
}
