package object

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Values are the attributes of a configuration, a plan or a state, by name.
type Values map[string]tftypes.Value

// ReadValues takes the attributes out of an object.
func ReadValues(raw tftypes.Value) Values {
	values := map[string]tftypes.Value{}
	_ = raw.As(&values) // it is an object, or null
	return values
}

// Text is the value of a string, "" if it is null or not known.
func (v Values) Text(name string) string { return readText(v[name]) }

func readText(value tftypes.Value) string {
	var text string
	if value.IsKnown() && !value.IsNull() {
		_ = value.As(&text) // the schema says that it is one
	}
	return text
}

// longestDuration is what the engine accepts at most.
const longestDuration = "36600d"

// Give returns the values of a table's fields as [wire.Table.Decode] takes them, without those that are null or not known.
func (v Values) Give(table wire.Table) map[string]any { return v.give(table, false, "") }

// give puts, if that is wanted, harmless values in place of what is not known, so that the rest can be validated by the
// engine's own code, and of what its own attribute refuses already. The suffix makes names distinct.
func (v Values) give(table wire.Table, standIns bool, suffix string) map[string]any {
	given := map[string]any{}
	for _, f := range table.Accepted() {
		value := v[nameAttribute(f)]
		switch {
		case value.IsNull():
		case standIns && (!value.IsKnown() || !isAccepted(f, value)):
			given[f.Name] = standIn(f, suffix)
		case value.IsKnown():
			given[f.Name] = giveField(f, value, standIns)
		}
	}
	return given
}

// isAccepted reports whether the attribute's own type and validators accept a value.
func isAccepted(f wire.Field, value tftypes.Value) bool {
	switch {
	case f.IsDuration():
		_, err := wire.ParseSeconds(readText(value))
		return err == nil
	case f.Type == wire.JSON:
		return json.Valid([]byte(readText(value)))
	case f.Type == wire.String && f.OneOf != nil:
		return slices.Contains(f.OneOf, readText(value))
	}
	return true
}

func standIn(f wire.Field, suffix string) any {
	switch f.Type {
	case wire.String:
		if f.OneOf != nil {
			return f.OneOf[0]
		}
		return "unknown" + suffix
	case wire.Int:
		switch {
		case f.Zero:
			return 0
		case f.IsDuration():
			return longestDuration
		case f.Default == nil:
			return 1
		}
	case wire.Strings:
		return []any{"unknown"}
	case wire.Objects:
		return []any{standInObject(*f.Of, suffix)}
	case wire.Bool, wire.Moment, wire.Pairs, wire.JSON, wire.Object, wire.ObjectsByName:
	}
	return f.DefaultValue()
}

func standInObject(table wire.Table, suffix string) map[string]any {
	object := map[string]any{}
	for _, f := range table.Accepted() {
		object[f.Name] = standIn(f, suffix)
	}
	return object
}

func giveField(f wire.Field, value tftypes.Value, standIns bool) any {
	switch f.Type {
	case wire.Bool:
		var truth bool
		_ = value.As(&truth)
		return truth
	case wire.Int:
		if f.IsDuration() {
			break
		}
		var number big.Float
		_ = value.As(&number)
		whole, _ := number.Int64()
		return whole
	case wire.Strings:
		return giveWords(f, value, standIns)
	case wire.Objects:
		list := []any{}
		for i, element := range readElements(value) {
			suffix := fmt.Sprintf("-%d", i)
			if !element.IsKnown() && standIns {
				list = append(list, standInObject(*f.Of, suffix))
				continue
			}
			list = append(list, ReadValues(element).give(*f.Of, standIns, suffix))
		}
		return list
	case wire.ObjectsByName:
		byName := map[string]any{}
		for name, element := range ReadValues(value) {
			byName[name] = ReadValues(element).give(*f.Of, standIns, "")
		}
		return byName
	case wire.Pairs:
		pairs := map[string]any{}
		for name, element := range ReadValues(value) {
			if element.IsKnown() && !element.IsNull() { // null is what is not given
				pairs[name] = readText(element)
			}
		}
		return pairs
	case wire.String, wire.Moment, wire.JSON, wire.Object:
	}
	return readText(value)
}

