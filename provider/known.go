package provider

import (
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// At plan time not everything is known. What follows gives harmless values in place of the unknown, so that the rest of
// a configuration can be validated by the engine's own code; at the apply everything is known.

// text is the value, or a stand-in for one that is not known.
func text(value types.String) string {
	if value.IsUnknown() {
		return "unknown"
	}
	return value.ValueString()
}

// textOr is the value, or the stand-in for one that is absent or not known.
func textOr(value types.String, otherwise string) string {
	if value.IsNull() || value.IsUnknown() {
		return otherwise
	}
	return value.ValueString()
}

// number is the value, or the stand-in for one that is absent or not known.
func number(value types.Int64, otherwise int) int {
	if value.IsNull() || value.IsUnknown() {
		return otherwise
	}
	return int(value.ValueInt64())
}

// truth is the value, or the stand-in for one that is absent or not known.
func truth(value types.Bool, otherwise bool) bool {
	if value.IsNull() || value.IsUnknown() {
		return otherwise
	}
	return value.ValueBool()
}

// texts are a set's elements, with a different stand-in for each that is not known.
func texts(set types.Set) []string {
	if set.IsUnknown() {
		return []string{"unknown"}
	}
	all := []string{}
	for i, element := range set.Elements() {
		value, ok := element.(types.String)
		switch {
		case !ok || value.IsUnknown():
			all = append(all, fmt.Sprintf("unknown-%d", i))
		default:
			all = append(all, value.ValueString())
		}
	}
	return all
}

// set is a set of strings.
func set(values []string) types.Set {
	elements := make([]attr.Value, len(values))
	for i, value := range values {
		elements[i] = types.StringValue(value)
	}
	return types.SetValueMust(types.StringType, elements)
}
