// Code generated from the tables of this package by scripts/wire-types. DO NOT EDIT.

package wire

// Revision tells which write of a definition this is.
type Revision struct {
	// How often it was written, from 1.
	Version int `json:"version"`
	// When it was written last, RFC 3339.
	UpdatedAt Time `json:"updated_at"`
	// Display name of the token that wrote it last.
	UpdatedBy string `json:"updated_by"`
}

// Person is somebody: a Vault entity.
type Person struct {
	// Id of the Vault entity.
	EntityID string `json:"entity_id"`
	// Login name.
	Name string `json:"name"`
}

// ApproverGroup is a named set of approvers: Vault entities, and members of Vault identity groups.
type ApproverGroup struct {
	Revision
	// Ids of Vault entities that belong to the group.
	EntityIDs []string `json:"entity_ids"`
	// Ids of Vault identity groups whose members, also through inner groups, belong to the group. At least one
	// entity or identity group is needed.
	IdentityGroupIDs []string `json:"identity_group_ids"`
	// What the group is for.
	Description string `json:"description"`
}

// ApproverGroupSummary is what a detailed list shows of ApproverGroup.
type ApproverGroupSummary struct {
	// How many there are in entity_ids.
	EntityIDs int `json:"entity_ids"`
	// How many there are in identity_group_ids.
	IdentityGroupIDs int `json:"identity_group_ids"`
	// What the group is for.
	Description string `json:"description"`
}

// Rule is one condition of a policy: so many distinct people out of these approver groups.
type Rule struct {
	// Name of the rule, for people to read; unique in the policy.
	Name string `json:"name"`
	// Names of the approver groups whose members can approve, up to 32.
	ApproverGroups []string `json:"approver_groups"`
	// How many distinct people of these groups must approve, 1 to 100.
	Approvals int `json:"approvals"`
}

// Policy is an approval policy: who must agree to a request, and within which limits.
type Policy struct {
	Revision
	// Who must approve, up to 32 rules. Every rule must be met, and one person counts for at most one of them.
	Rules []Rule `json:"rules"`
	// How many eligible people must deny to refuse a request for good. Default: 1.
	DenyThreshold int `json:"deny_threshold"`
	// Whether the requester may count as an approver. Default: false.
	AllowSelfApproval bool `json:"allow_self_approval"`
	// Whether a request must give a reason. Default: true.
	RequireReason bool `json:"require_reason"`
	// Regular expression ([RE2](https://github.com/google/re2/wiki/Syntax)) that the whole reason must match.
	// Default: any reason.
	ReasonPattern string `json:"reason_pattern"`
	// How long a request waits for its quorum. Default: 8h.
	RequestTTL Seconds `json:"request_ttl"`
	// How long an approval waits to be claimed. Default: 1h.
	ClaimTTL Seconds `json:"claim_ttl"`
	// The window of a request that names none. Default: the smaller of 1h and max_ttl, which 0 goes back to.
	DefaultTTL Seconds `json:"default_ttl"`
	// The longest window that can be asked for. Default: 8h.
	MaxTTL Seconds `json:"max_ttl"`
	// What the policy is for.
	Description string `json:"description"`
}

// NewPolicy is a Policy with the defaults.
func NewPolicy() Policy {
	return Policy{DenyThreshold: 1, RequireReason: true, RequestTTL: 28800, ClaimTTL: 3600, MaxTTL: 28800}
}

// PolicySummary is what a detailed list shows of Policy.
type PolicySummary struct {
	// How many there are in rules.
	Rules int `json:"rules"`
	// The longest window that can be asked for.
	MaxTTL Seconds `json:"max_ttl"`
	// What the policy is for.
	Description string `json:"description"`
}

