package grant

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
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
		return refusal.New("operation", fmt.Sprintf("it is %q", string(s.Operation)), fmt.Sprintf("accepted are %q and %q", string(Read), string(Write)))
	}
	if s.Operation == Read && len(s.Data) > 0 {
		return refusal.New("data", fmt.Sprintf("it is given, but operation is %q, which sends none", string(Read)),
			fmt.Sprintf("leave it out, or let operation be %q", string(Write)))
	}
	if err := checkGrantPolicies(s.GrantPolicies); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		if err := s.Parameters[name].validate(name); err != nil {
			return err
		}
	}
	if err := s.validatePath(); err != nil {
		return err
	}
	_, err := walkObject("data", s.Data, func(field, template string) (string, error) {
		return template, s.Parameters.checkTemplate(field, template)
	})
	return err
}

// fieldOf is what a parameter is called in a refusal.
func fieldOf(parameter string) string { return refusal.Join("parameters", strconv.Quote(parameter)) }

func checkGrantPolicies(policies []string) error {
	if len(policies) == 0 {
		return refusal.New("grant_policies", "it is empty, and a grant token asked for without policies would get every policy of its token role",
			"name at least one policy")
	}
	for i, policy := range policies {
		field := fmt.Sprintf("grant_policies[%d]", i)
		switch {
		case policy == "" || policy != strings.ToLower(strings.TrimSpace(policy)):
			return refusal.New(field, fmt.Sprintf("it is %q, which is not a policy name", policy), "accepted is lower case, without surrounding space")
		case policy == "root" || policy == "default":
			return refusal.Newf(field, "it is %q, which a grant may not have", policy)
		case slices.Contains(policies[:i], policy):
			return refusal.Newf(field, "it is %q, which is there twice", policy)
		}
	}
	return nil
}

func (p Parameter) validate(name string) error {
	field := fieldOf(name)
	if !parameterName.MatchString(name) {
		return refusal.New(field, "it is not a parameter's name", "accepted are 1 to 64 letters, digits, _ and -")
	}
	if p.Pattern == "" {
		return refusal.New(field+".pattern", "it is empty", "every parameter needs one")
	}
	pattern, err := text.CompileWhole(p.Pattern)
	if err != nil {
		return refusal.In(field+".pattern", err)
	}
	if p.Default != "" && p.Required {
		return refusal.New(field+".default", "it is given, but the parameter is required", "choose one")
	}
	if err := text.CheckReadable(p.Default); err != nil {
		return refusal.In(field+".default", err)
	}
	if p.Default != "" && !pattern.MatchString(p.Default) {
		return refusal.Newf(field+".default", "it is %q, which does not match the pattern %q", p.Default, p.Pattern)
	}
	return nil
}

func (s Secret) validatePath() error {
	if err := s.Parameters.checkTemplate("path", s.Path); err != nil {
		return err
	}
	plain := reference.ReplaceAllString(s.Path, "x")
	if plain != path.Clean(plain) || strings.HasPrefix(plain, "/") || strings.HasPrefix(plain, "..") || plain == "." {
		return refusal.New("path", fmt.Sprintf("%q is not a clean path", s.Path),
			"accepted is, for example, database/creds/readonly, without a leading or trailing slash and without empty, . or .. segments")
	}
	for _, segment := range strings.Split(plain, "/") {
		if !pathSegment.MatchString(segment) {
			return refusal.New("path", fmt.Sprintf("the segment %q of %q has characters that are not accepted", segment, s.Path),
				"accepted are letters, digits and _.@:=+~,-")
		}
	}
	return nil
}

// checkTemplate refuses references to parameters that do not exist or might have no value; field is where the template is.
func (ps Parameters) checkTemplate(field, template string) error {
	refs, err := listReferences(field, template)
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
			return refusal.Newf(field, "{{.%s}} names a parameter that the role does not have", ref)
		}
		if !parameter.Required && parameter.Default == "" {
			return refusal.New(field, fmt.Sprintf("{{.%s}} might have no value", ref), "make the parameter required or give it a default")
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
		return nil, refusal.New("parameters", fmt.Sprintf("they have %d bytes together", size), fmt.Sprintf("at most %d are accepted", MaxParametersBytes))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := ps[name]; !known {
			accepted := cmp.Or(strings.Join(slices.Sorted(maps.Keys(ps)), ", "), "none")
			return nil, refusal.New(fieldOf(name), "there is no such parameter", "this role accepts "+accepted)
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
			return nil, err
		}
		full[name] = value
	}
	return full, nil
}

func (p Parameter) check(name, value string, given bool) error {
	if !given && p.Required {
		return refusal.New(fieldOf(name), "it is required", fmt.Sprintf("it must match %q", p.Pattern))
	}
	pattern, err := text.CompileWhole(p.Pattern)
	if err == nil {
		err = text.CheckReadable(value)
	}
	if err != nil {
		return refusal.In(fieldOf(name), err)
	}
	if !pattern.MatchString(value) {
		return refusal.Newf(fieldOf(name), "it is %q, which does not match %q", value, p.Pattern)
	}
	return nil
}

// walkObject copies a JSON object, passing every string in it through the given function, with the name of its field.
func walkObject(field string, object map[string]any, change func(field, value string) (string, error)) (map[string]any, error) {
	if object == nil {
		return nil, nil
	}
	out := make(map[string]any, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		changed, err := walk(refusal.Join(field, strconv.Quote(key)), object[key], change)
		if err != nil {
			return nil, err
		}
		out[key] = changed
	}
	return out, nil
}

func walk(field string, value any, change func(field, value string) (string, error)) (any, error) {
	switch value := value.(type) {
	case string:
		return change(field, value)
	case map[string]any:
		return walkObject(field, value, change)
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			changed, err := walk(fmt.Sprintf("%s[%d]", field, i), item, change)
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
