package grant

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/text"
)

// A template is text with references in double braces. There are no functions, no pipes and no conditions, on purpose:
// what an approver reads must be what is executed.
//
//	{{.Request.ID}}                    the request's id
//	{{.Parameters.NAME}}               a parameter of the request
//	{{.TTL}}                           the window in seconds
//	{{.Requester.EntityID}}            the requester's entity id
//	{{.Requester.Name}}                the requester's login name
//	{{.Requester.Metadata.KEY}}        a value of the entity's metadata
//	{{.Requester.Alias.MOUNT_ACCESSOR}} the requester's login name at one auth mount
var reference = regexp.MustCompile(`\{\{\s*\.([A-Za-z0-9_.-]+)\s*\}\}`)

const acceptedReferences = "{{.Request.ID}}, {{.Parameters.NAME}}, {{.TTL}}, {{.Requester.EntityID}}, {{.Requester.Name}}, " +
	"{{.Requester.Metadata.KEY}} and {{.Requester.Alias.MOUNT_ACCESSOR}}"

// pathValue is what may be substituted into a path: nothing that could add, drop or climb a segment.
var pathValue = regexp.MustCompile(`\A[A-Za-z0-9_-][A-Za-z0-9._@-]*\z`)

const acceptedInPaths = "accepted are letters, digits and ._@- (not starting with . or @)"

// listReferences lists what the template in a field refers to, and refuses anything in double braces that is no reference.
func listReferences(field, template string) ([]string, error) {
	rest := reference.ReplaceAllString(template, "")
	if strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return nil, refusal.New(field, fmt.Sprintf("%q holds something that is no reference", template), "accepted are "+acceptedReferences)
	}
	var refs []string
	for _, match := range reference.FindAllStringSubmatch(template, -1) {
		if _, known, _ := (Values{}).find(match[1]); !known {
			return nil, refusal.New(field, fmt.Sprintf("{{.%s}} is not known", match[1]), "accepted are "+acceptedReferences)
		}
		refs = append(refs, match[1])
	}
	return refs, nil
}

// find is the value that a reference stands for. known is false where no request could give it one, and lacks says why
// this one does not.
func (v Values) find(ref string) (value string, known bool, lacks string) {
	switch ref {
	case "Request.ID":
		return v.RequestID, true, ""
	case "TTL":
		return strconv.FormatInt(int64(v.TTL/time.Second), 10), true, ""
	case "Requester.EntityID":
		return v.EntityID, true, ""
	case "Requester.Name":
		return v.Name, true, ""
	}
	for _, source := range []struct {
		prefix, lacks string
		values        map[string]string
	}{
		{"Parameters.", "the parameter %q is not given", v.Parameters},
		{"Requester.Metadata.", "the requester's entity has no metadata %q", v.Metadata},
		{"Requester.Alias.", "the requester has no login at the auth mount with accessor %q", v.Aliases},
	} {
		if key, ok := strings.CutPrefix(ref, source.prefix); ok && key != "" {
			value, given := source.values[key]
			if !given {
				lacks = fmt.Sprintf(source.lacks, key)
			}
			return value, true, lacks
		}
	}
	return "", false, "it is not known"
}

// blame says which field of a request is at fault if a reference in a field of the role has no value or a bad one, and
// what to call the value then: the parameter, or else the role, which wants what its requester does not have.
func blame(field, ref string) (blamed, it string) {
	if parameter, ok := strings.CutPrefix(ref, "Parameters."); ok {
		return fieldOf(parameter), "it"
	}
	return "role", fmt.Sprintf("{{.%s}} in its %s", ref, field)
}

// substitute replaces every reference in a field of the role by its value, unless check refuses one.
func (v Values) substitute(field, template string, check func(field, ref, value string) error) (string, error) {
	var first error
	out := reference.ReplaceAllStringFunc(template, func(match string) string {
		ref := reference.FindStringSubmatch(match)[1]
		value, _, lacks := v.find(ref)
		switch blamed, it := blame(field, ref); {
		case first != nil:
		case lacks != "":
			first = refusal.Newf(blamed, "%s has no value: %s", it, lacks)
		default:
			first = check(field, ref, value)
		}
		return value
	})
	return out, first
}

func (v Values) renderPath(template string) (string, error) {
	rendered, err := v.substitute("path", template, checkPathSafe)
	if err != nil {
		return "", err
	}
	// checkPathSafe already forbids this; a path is the one place where a slip would reach another secret.
	if rendered != path.Clean(rendered) || strings.Count(rendered, "/") != strings.Count(template, "/") {
		return "", refusal.Newf("role", "its path %q would become %q, which is another path", template, rendered)
	}
	return rendered, nil
}

// checkUnambiguous is for values outside a path. A login name may have been chosen by its bearer, so it must not read as
// two, as "a,b" does in a list of SSH principals. A parameter has a pattern, and metadata is an operator's.
func checkUnambiguous(field, ref, value string) error {
	blamed, it := blame(field, ref)
	if (ref == "Requester.Name" || strings.HasPrefix(ref, "Requester.Alias.")) && !pathValue.MatchString(value) {
		return refusal.New(blamed, fmt.Sprintf("%s is %q, which could be taken for something else than one name", it, value), acceptedInPaths)
	}
	if err := text.CheckReadable(value); err != nil {
		return refusal.Newf(blamed, "%s: %v", it, err)
	}
	return nil
}

func checkPathSafe(field, ref, value string) error {
	if blamed, it := blame(field, ref); !pathValue.MatchString(value) {
		return refusal.New(blamed, fmt.Sprintf("%s is %q, which cannot be part of a path", it, value), acceptedInPaths)
	}
	return nil
}