// RuleOutlook says whether there are enough people for one rule.
type RuleOutlook struct {
	// Name of the rule.
	Name string `json:"name"`
	// Approver groups whose members can approve.
	ApproverGroups []string `json:"approver_groups"`
	// How many must approve.
	ApprovalsRequired int `json:"approvals_required"`
	// Whether there are enough people for it.
	Satisfiable bool `json:"satisfiable"`
	// Whether all who could count for it are known.
	Known bool `json:"known"`
	// Who could count for it.
	Candidates []Person `json:"candidates"`
	// How many more people than needed it could have while every other rule is met; negative when some are
	// lacking.
	Spare int `json:"spare"`
}

// PolicyCheck says whether a policy can be met by the people there are now.
type PolicyCheck struct {
	// Whether all rules can be met at once by distinct people who are known.
	Satisfiable bool `json:"satisfiable"`
	// False where the members of some group are not known: the engine may not read an identity group, or the group
	// has more than 200 people. Then there may be more people than shown, and satisfiable = false means that it
	// cannot be told.
	Known bool `json:"known"`
	// The people without whom the policy could not be met.
	DependsOn []Person `json:"depends_on"`
	// The outlook of each rule.
	Rules []RuleOutlook `json:"rules"`
}

// Specification is what is given: in a role with templates, in a request as a claim executes it.
type Specification struct {
	// What is given: secret, the data that a Vault path returns. Default: secret.
	GrantType string `json:"grant_type"`
	// The Vault path that makes the credential, for example database/creds/readonly. In a role it is a template.
	Path string `json:"path"`
	// How path is asked: read or write. Default: read.
	Operation string `json:"operation"`
	// What is written to path: a JSON object. In a role its strings are templates.
	Data map[string]any `json:"data"`
	// Vault policies of the grant token: exactly these, at least one, not root and not default.
	GrantPolicies []string `json:"grant_policies"`
}

// Parameter is something that a requester fills in.
type Parameter struct {
	// Regular expression (RE2) that the whole value must match.
	Pattern string `json:"pattern"`
	// Whether a request must give it. Default: false.
	Required bool `json:"required"`
	// Its value where a request gives none. A parameter that a template names is required or has a default.
	// Default: none.
	Default string `json:"default"`
	// What it is, for requesters.
	Description string `json:"description"`
}

// Role is something one can ask for: what it gives, the policy that guards it, and who may ask.
type Role struct {
	Specification
	Revision
	// Name of the approval policy that guards the role.
	Policy string `json:"policy"`
	// What a requester fills in, by name: up to 64 letters, digits, _ and -.
	Parameters map[string]Parameter `json:"parameters"`
	// Whether an answer without a lease is given out although it cannot be taken back. Default: false.
	AllowUnleased bool `json:"allow_unleased"`
	// Ids of entities that may ask for the role. A role without requesters may be asked for by anyone whose Vault
	// policies reach request.
	RequesterEntityIDs []string `json:"requester_entity_ids"`
	// Ids of identity groups whose members may ask for the role.
	RequesterIdentityGroupIDs []string `json:"requester_identity_group_ids"`
	// What the role is for.
	Description string `json:"description"`
}

// NewRole is a Role with the defaults.
func NewRole() Role {
	return Role{Specification: Specification{GrantType: "secret", Operation: "read"}}
}

// RoleSummary is what a detailed list shows of Role.
type RoleSummary struct {
	// What is given: secret, the data that a Vault path returns.
	GrantType string `json:"grant_type"`
	// Name of the approval policy that guards the role.
	Policy string `json:"policy"`
	// What the role is for.
	Description string `json:"description"`
}

