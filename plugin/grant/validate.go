package grant

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
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

// Parameters are what a requester fills in, by name.
type Parameters map[string]Parameter

var (
	parameterName = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,64}\z`)
	pathSegment   = regexp.MustCompile(`\A[A-Za-z0-9_.@:=+~,-]+\z`)
)

// Validate refuses a spec that could give nothing, or something other than approvers would see.
func (s Secret) Validate() error {
	if s.Operation != Read && s.Operation != Write {
		return refusal.Newf("", "operation is %q; accepted are %q and %q", string(s.Operation), string(Read), string(Write))
	}
	if s.Operation == Read && len(s.Data) > 0 {
		return refusal.Newf("", "data is given, but operation is %q, which sends none", string(Read))
	}
	if err := checkGrantPolicies(s.GrantPolicies); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		if err := s.Parameters[name].validate(name); err != nil {
			return refusal.In("parameters", refusal.In(fmt.Sprintf("%q", name), err))
		}
	}
	if err := s.validatePath(); err != nil {
		return refusal.In("path", err)
	}
	_, err := walkObject("data", s.Data, func(template string) (string, error) { return template, s.Parameters.checkTemplate(template) })
	return err
}

func checkGrantPolicies(policies []string) error {
	if len(policies) == 0 {
		return refusal.New("", "grant_policies is empty; a grant token asked for without policies would get every policy of its token role", "")
	}
	for i, policy := range policies {
		switch {
		case policy == "" || policy != strings.ToLower(strings.TrimSpace(policy)):
			return refusal.Newf("", "grant_policies[%d] is %q, which is not a policy name (lower case, no surrounding space)", i, policy)
		case policy == "root" || policy == "default":
			return refusal.Newf("", "grant_policies names %q, which a grant may not have", policy)
		case slices.Contains(policies[:i], policy):
			return refusal.Newf("", "grant_policies names %q twice", policy)
		}
	}
	return nil
}

func (p Parameter) validate(name string) error {
	if !parameterName.MatchString(name) {
		return refusal.New("", "a parameter's name is 1 to 64 letters, digits, _ and -", "")
	}
	if p.Pattern == "" {
		return refusal.New("", "pattern is empty; every parameter needs one", "")
	}
	pattern, err := text.CompileWhole(p.Pattern)
	if err != nil {
		return refusal.In("pattern", err)
	}
	if p.Default != "" && p.Required {
		return refusal.New("", "it is required and has a default; choose one", "")
	}
	if err := text.CheckReadable(p.Default); err != nil {
		return refusal.In("default", err)
	}
	if p.Default != "" && !pattern.MatchString(p.Default) {
		return refusal.Newf("", "the default %q does not match the pattern %q", p.Default, p.Pattern)
	}
	return nil
}

func (s Secret) validatePath() error {
	if err := s.Parameters.checkTemplate(s.Path); err != nil {
		return err
	}
	plain := reference.ReplaceAllString(s.Path, "x")
	if plain != path.Clean(plain) || strings.HasPrefix(plain, "/") || strings.HasPrefix(plain, "..") || plain == "." {
		return refusal.Newf("", "%q is not a clean path; accepted is, for example, database/creds/readonly, without a leading or trailing slash and without empty, . or .. segments", s.Path)
	}
	for _, segment := range strings.Split(plain, "/") {
		if !pathSegment.MatchString(segment) {
			return refusal.Newf("", "the segment %q of %q has characters that are not accepted; accepted are letters, digits and _.@:=+~,-", segment, s.Path)
		}
	}
	return nil
}

// checkTemplate refuses references to parameters that do not exist or might have no value.
func (ps Parameters) checkTemplate(template string) error {
	refs, err := listReferences(template)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		name, isParameter := strings.CutPrefix(ref, "Parameters.")
		if !isParameter {
			continue
		}
		parameter, declared := ps[name]
		if !declared {
			return refusal.Newf("", "{{.%s}} names a parameter that the role does not have", ref)
		}
		if !parameter.Required && parameter.Default == "" {
			return refusal.Newf("", "{{.%s}} might have no value; make the parameter required or give it a default", ref)
		}
	}
	return nil
}

func (ps Parameters) fill(given map[string]string) (map[string]string, error) {
	size := 0
	for name, value := range given {
		size += len(name) + len(value)
	}
	if size > MaxParametersBytes {
		return nil, refusal.Newf("", "parameters have %d bytes together; at most %d are accepted", size, MaxParametersBytes)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := ps[name]; !known {
			accepted := cmp.Or(strings.Join(slices.Sorted(maps.Keys(ps)), ", "), "none")
			return nil, refusal.Newf("parameters", "%q is not known; this role accepts %s", name, accepted)
		}
	}
	full := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(ps)) {
		value, known := given[name]
		if !known && !ps[name].Required && ps[name].Default == "" {
			continue
		}
		if !known {
			value = ps[name].Default
		}
		if err := ps[name].check(name, value, known); err != nil {
			return nil, refusal.In("parameters", err)
		}
		full[name] = value
	}
	return full, nil
}

func (p Parameter) check(name, value string, given bool) error {
	if !given && p.Required {
		return refusal.Newf("", "%q is required; it must match %q", name, p.Pattern)
	}
	pattern, err := text.CompileWhole(p.Pattern)
	if err == nil {
		err = text.CheckReadable(value)
	}
	if err != nil {
		return refusal.Newf("", "%q: %v", name, err)
	}
	if !pattern.MatchString(value) {
		return refusal.Newf("", "%q is %q, which does not match %q", name, value, p.Pattern)
	}
	return nil
}

// walkObject copies a JSON object, passing every string in it through the given function; where names it in errors.
func walkObject(where string, object map[string]any, change func(string) (string, error)) (map[string]any, error) {
	if object == nil {
		return nil, nil
	}
	out := make(map[string]any, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		changed, err := walk(where+"."+key, object[key], change)
		if err != nil {
			return nil, err
		}
		out[key] = changed
	}
	return out, nil
}

func walk(where string, value any, change func(string) (string, error)) (any, error) {
	switch value := value.(type) {
	case string:
		changed, err := change(value)
		return changed, refusal.In(where, err)
	case map[string]any:
		return walkObject(where, value, change)
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			changed, err := walk(fmt.Sprintf("%s[%d]", where, i), item, change)
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
