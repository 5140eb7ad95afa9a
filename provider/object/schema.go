package object

import (
	"regexp"

	"github.com/hashicorp/terraform-plugin-framework-jsontypes/jsontypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/listdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/mapdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/setdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Secrets are write-only arguments, each with a version that says when to send it.
const (
	secretSuffix  = "_wo"
	versionSuffix = "_wo_version"
)

// nameAttribute is what a field is called in Terraform.
func nameAttribute(f wire.Field) string {
	switch {
	case f.Sensitive:
		return f.Name + secretSuffix
	case f.Name == "depends_on": // Terraform's own word
		return "depends_on_people"
	}
	return f.Name
}

// MakeAttributes describes the fields of a table as attributes. Every optional argument of a resource has a default, the
// engine's own where it has one: then what is not configured is known at plan time, and a change made behind Terraform's
// back shows as drift.
func MakeAttributes(table wire.Table, inResource bool) map[string]schema.Attribute {
	attributes := map[string]schema.Attribute{}
	for _, f := range table.All() {
		if f.Sensitive {
			attributes[f.Name+versionSuffix] = makeVersion(f)
		}
		attributes[nameAttribute(f)] = makeAttribute(f, inResource)
	}
	return attributes
}

func makeVersion(f wire.Field) schema.Attribute {
	return schema.Int64Attribute{Optional: true, MarkdownDescription: "Change it to have `" + f.Name + secretSuffix + "` sent again.",
		Validators: []validator.Int64{int64validator.AlsoRequires(path.MatchRoot(f.Name + secretSuffix))}}
}

// makeAttribute describes one field. In a resource, optional arguments have a default.
func makeAttribute(f wire.Field, inResource bool) schema.Attribute {
	optional := !f.Required && !f.Computed
	settled := optional && inResource && !f.Sensitive
	computed := f.Computed || settled
	switch f.Type {
	case wire.Bool:
		attribute := schema.BoolAttribute{Required: f.Required, Optional: optional, Computed: computed, MarkdownDescription: describe(f)}
		if truth, ok := f.DefaultValue().(bool); ok && settled {
			attribute.Default = booldefault.StaticBool(truth)
		}
		return attribute
	case wire.Int:
		if f.IsDuration() {
			break
		}
		attribute := schema.Int64Attribute{Required: f.Required, Optional: optional, Computed: computed, MarkdownDescription: describe(f)}
		if number, ok := f.DefaultValue().(int64); ok && settled {
			attribute.Default = int64default.StaticInt64(number)
		}
		return attribute
	case wire.Strings:
		if f.Ordered {
			return schema.ListAttribute{Computed: f.Computed, ElementType: types.StringType, MarkdownDescription: describe(f)}
		}
		attribute := schema.SetAttribute{Required: f.Required, Optional: optional, Computed: computed, ElementType: types.StringType,
			MarkdownDescription: describe(f)}
		if !f.Computed {
			attribute.Validators = []validator.Set{setvalidator.NoNullValues(), setvalidator.ValueStringsAre(acceptWord(f)...)}
		}
		if settled {
			attribute.Default = setdefault.StaticValue(types.SetValueMust(types.StringType, nil))
		}
		return attribute
	case wire.Pairs:
		attribute := schema.MapAttribute{Required: f.Required, Optional: optional, Computed: computed, ElementType: types.StringType, MarkdownDescription: describe(f)}
		if settled {
			attribute.Default = mapdefault.StaticValue(types.MapValueMust(types.StringType, nil))
		}
		return attribute
	case wire.Object:
		return schema.SingleNestedAttribute{Required: f.Required, Optional: optional, Computed: computed, MarkdownDescription: describe(f),
			Attributes: MakeAttributes(*f.Of, inResource)}
	case wire.Objects:
		attribute := schema.ListNestedAttribute{Required: f.Required, Optional: optional, Computed: computed, MarkdownDescription: describe(f),
			NestedObject: schema.NestedAttributeObject{Attributes: MakeAttributes(*f.Of, inResource)}}
		if settled {
			attribute.Default = listdefault.StaticValue(types.ListValueMust(attribute.NestedObject.Type(), nil))
		}
		return attribute
	case wire.ObjectsByName:
		attribute := schema.MapNestedAttribute{Required: f.Required, Optional: optional, Computed: computed, MarkdownDescription: describe(f),
			NestedObject: schema.NestedAttributeObject{Attributes: MakeAttributes(*f.Of, inResource)}}
		if settled {
			attribute.Default = mapdefault.StaticValue(types.MapValueMust(attribute.NestedObject.Type(), nil))
		}
		return attribute
	case wire.String, wire.Moment, wire.JSON:
	}
	return makeString(f, optional, settled)
}

// makeString describes what is a string in Terraform.
func makeString(f wire.Field, optional, settled bool) schema.Attribute {
	attribute := schema.StringAttribute{Required: f.Required, Optional: optional, Computed: f.Computed || settled, MarkdownDescription: describe(f)}
	standard := f.DefaultText()
	switch {
	case f.IsDuration():
		attribute.CustomType = DurationType{}
		settled = settled && f.Default != nil
	case f.Type == wire.JSON:
		attribute.CustomType = jsontypes.NormalizedType{}
		standard = "{}"
	}
	if settled {
		attribute.Default = stringdefault.StaticString(standard)
	}
	if f.OneOf != nil && !f.Computed {
		attribute.Validators = append(attribute.Validators, stringvalidator.OneOf(f.OneOf...))
	}
	if f.Sensitive {
		attribute.Sensitive, attribute.WriteOnly = true, true
		attribute.Validators = append(attribute.Validators, stringvalidator.LengthAtLeast(1), stringvalidator.AlsoRequires(path.MatchRoot(f.Name+versionSuffix)))
	}
	return attribute
}

// describe is the description of a field for people who write Terraform: what a zero is for, null is for there.
func describe(f wire.Field) string {
	f.Zero = false
	if f.Type == wire.JSON && !f.Computed {
		f.Description += " Write it with `jsonencode`."
	}
	return f.Markdown()
}

// acceptedWord is an entry of a list that the engine takes as it is.
var acceptedWord = regexp.MustCompile(`\A\S(?:.*\S)?\z`)

func acceptWord(f wire.Field) []validator.String {
	switch {
	case f.Computed:
		return nil
	case f.OneOf != nil:
		return []validator.String{stringvalidator.OneOf(f.OneOf...)}
	}
	return []validator.String{stringvalidator.RegexMatches(acceptedWord, "must not be empty and must not have space around it")}
}
