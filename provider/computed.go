package provider

import (
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	resourceschema "github.com/hashicorp/terraform-plugin-framework/resource/schema"
)

// computed turns a resource's arguments into what a data source answers, so that each is described in one place.
func computed(arguments map[string]resourceschema.Attribute) map[string]schema.Attribute {
	attributes := make(map[string]schema.Attribute, len(arguments))
	for name, argument := range arguments {
		attributes[name] = answered(argument)
	}
	return attributes
}

func answered(argument resourceschema.Attribute) schema.Attribute {
	// What is read has no defaults.
	description, _, _ := strings.Cut(argument.GetMarkdownDescription(), " Default: ")
	switch a := argument.(type) {
	case resourceschema.StringAttribute:
		return schema.StringAttribute{Computed: true, CustomType: a.CustomType, MarkdownDescription: description}
	case resourceschema.BoolAttribute:
		return schema.BoolAttribute{Computed: true, MarkdownDescription: description}
	case resourceschema.Int64Attribute:
		return schema.Int64Attribute{Computed: true, MarkdownDescription: description}
	case resourceschema.SetAttribute:
		return schema.SetAttribute{Computed: true, ElementType: a.ElementType, MarkdownDescription: description}
	case resourceschema.ListNestedAttribute:
		return schema.ListNestedAttribute{Computed: true, MarkdownDescription: description,
			NestedObject: schema.NestedAttributeObject{Attributes: computed(a.NestedObject.Attributes)}}
	case resourceschema.MapNestedAttribute:
		return schema.MapNestedAttribute{Computed: true, MarkdownDescription: description,
			NestedObject: schema.NestedAttributeObject{Attributes: computed(a.NestedObject.Attributes)}}
	}
	panic(fmt.Sprintf("provider: no data source attribute for %T", argument))
}
