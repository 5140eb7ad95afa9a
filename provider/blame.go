package provider

import (
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
)

// The engine begins a refusal with what it is about: `policy "prod": rule "dba": approvals is 0; …`.
var (
	subjectOf = regexp.MustCompile(`^(?:policy|role|approver group) "[^"]*"(?: could never be met)?: `)
	aboutRule = regexp.MustCompile(`^(?:rule "|rules\b)`)
	noPolicy  = regexp.MustCompile(`^there is no policy `)
	firstWord = regexp.MustCompile(`^[a-z_]+`)
)

// blame reports an error at the argument that it is about, if it tells. It goes no deeper than the argument: Terraform
// quotes the line of an argument, but the head of the resource for anything inside one.
func blame(diags *diag.Diagnostics, summary string, err error, attributes map[string]schema.Attribute) {
	if name, found := argument(subjectOf.ReplaceAllString(err.Error(), ""), attributes); found {
		diags.AddAttributeError(path.Root(name), summary, err.Error())
		return
	}
	diags.AddError(summary, err.Error())
}

func argument(message string, attributes map[string]schema.Attribute) (string, bool) {
	name := firstWord.FindString(message)
	switch {
	case aboutRule.MatchString(message):
		name = "rules"
	case noPolicy.MatchString(message):
		name = "policy"
	}
	for _, candidate := range []string{name, name + "_wo"} {
		if _, known := attributes[candidate]; known {
			return candidate, true
		}
	}
	return "", false
}
