package approval

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A template is text with references in double braces. There are no functions, no pipes and no conditions, on purpose:
// what an approver reads must be what is executed.
//
//	{{.Parameters.NAME}}               a parameter of the request
//	{{.TTL}}                           the window in seconds
//	{{.Requester.EntityID}}            the requester's entity id
//	{{.Requester.Name}}                the requester's login name
//	{{.Requester.Metadata.KEY}}        a value of the entity's metadata
//	{{.Requester.Alias.MOUNT_ACCESSOR}} the requester's login name at one auth mount
var reference = regexp.MustCompile(`\{\{\s*\.([A-Za-z0-9_.-]+)\s*\}\}`)

const acceptedReferences = "{{.Parameters.NAME}}, {{.TTL}}, {{.Requester.EntityID}}, {{.Requester.Name}}, " +
	"{{.Requester.Metadata.KEY}} and {{.Requester.Alias.MOUNT_ACCESSOR}}"

// pathValue is what may be substituted into a path: nothing that could add, drop or climb a segment.
var pathValue = regexp.MustCompile(`\A[A-Za-z0-9_-][A-Za-z0-9._@-]*\z`)

// references lists what a template refers to, and refuses anything in double braces that is no reference.
func references(template string) ([]string, error) {
	rest := reference.ReplaceAllString(template, "")
	if strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return nil, fmt.Errorf("%q holds something that is no reference; accepted are %s", template, acceptedReferences)
	}
	var refs []string
	for _, match := range reference.FindAllStringSubmatch(template, -1) {
		ref := match[1]
		kind, key, _ := strings.Cut(strings.TrimPrefix(ref, "Requester."), ".")
		ok := ref == "TTL" || ref == "Requester.EntityID" || ref == "Requester.Name"
		if strings.HasPrefix(ref, "Requester.") {
			ok = ok || (key != "" && (kind == "Metadata" || kind == "Alias"))
		} else {
			ok = ok || (key != "" && kind == "Parameters")
		}
		if !ok {
			return nil, fmt.Errorf("{{.%s}} is not known; accepted are %s", ref, acceptedReferences)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// values is what references stand for in one request.
type values struct {
	parameters map[string]string
	ttlSeconds int64
	requester  Standing
}

func (v values) lookup(ref string) (string, error) {
	switch ref {
	case "TTL":
		return strconv.FormatInt(v.ttlSeconds, 10), nil
	case "Requester.EntityID":
		return v.requester.EntityID, nil
	case "Requester.Name":
		return v.requester.Name, nil
	}
	if name, ok := strings.CutPrefix(ref, "Parameters."); ok {
		if value, given := v.parameters[name]; given {
			return value, nil
		}
		return "", fmt.Errorf("the parameter %q is not given", name)
	}
	if key, ok := strings.CutPrefix(ref, "Requester.Metadata."); ok {
		if value, given := v.requester.Metadata[key]; given {
			return value, nil
		}
		return "", fmt.Errorf("the requester's entity has no metadata %q", key)
	}
	mount := strings.TrimPrefix(ref, "Requester.Alias.")
	for _, alias := range v.requester.Aliases {
		if alias.MountAccessor == mount {
			return alias.Name, nil
		}
	}
	return "", fmt.Errorf("the requester has no login at the auth mount with accessor %q", mount)
}

// substitute replaces every reference by its value, which check may refuse.
func (v values) substitute(template string, check func(ref, value string) error) (string, error) {
	var faults []error
	text := reference.ReplaceAllStringFunc(template, func(match string) string {
		ref := reference.FindStringSubmatch(match)[1]
		value, err := v.lookup(ref)
		if err == nil {
			err = check(ref, value)
		}
		faults = append(faults, err)
		return value
	})
	return text, errors.Join(faults...)
}

// unambiguous is for values outside a path. A login name may have been chosen by its bearer, so it must not read as two,
// as "a,b" does in a list of SSH principals. A parameter has a pattern, and metadata is an operator's.
func unambiguous(ref, value string) error {
	if (ref == "Requester.Name" || strings.HasPrefix(ref, "Requester.Alias.")) && !pathValue.MatchString(value) {
		return fmt.Errorf("{{.%s}} is %q, which could be taken for something else than one name; accepted are letters, digits and ._@- "+
			"(not starting with . or @)", ref, value)
	}
	if err := checkReadable(value); err != nil {
		return fmt.Errorf("{{.%s}}: %w", ref, err)
	}
	return nil
}

func pathSafe(ref, value string) error {
	if !pathValue.MatchString(value) {
		return fmt.Errorf("{{.%s}} is %q, which cannot be part of a path; accepted are letters, digits and ._@- (not starting with . or @)", ref, value)
	}
	return nil
}
