package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// GrantType is the kind of thing a role gives.
type GrantType string

// Secret gives the data that a Vault path returns.
const Secret GrantType = "secret"

// Operation is how the grant's path is asked. The zero value is refused.
type Operation string

const (
	Read  Operation = "read"
	Write Operation = "write"
)

// MaxParametersBytes bounds the names and values of a request's parameters together.
const MaxParametersBytes = 16 << 10

// Parameter is something a requester fills in.
type Parameter struct {
	// Pattern is a regular expression that the whole value must match; mandatory, so that nothing free-form gets through by omission.
	Pattern     string `json:"pattern"`
	Required    bool   `json:"required"`
	Default     string `json:"default,omitempty"`
	Description string `json:"description,omitempty"`
}

// GrantSpec is what a role gives, before a request fills it in. Path and every string in Data are templates.
type GrantSpec struct {
	GrantType     GrantType            `json:"grant_type"`
	Path          string               `json:"path"`
	Operation     Operation            `json:"operation"`
	Data          map[string]any       `json:"data,omitempty"`
	Parameters    map[string]Parameter `json:"parameters,omitempty"`
	GrantPolicies []string             `json:"grant_policies"`
	// AllowUnleased accepts an upstream answer without a lease: it outlives the grant and cannot be taken back.
	AllowUnleased bool `json:"allow_unleased"`
}

// Rendered is a grant with everything filled in: what approvers see and what a claim executes.
type Rendered struct {
	GrantType     GrantType      `json:"grant_type"`
	Path          string         `json:"path"`
	Operation     Operation      `json:"operation"`
	Data          map[string]any `json:"data,omitempty"`
	GrantPolicies []string       `json:"grant_policies"`
	AllowUnleased bool           `json:"allow_unleased"`
}

// Role is something one can ask for.
type Role struct {
	Name   string `json:"name"`
	Policy string `json:"policy"`
	GrantSpec
	RequesterEntityIDs        []string `json:"requester_entity_ids"`
	RequesterIdentityGroupIDs []string `json:"requester_identity_group_ids"`
	Description               string   `json:"description"`
	Revision
}

// MayBeAskedBy reports whether an entity is among the role's requesters. A role without requesters may be asked for by anyone.
func (r Role) MayBeAskedBy(entityID string, identityGroupIDs []string) bool {
	return r.OpenToAll() || member(r.RequesterEntityIDs, r.RequesterIdentityGroupIDs, entityID, identityGroupIDs)
}

// OpenToAll reports whether the role names no requesters.
func (r Role) OpenToAll() bool {
	return len(r.RequesterEntityIDs) == 0 && len(r.RequesterIdentityGroupIDs) == 0
}

// Fingerprint changes when what the role gives, or the policy that guards it, changes. Hex SHA-256.
func (r Role) Fingerprint() string {
	gives := r.GrantSpec
	gives.Parameters = maps.Clone(gives.Parameters)
	for name, parameter := range gives.Parameters {
		parameter.Description = "" // says nothing about what is given
		gives.Parameters[name] = parameter
	}
	return digestOf(struct {
		Policy string
		Grant  GrantSpec
	}{r.Policy, gives})
}

