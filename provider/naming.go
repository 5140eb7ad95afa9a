package provider

import (
	"context"
	"regexp"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	plaintext "github.com/vault-jit/vault-jit/plugin/text"
)

// typeName is the Terraform type for the engine's word.
func typeName(kind string) string { return typePrefix + "_" + strings.ReplaceAll(kind, " ", "_") }

// acceptedName is what the engine's paths take.
var acceptedName = regexp.MustCompile(`\A\w(?:[\w.-]*\w)?\z`)

// namesDefinition accepts what can be the name of a definition. Anything else might be another path.
func namesDefinition() validator.String {
	return stringvalidator.RegexMatches(acceptedName, namesAre)
}

const namesAre = "it must be letters, digits, _, - and ., and begin and end with a letter, a digit or _"

// requestID accepts what can be the id of a request. Anything else might be another path.
type requestID struct{}

var _ validator.String = requestID{}

func (requestID) Description(context.Context) string { return "It must be the id of a request." }

func (r requestID) MarkdownDescription(ctx context.Context) string { return r.Description(ctx) }

func (requestID) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if err := plaintext.CheckRequestID(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Not the id of a request", err.Error())
	}
}

// nameAttribute is the name of a definition: it is its identity, so another name is another object.
func nameAttribute(kind string) schema.StringAttribute {
	return schema.StringAttribute{
		Required:            true,
		MarkdownDescription: "Name of the " + kind + ". Another name makes another " + kind + ".",
		PlanModifiers:       []planmodifier.String{stringplanmodifier.RequiresReplace()},
		Validators:          []validator.String{namesDefinition()},
	}
}