// Config is how the engine reaches Vault, who it is there, and its limits.
type Config struct {
	// URL of this Vault as the plugin reaches it, for example https://127.0.0.1:8200: scheme, host and port.
	Address string `json:"address"`
	// Token role (auth/token/roles/NAME) through which grant tokens are made; it bounds what any grant can get.
	TokenRole string `json:"token_role"`
	// The role_id of the engine's own AppRole. Required, unless token is given.
	RoleID string `json:"role_id"`
	// The secret_id of the engine's own AppRole. Required, unless token is given. Never read back.
	SecretID string `json:"secret_id"`
	// Path of the AppRole auth mount. Default: approle.
	AuthMount string `json:"auth_mount"`
	// A Vault token to use instead of an AppRole. Never read back. If it may read auth/token/lookup-self, the
	// engine knows when it ends, and renews it if it can be renewed. Once it has ended, the engine has no other.
	Token string `json:"token"`
	// Vault namespace the engine works in.
	Namespace string `json:"namespace"`
	// CA certificate of the address, PEM. Default: the system's.
	CACert string `json:"ca_cert"`
	// Name to expect in the certificate, if it is not the address's host.
	TLSServerName string `json:"tls_server_name"`
	// Client certificate, PEM, for a listener that asks for one.
	ClientCert string `json:"client_cert"`
	// Private key of client_cert, PEM. Never read back.
	ClientKey string `json:"client_key"`
	// Ids of identity groups whose members see every request and may end every grant.
	AuditorGroupIDs []string `json:"auditor_group_ids"`
	// How long an ended request is kept. Default: 720h.
	Retention Seconds `json:"retention"`
	// How many requests of one person may wait for a decision or a claim at a time. Default: 100.
	MaxPendingPerRequester int `json:"max_pending_per_requester"`
}

// NewConfig is a Config with the defaults.
func NewConfig() Config {
	return Config{AuthMount: "approle", Retention: 2592000, MaxPendingPerRequester: 100}
}

// Status is how the engine is doing.
type Status struct {
	// The release of the plugin that answers.
	PluginVersion string `json:"plugin_version"`
	// Whether the engine has a token of its own.
	LoggedIn bool `json:"logged_in"`
	// Why it has none, or what else of its login could not be learned.
	LoginProblem string `json:"login_problem"`
	// When the engine's token ends unless it is renewed, which the engine does when two thirds of its life are
	// over.
	TokenExpiresAt Time `json:"token_expires_at"`
	// When the engine's secret_id ends; empty for one without an end.
	SecretIDExpiresAt Time `json:"secret_id_expires_at"`
	// Requests about which something may still have to be done.
	OpenRequests int `json:"open_requests"`
	// Grants that have not ended on record.
	LiveGrants int `json:"live_grants"`
	// Grants that have ended on record, and claims that failed, of which Vault has not confirmed that nothing is
	// left.
	UnconfirmedEnds int `json:"unconfirmed_ends"`
	// The ids of their requests.
	UnconfirmedIDs []string `json:"unconfirmed_ids"`
	// The last time the engine did its periodic work; empty before the first time after a start.
	LastPeriodicRun Time `json:"last_periodic_run"`
}

// Ask is what a requester asks for.
type Ask struct {
	// The role to ask for.
	Role string `json:"role"`
	// Why, for the approvers and the record. Required unless the policy says otherwise. Up to 4 KiB.
	Reason string `json:"reason"`
	// For how long, from the claim on. What is longer than the policy's max_ttl or the mount's longest lease is
	// refused. Default: the default_ttl of the role's policy, or the mount's longest lease if that is shorter.
	TTL Seconds `json:"ttl"`
	// The role's parameters, strings by name. Up to 16 KiB together.
	Parameters map[string]string `json:"parameters"`
}

// Summary is what a detailed list shows of a request: enough to decide whether to read it.
type Summary struct {
	Ask
	Specification
	// What the request amounts to now: pending, approved, claiming, active, denied, cancelled, expired or ended.
	State string `json:"state"`
	// Login name of who asked.
	Requester string `json:"requester"`
	// When it was made, RFC 3339.
	CreatedAt Time `json:"created_at"`
	// When it expires unless something happens, RFC 3339: for its quorum, for its claim, or the end of the window.
	ExpiresAt Time `json:"expires_at"`
	// Whether what is given may outlive its window: the role's allow_unleased.
	CannotBeTakenBack bool `json:"cannot_be_taken_back"`
	// Hex SHA-256 over the stored bytes of what was asked, which hold the id and everything that was frozen. It
	// never changes.
	Digest string `json:"digest"`
}

