// Package grant is what a role can give: a [Spec] before a request fills it in, [Rendered] after, and the [Handle] values
// by which what a claim made is ended.
//
// Each kind of grant is one type that is a Spec. Strings in a Spec are templates of substitution only: what an approver
// reads in a Rendered is what a claim executes.
package grant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Kind is the kind of thing that a role gives.
type Kind string

// KindSecret gives the data that a Vault path returns.
const KindSecret Kind = "secret"

// Operation is how the grant's path is asked. The zero value is refused.
type Operation string

const (
	Read  Operation = "read"
	Write Operation = "write"
)

// A Spec is what a role gives, before a request fills it in. One type a kind.
//
//sumtype:decl
type Spec interface {
	// Kind tells which kind of grant it is.
	Kind() Kind
	// Validate refuses a spec that could give nothing, or something other than approvers would see.
	Validate() error
	// Fill checks a request's parameters against the declared ones and adds the defaults.
	Fill(given map[string]string) (map[string]string, error)
	// Render fills the spec in for one request. The parameters in Values are those that Fill returned. A refusal is about a
	// field of the request: a parameter or the role.
	Render(Values) (Rendered, error)
	// Fingerprint is the bytes that change when what is given changes.
	Fingerprint() ([]byte, error)
	// Policies are the Vault policies of the grant token.
	Policies() []string
	// Warnings say what is allowed and hardly meant.
	Warnings() []string

	spec()
}

// Secret gives the data that a Vault path returns. Path and every string in Data are templates.
type Secret struct {
	Path          string         `json:"path"`
	Operation     Operation      `json:"operation"`
	Data          map[string]any `json:"data,omitempty"`
	Parameters    Parameters     `json:"parameters,omitempty"`
	GrantPolicies []string       `json:"grant_policies"`
	// AllowUnleased accepts an upstream answer without a lease: it outlives the grant and cannot be taken back.
	AllowUnleased bool `json:"allow_unleased"`
}

func (Secret) spec() {}

// Kind is [KindSecret].
func (Secret) Kind() Kind { return KindSecret }

// Fill checks a request's parameters against the declared ones and adds the defaults.
func (s Secret) Fill(given map[string]string) (map[string]string, error) {
	return s.Parameters.fill(given)
}

// Policies are the GrantPolicies.
func (s Secret) Policies() []string { return s.GrantPolicies }

// Warnings say that what is given cannot be taken back, if the role allows that.
func (s Secret) Warnings() []string {
	if !s.AllowUnleased {
		return nil
	}
	return []string{"allow_unleased: what the path gives without a lease cannot be taken back; where upstream takes a duration, pass {{.TTL}}"}
}

// Fingerprint is the JSON of the spec without the descriptions of parameters, which say nothing about what is given.
func (s Secret) Fingerprint() ([]byte, error) {
	s.Parameters = maps.Clone(s.Parameters)
	for name, parameter := range s.Parameters {
		parameter.Description = ""
		s.Parameters[name] = parameter
	}
	return json.Marshal(Stored{s})
}

// Render fills the path and the data in.
func (s Secret) Render(v Values) (Rendered, error) {
	path, err := v.renderPath(s.Path)
	if err != nil {
		return Rendered{}, err
	}
	data, err := walkObject("data", s.Data, func(field, template string) (string, error) {
		return v.substitute(field, template, checkUnambiguous)
	})
	if err != nil {
		return Rendered{}, err
	}
	return Rendered{
		Kind: KindSecret, Path: path, Operation: s.Operation, Data: data,
		GrantPolicies: slices.Clone(s.GrantPolicies), AllowUnleased: s.AllowUnleased,
	}, nil
}

// Rendered is a grant with everything filled in: what approvers see and what a claim executes.
type Rendered struct {
	Kind          Kind           `json:"kind"`
	Path          string         `json:"path"`
	Operation     Operation      `json:"operation"`
	Data          map[string]any `json:"data,omitempty"`
	GrantPolicies []string       `json:"grant_policies"`
	AllowUnleased bool           `json:"allow_unleased"`
}

// CannotBeUndone reports whether a claim may make something that does not end with its grant token.
func (r Rendered) CannotBeUndone() bool { return r.AllowUnleased }

// Stored is the stored form of a Spec: under the name of its kind.
type Stored struct{ Spec }

// MarshalJSON writes the spec under its kind.
func (s Stored) MarshalJSON() ([]byte, error) {
	if s.Spec == nil {
		return []byte("null"), nil
	}
	return json.Marshal(map[Kind]Spec{s.Kind(): s.Spec})
}

// UnmarshalJSON refuses unknown kinds and unknown fields. Numbers in data keep their digits.
func (s *Stored) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		s.Spec = nil
		return nil
	}
	kind, body, err := onlyKey(text)
	if err != nil {
		return fmt.Errorf("grant specification: %w", err)
	}
	if Kind(kind) != KindSecret {
		return fmt.Errorf("grant specification: kind %q is not known to this release", kind)
	}
	secret, err := DecodeStrictly[Secret](body)
	if err != nil {
		return fmt.Errorf("grant specification of kind %q: %w", kind, err)
	}
	s.Spec = secret
	return nil
}

// onlyKey is the one key of a JSON object, and what is under it.
func onlyKey(text []byte) (string, json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return "", nil, err
	}
	if len(object) != 1 {
		return "", nil, fmt.Errorf("it has %d kinds instead of one", len(object))
	}
	key := slices.Collect(maps.Keys(object))[0]
	return key, object[key], nil
}

// DecodeStrictly decodes JSON as it is stored: unknown fields are refused, and numbers keep their digits.
func DecodeStrictly[T any](text []byte) (T, error) {
	var value T
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	err := decoder.Decode(&value)
	return value, err
}

// Values are what the references of a template stand for in one request.
type Values struct {
	RequestID  string
	TTL        time.Duration
	Parameters map[string]string
	// EntityID and Name are the requester's, as are Metadata, that of the entity, and Aliases: login names by the
	// accessor of the auth mount.
	EntityID string
	Name     string
	Metadata map[string]string
	Aliases  map[string]string
}