// digestOf is the hex SHA-256 of the value's JSON. encoding/json sorts map keys, so equal values have equal digests.
func digestOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		// Every value digested here came out of JSON or is made of strings, numbers and times.
		panic(fmt.Sprintf("approval: digest of %T: %v", value, err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Validate refuses a role that could give nothing, or something other than approvers would see.
func (r Role) Validate() error {
	if r.Policy == "" {
		return errors.New("policy is empty; name the policy that guards this role")
	}
	return errors.Join(
		noneEmpty("requester_entity_ids", r.RequesterEntityIDs),
		noneEmpty("requester_identity_group_ids", r.RequesterIdentityGroupIDs),
		r.validateSpec(),
	)
}

var (
	parameterName = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,64}\z`)
	pathSegment   = regexp.MustCompile(`\A[A-Za-z0-9_.@:=+~,-]+\z`)
)

func (s GrantSpec) validateSpec() error {
	if s.GrantType != Secret {
		return fmt.Errorf("grant_type is %q; accepted is %q", string(s.GrantType), string(Secret))
	}
	if s.Operation != Read && s.Operation != Write {
		return fmt.Errorf("operation is %q; accepted are %q and %q", string(s.Operation), string(Read), string(Write))
	}
	if s.Operation == Read && len(s.Data) > 0 {
		return fmt.Errorf("data is given, but operation is %q, which sends none", string(Read))
	}
	if len(s.GrantPolicies) == 0 {
		return errors.New("grant_policies is empty; a grant token asked for without policies would get every policy of its token role")
	}
	for i, policy := range s.GrantPolicies {
		switch {
		case policy == "" || policy != strings.ToLower(strings.TrimSpace(policy)):
			return fmt.Errorf("grant_policies[%d] is %q, which is not a policy name (lower case, no surrounding space)", i, policy)
		case policy == "root" || policy == "default":
			return fmt.Errorf("grant_policies names %q, which a grant may not have", policy)
		case slices.Contains(s.GrantPolicies[:i], policy):
			return fmt.Errorf("grant_policies names %q twice", policy)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		if err := s.Parameters[name].validate(name); err != nil {
			return fmt.Errorf("parameters: %q: %w", name, err)
		}
	}
	if err := s.validatePath(); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	_, err := walkObject("data", s.Data, func(text string) (string, error) { return text, s.validateTemplate(text) })
	return err
}

func (p Parameter) validate(name string) error {
	if !parameterName.MatchString(name) {
		return errors.New("a parameter's name is 1 to 64 letters, digits, _ and -")
	}
	if p.Pattern == "" {
		return errors.New("pattern is empty; every parameter needs one")
	}
	pattern, err := anchored(p.Pattern)
	if err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	if p.Default != "" && p.Required {
		return errors.New("it is required and has a default; choose one")
	}
	if err := checkReadable(p.Default); err != nil {
		return fmt.Errorf("the default: %w", err)
	}
	if p.Default != "" && !pattern.MatchString(p.Default) {
		return fmt.Errorf("the default %q does not match the pattern %q", p.Default, p.Pattern)
	}
	return nil
}

func (s GrantSpec) validatePath() error {
	if err := s.validateTemplate(s.Path); err != nil {
		return err
	}
	plain := reference.ReplaceAllString(s.Path, "x")
	if plain != path.Clean(plain) || strings.HasPrefix(plain, "/") || strings.HasPrefix(plain, "..") || plain == "." {
		return fmt.Errorf("%q is not a clean path; accepted is, for example, database/creds/readonly, without a leading or trailing slash and without empty, . or .. segments", s.Path)
	}
	for _, segment := range strings.Split(plain, "/") {
		if !pathSegment.MatchString(segment) {
			return fmt.Errorf("the segment %q of %q has characters that are not accepted; accepted are letters, digits and _.@:=+~,-", segment, s.Path)
		}
	}
	return nil
}

// validateTemplate refuses references to parameters that do not exist or might have no value.
func (s GrantSpec) validateTemplate(template string) error {
	refs, err := references(template)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		name, isParameter := strings.CutPrefix(ref, "Parameters.")
		if !isParameter {
			continue
		}
		parameter, declared := s.Parameters[name]
		if !declared {
			return fmt.Errorf("{{.%s}} names a parameter that the role does not have", ref)
		}
		if !parameter.Required && parameter.Default == "" {
			return fmt.Errorf("{{.%s}} might have no value; make the parameter required or give it a default", ref)
		}
	}
	return nil
}

// Parametrise checks a request's parameters against the role's and adds the defaults.
func (s GrantSpec) Parametrise(given map[string]string) (map[string]string, error) {
	size := 0
	for name, value := range given {
		size += len(name) + len(value)
	}
	if size > MaxParametersBytes {
		return nil, fmt.Errorf("parameters have %d bytes together; at most %d are accepted", size, MaxParametersBytes)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := s.Parameters[name]; !known {
			return nil, fmt.Errorf("parameters: %q is not known; this role accepts %s", name, listOrNone(slices.Sorted(maps.Keys(s.Parameters))))
		}
	}
	full := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		parameter := s.Parameters[name]
		value, ok := given[name]
		switch {
		case !ok && parameter.Required:
			return nil, fmt.Errorf("parameters: %q is required; it must match %q", name, parameter.Pattern)
		case !ok && parameter.Default == "":
			continue
		case !ok:
			value = parameter.Default
		}
		pattern, err := anchored(parameter.Pattern)
		if err != nil {
			return nil, fmt.Errorf("parameters: %q: %w", name, err)
		}
		if err := checkReadable(value); err != nil {
			return nil, fmt.Errorf("parameters: %q: %w", name, err)
		}
		if !pattern.MatchString(value) {
			return nil, fmt.Errorf("parameters: %q is %q, which does not match %q", name, value, parameter.Pattern)
		}
		full[name] = value
	}
	return full, nil
}

func listOrNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// Render fills the grant in for one request. Parameters are those that Parametrise returned.
func (s GrantSpec) Render(requester Standing, parameters map[string]string, ttl time.Duration) (Rendered, error) {
	v := values{parameters: parameters, ttlSeconds: int64(ttl / time.Second), requester: requester}
	where, err := v.substitute(s.Path, pathSafe)
	if err != nil {
		return Rendered{}, fmt.Errorf("path: %w", err)
	}
	// pathSafe already forbids this; a path is the one place where a slip would reach another secret.
	if where != path.Clean(where) || strings.Count(where, "/") != strings.Count(s.Path, "/") {
		return Rendered{}, fmt.Errorf("path: %q would become %q, which is another path", s.Path, where)
	}
	data, err := walkObject("data", s.Data, func(text string) (string, error) { return v.substitute(text, unambiguous) })
	if err != nil {
		return Rendered{}, err
	}
	return Rendered{
		GrantType:     s.GrantType,
		Path:          where,
		Operation:     s.Operation,
		Data:          data,
		GrantPolicies: slices.Clone(s.GrantPolicies),
		AllowUnleased: s.AllowUnleased,
	}, nil
}

// walkObject copies a JSON object, passing every string in it through the given function; where names it in errors.
func walkObject(where string, object map[string]any, text func(string) (string, error)) (map[string]any, error) {
	if object == nil {
		return nil, nil
	}
	out := make(map[string]any, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		changed, err := walk(where+"."+key, object[key], text)
		if err != nil {
			return nil, err
		}
		out[key] = changed
	}
	return out, nil
}

func walk(where string, value any, text func(string) (string, error)) (any, error) {
	switch value := value.(type) {
	case string:
		changed, err := text(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		return changed, nil
	case map[string]any:
		return walkObject(where, value, text)
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			changed, err := walk(fmt.Sprintf("%s[%d]", where, i), item, text)
			if err != nil {
				return nil, err
			}
			out[i] = changed
		}
		return out, nil
	default:
		return value, nil
	}
}