func readElements(value tftypes.Value) []tftypes.Value {
	var elements []tftypes.Value
	_ = value.As(&elements) // the schema says that it is a list or a set
	return elements
}

func giveWords(f wire.Field, value tftypes.Value, standIns bool) []any {
	words := []any{}
	for i, element := range readElements(value) {
		text := readText(element)
		switch {
		case standIns && (!element.IsKnown() || !acceptedWord.MatchString(text)) && f.OneOf == nil:
			words = append(words, fmt.Sprintf("unknown-%d", i))
		case element.IsKnown():
			words = append(words, text)
		}
	}
	return words
}

// show is a value of the API as Terraform has it. What the API does not know is its type's zero value.
func show(f wire.Field, of tftypes.Type, value any) tftypes.Value {
	if value == nil {
		value = f.DefaultValue()
	}
	switch f.Type {
	case wire.Bool:
		truth, _ := value.(bool)
		return tftypes.NewValue(of, truth)
	case wire.Int:
		if f.IsDuration() {
			return tftypes.NewValue(of, wire.Seconds(readNumber(value)).String())
		}
		return tftypes.NewValue(of, readNumber(value))
	case wire.JSON:
		text, _ := json.Marshal(value) //nolint:errchkjson // it came as JSON
		return tftypes.NewValue(of, string(text))
	case wire.Strings, wire.Objects:
		return showList(f, of, value)
	case wire.Pairs, wire.ObjectsByName:
		return showMap(f, of, value)
	case wire.Object:
		object, ok := value.(map[string]any)
		if !ok {
			return tftypes.NewValue(of, nil)
		}
		return showObject(*f.Of, of, object)
	case wire.String, wire.Moment:
	}
	text, _ := value.(string)
	return tftypes.NewValue(of, text)
}

func readNumber(value any) int64 {
	switch value := value.(type) {
	case json.Number:
		number, _ := value.Int64()
		return number
	case float64:
		return int64(value)
	case int64:
		return value
	}
	return 0
}

// showElement is what is in a list or a map of a field's.
func showElement(f wire.Field, of tftypes.Type, value any) tftypes.Value {
	if f.Of == nil {
		return show(wire.Field{Type: wire.String}, of, value)
	}
	object, _ := value.(map[string]any)
	return showObject(*f.Of, of, object)
}

func showList(f wire.Field, of tftypes.Type, value any) tftypes.Value {
	var elementType tftypes.Type
	switch of := of.(type) {
	case tftypes.Set:
		elementType = of.ElementType
	case tftypes.List:
		elementType = of.ElementType
	}
	list, _ := value.([]any)
	elements := []tftypes.Value{}
	for _, item := range list {
		elements = append(elements, showElement(f, elementType, item))
	}
	return tftypes.NewValue(of, elements)
}

func showMap(f wire.Field, of tftypes.Type, value any) tftypes.Value {
	typed, _ := of.(tftypes.Map)
	object, _ := value.(map[string]any)
	elements := map[string]tftypes.Value{}
	for name, item := range object {
		elements[name] = showElement(f, typed.ElementType, item)
	}
	return tftypes.NewValue(of, elements)
}

func showObject(table wire.Table, of tftypes.Type, object map[string]any) tftypes.Value {
	typed, _ := of.(tftypes.Object)
	return tftypes.NewValue(of, map[string]tftypes.Value(showFields(table, typed, object)))
}

// Show is what the API answered of a table's fields, for the given schema.
func Show(ctx context.Context, table wire.Table, schema attr.Type, answer map[string]any) Values {
	return showFields(table, findType(ctx, schema), answer)
}

// Raw is the values as an object of the given schema.
func (v Values) Raw(ctx context.Context, schema attr.Type) tftypes.Value {
	return tftypes.NewValue(findType(ctx, schema), map[string]tftypes.Value(v))
}

// showFields shows the fields of a table that the API answers.
func showFields(table wire.Table, of tftypes.Object, object map[string]any) Values {
	shown := Values{}
	for _, f := range table.Answered() {
		name := nameAttribute(f)
		shown[name] = show(f, of.AttributeTypes[name], object[f.Name])
	}
	return shown
}
