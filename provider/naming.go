package provider

import (
	"regexp"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

// typeName is the Terraform type for the engine's word.
func typeName(kind string) string { return typePrefix + "_" + strings.ReplaceAll(kind, " ", "_") }

// acceptedName is what the engine's paths take.
var acceptedName = regexp.MustCompile(`\A\w(?:[\w.-]*\w)?\z`)

// nameAttribute is the name of a definition: it is its identity, so another name is another object.
func nameAttribute(kind string) schema.StringAttribute {
	return schema.StringAttribute{
		Required:            true,
		MarkdownDescription: "Name of the " + kind + ". Another name makes another " + kind + ".",
		PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
		Validators: []validator.String{stringvalidator.RegexMatches(acceptedName,
			"it must be letters, digits, _, - and ., and begin and end with a letter, a digit or _")},
	}
}