// Decision is an approver's current decision on a request.
type Decision struct {
	// Who decided.
	Approver Person `json:"approver"`
	// approve or deny.
	Verdict string `json:"verdict"`
	// The approver's comment.
	Comment string `json:"comment"`
	// When, RFC 3339.
	At Time `json:"at"`
	// Whether it counts.
	Counts bool `json:"counts"`
	// Why it counts, or does not.
	Why string `json:"why"`
}

// RuleCount says how far a rule is met.
type RuleCount struct {
	// Name of the rule.
	Name string `json:"name"`
	// Approver groups whose members can approve.
	ApproverGroups []string `json:"approver_groups"`
	// How many must approve.
	ApprovalsRequired int `json:"approvals_required"`
	// How many approvals count.
	ApprovalsCounted int `json:"approvals_counted"`
	// Whether that is enough.
	Satisfied bool `json:"satisfied"`
	// Names of those who count.
	Counted []string `json:"counted"`
	// Names of those who can still approve, as far as the engine knows them; null in other answers than that to a
	// read.
	CanApprove []string `json:"can_approve"`
}

// Grant is what a claim produced, and its end.
type Grant struct {
	// When it was claimed, RFC 3339.
	ClaimedAt Time `json:"claimed_at"`
	// The end of its window, RFC 3339.
	ExpiresAt Time `json:"expires_at"`
	// When it ended, RFC 3339; empty while it lives.
	EndedAt Time `json:"ended_at"`
	// window_end, revoked, lease_revoked, or claim_failed for a grant that nobody got.
	EndReason string `json:"end_reason"`
	// Who revoked it through the engine, for the end reason revoked.
	EndedBy *Person `json:"ended_by"`
	// confirmed once nothing of the grant is left, pending until then; empty while it lives.
	Revocation string `json:"revocation"`
	// When the end was confirmed, RFC 3339; empty while it is not.
	ConfirmedAt Time `json:"confirmed_at"`
	// What stood in the way of the end at the last attempt.
	LastError string `json:"last_error"`
}

// Request is a request with all that is known of it.
type Request struct {
	Summary
	// The request's id.
	ID string `json:"id"`
	// Who asked.
	Requester Person `json:"requester"`
	// The policy that was frozen with the request.
	Policy string `json:"policy"`
	// Which version of it.
	PolicyVersion int `json:"policy_version"`
	// Each approver's current decision.
	Decisions []Decision `json:"decisions"`
	// How many denials count.
	Denials int `json:"denials"`
	// How many make the denial final.
	DenyThreshold int `json:"deny_threshold"`
	// How far each rule of the policy is met.
	Rules []RuleCount `json:"rules"`
	// Whether the requester can claim now.
	Claimable bool `json:"claimable"`
	// Each thing that stands in the way of a claim, in a sentence.
	Obstacles []string `json:"obstacles"`
	// What the claim produced, and its end; null before the claim.
	Grant *Grant `json:"grant"`
}

// NameRequest names a request.
type NameRequest struct {
	// The request's id.
	ID string `json:"id"`
}

// Decide is what an approver gives.
type Decide struct {
	NameRequest
	// A comment, for the record. Up to 4 KiB.
	Comment string `json:"comment"`
}

// Revoked is the answer to a revocation.
type Revoked struct {
	// The request's id.
	ID string `json:"id"`
	// The state of the request: ended.
	State string `json:"state"`
	// The grant, and how far its end is confirmed.
	Grant Grant `json:"grant"`
}

// Page says which part of a list is wanted.
type Page struct {
	// List only what comes after this id: requests that are older.
	After string `json:"after"`
	// List at most so many, 1 to 1000. Where there may be more, the answer has next, which is the after to go on
	// with. Default: 100.
	Limit int `json:"limit"`
}

// Query says which requests are wanted.
type Query struct {
	Page
	// List only requests in these states, open for those that wait or are active, or all. Default: open.
	State []string `json:"state"`
	// List only requests for this role.
	Role string `json:"role"`
}

// Tidied is the answer to a tidy.
type Tidied struct {
	// How many requests were removed.
	Removed int `json:"removed"`
}
