package engine

import (
	"github.com/hashicorp/vault/sdk/framework"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

// accept makes a path with the fields that the table accepts. A call of it is decoded by that table.
func (b *backend) accept(table wire.Table, path *framework.Path) *framework.Path {
	path.Fields = describeFields(table.Accepted())
	b.accepts[path] = table
	return path
}

// inQuery has a LIST describe its fields as query parameters.
func inQuery(path *framework.Path) *framework.Path {
	for _, field := range path.Fields {
		field.Query = true
	}
	return path
}

func describeFields(fields []wire.Field) map[string]*framework.FieldSchema {
	described := make(map[string]*framework.FieldSchema, len(fields))
	for _, field := range fields {
		described[field.Name] = describe(field)
	}
	return described
}

// describe is the row of a table in the words of Vault's framework.
func describe(f wire.Field) *framework.FieldSchema {
	described := &framework.FieldSchema{Type: frameworkTypes[f.Type], Description: f.Help(), Required: f.Required}
	if f.IsDuration() {
		described.Type = framework.TypeDurationSecond
	}
	if f.Default != nil {
		described.Default = f.DefaultValue()
	}
	if f.Sensitive {
		described.DisplayAttrs = &framework.DisplayAttributes{Sensitive: true}
	}
	if f.Type == wire.String {
		for _, word := range f.OneOf {
			described.AllowedValues = append(described.AllowedValues, word)
		}
	}
	return described
}

var frameworkTypes = map[wire.Type]framework.FieldType{
	wire.String:        framework.TypeString,
	wire.Int:           framework.TypeInt,
	wire.Bool:          framework.TypeBool,
	wire.Moment:        framework.TypeTime,
	wire.Strings:       framework.TypeCommaStringSlice,
	wire.Pairs:         framework.TypeKVPairs,
	wire.JSON:          framework.TypeMap,
	wire.Object:        framework.TypeMap,
	wire.Objects:       framework.TypeSlice,
	wire.ObjectsByName: framework.TypeMap,
}
