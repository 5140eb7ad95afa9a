package provider

import (
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Every optional argument has a default here, the engine's own where it has one: then what is not configured is known
// at plan time, and a change made behind Terraform's back shows as drift.

// textAttribute is an optional string, empty by default.
func textAttribute(description string) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString(""), MarkdownDescription: description}
}

// descriptionAttribute is what a definition says of itself.
func descriptionAttribute(description string) schema.StringAttribute {
	return textAttribute(description)
}

var id = regexp.MustCompile(`\A\S+\z`)

// idsAttribute is an optional set of ids, empty by default.
func idsAttribute(description string) schema.SetAttribute {
	return schema.SetAttribute{
		Optional: true, Computed: true, ElementType: types.StringType, Default: setdefault.StaticValue(set(nil)), MarkdownDescription: description,
		Validators: []validator.Set{setvalidator.ValueStringsAre(stringvalidator.RegexMatches(id, "an id is not empty and has no spaces"))},
	}
}

// truthAttribute is an optional truth value.
func truthAttribute(otherwise bool, description string) schema.BoolAttribute {
	return schema.BoolAttribute{Optional: true, Computed: true, Default: booldefault.StaticBool(otherwise), MarkdownDescription: description}
}

// numberAttribute is an optional whole number.
func numberAttribute(otherwise int64, description string) schema.Int64Attribute {
	return schema.Int64Attribute{Optional: true, Computed: true, Default: int64default.StaticInt64(otherwise), MarkdownDescription: description}
}

// durationAttribute is an optional duration, in whole seconds or as 1h.
func durationAttribute(otherwise, description string) schema.StringAttribute {
	attribute := schema.StringAttribute{
		Optional: true, Computed: true, CustomType: durationType{}, MarkdownDescription: description,
		PlanModifiers: []planmodifier.String{sameDuration{}},
	}
	if otherwise != "" {
		attribute.Default = stringdefault.StaticString(otherwise)
	}
	return attribute
}
