package grant

import (
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

// listReferences lists what a template refers to, and refuses anything in double braces that is no reference.
func listReferences(template string) ([]string, error) {
	rest := reference.ReplaceAllString(template, "")
	if strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return nil, refusal.Newf("", "%q holds something that is no reference; accepted are %s", template, acceptedReferences)
	}
	var refs []string
	for _, match := range reference.FindAllStringSubmatch(template, -1) {
		if _, known, err := (Values{}).find(match[1]); !known {
			return nil, err
		}
		refs = append(refs, match[1])
	}
	return refs, nil
}

// find is the value that a reference stands for; known is false where no request could give it one.
func (v Values) find(ref string) (value string, known bool, err error) {
	switch ref {
	case "Request.ID":
		return v.RequestID, true, nil
	case "TTL":
		return strconv.FormatInt(int64(v.TTL/time.Second), 10), true, nil
	case "Requester.EntityID":
		return v.EntityID, true, nil
	case "Requester.Name":
		return v.Name, true, nil
	}
	for _, source := range []struct {
		prefix, problem string
		values          map[string]string
	}{
		{"Parameters.", "the parameter %q is not given", v.Parameters},
		{"Requester.Metadata.", "the requester's entity has no metadata %q", v.Metadata},
		{"Requester.Alias.", "the requester has no login at the auth mount with accessor %q", v.Aliases},
	} {
		if key, ok := strings.CutPrefix(ref, source.prefix); ok && key != "" {
			value, given := source.values[key]
			if !given {
				err = refusal.Newf("", source.problem, key)
			}
			return value, true, err
		}
	}
	return "", false, refusal.Newf("", "{{.%s}} is not known; accepted are %s", ref, acceptedReferences)
}

// substitute replaces every reference by its value, unless check refuses one.
func (v Values) substitute(template string, check func(ref, value string) error) (string, error) {
	var first error
	out := reference.ReplaceAllStringFunc(template, func(match string) string {
		ref := reference.FindStringSubmatch(match)[1]
		value, _, err := v.find(ref)
		if err == nil {
			err = check(ref, value)
		}
		if first == nil {
			first = err
		}
		return value
	})
	return out, first
}

func (v Values) renderPath(template string) (string, error) {
	rendered, err := v.substitute(template, checkPathSafe)
	if err != nil {
		return "", err
	}
	// checkPathSafe already forbids this; a path is the one place where a slip would reach another secret.
	if rendered != path.Clean(rendered) || strings.Count(rendered, "/") != strings.Count(template, "/") {
		return "", refusal.Newf("", "%q would become %q, which is another path", template, rendered)
	}
	return rendered, nil
}

// checkUnambiguous is for values outside a path. A login name may have been chosen by its bearer, so it must not read as
// two, as "a,b" does in a list of SSH principals. A parameter has a pattern, and metadata is an operator's.
func checkUnambiguous(ref, value string) error {
	if (ref == "Requester.Name" || strings.HasPrefix(ref, "Requester.Alias.")) && !pathValue.MatchString(value) {
		return refusal.Newf("", "{{.%s}} is %q, which could be taken for something else than one name; accepted are letters, digits and ._@- "+
			"(not starting with . or @)", ref, value)
	}
	if err := text.CheckReadable(value); err != nil {
		return refusal.Newf("", "{{.%s}}: %v", ref, err)
	}
	return nil
}

func checkPathSafe(ref, value string) error {
	if !pathValue.MatchString(value) {
		return refusal.Newf("", "{{.%s}} is %q, which cannot be part of a path; accepted are letters, digits and ._@- (not starting with . or @)", ref, value)
	}
	return nil
}
