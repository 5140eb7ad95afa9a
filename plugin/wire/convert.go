package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// Merge is a value of the core with the given fields of the table in place of its own. The core's type has the names of
// the table in its JSON; given holds values that [Table.Decode] accepted.
func Merge[T any](table Table, value T, given map[string]any) (T, error) {
	object, err := Encode(value)
	if err != nil {
		return value, err
	}
	table.mergeInto(object, given)
	return fromObject[T](object)
}

// Define is a definition of the core with the given fields: the current one with these in place of its own, or a new
// one, if current is nil, with the defaults for all others.
func Define[T any](table Table, name string, current *T, given map[string]any) (T, error) {
	if current == nil {
		current, given = new(T), table.complete(given)
	}
	object, err := Encode(*current)
	if err != nil {
		return *current, err
	}
	table.mergeInto(object, given)
	object["name"] = name
	return fromObject[T](object)
}

// complete is what was given, and the defaults.
func (t Table) complete(given map[string]any) map[string]any {
	whole := t.Defaults()
	maps.Copy(whole, given)
	return whole
}

func (t Table) mergeInto(object, given map[string]any) {
	for _, f := range t.Accepted() {
		if value, ok := given[f.Name]; ok {
			object[f.Name] = f.toCore(value)
		}
	}
}

// Show is a value of the core as the table's fields show it, the sensitive ones left out. What the core leaves out of its
// JSON is shown as the zero value of its type.
func Show(table Table, value any) (map[string]any, error) {
	object, err := Encode(value)
	if err != nil {
		return nil, err
	}
	return table.show(object), nil
}

func (t Table) show(object map[string]any) map[string]any {
	shown := map[string]any{}
	for _, f := range t.Answered() {
		shown[f.Name] = f.toWire(object[f.Name])
	}
	return shown
}

// Summarise is what a detailed list shows of an object that [Show] showed.
func (t Table) Summarise(shown map[string]any) map[string]any {
	summary := map[string]any{}
	for _, f := range t.All() {
		if !f.Listed {
			continue
		}
		summary[f.Name] = shown[f.Name]
		switch list := shown[f.Name].(type) {
		case []any:
			summary[f.Name] = len(list)
		case []string:
			summary[f.Name] = len(list)
		}
	}
	return summary
}

// EncodeWhole is what a client sends of an object, so that the engine has exactly that: every accepted field. A sensitive one
// is sent only if it has a value, because an answer never gives it back.
func EncodeWhole(table Table, value any) (map[string]any, error) {
	object, err := Encode(value)
	if err != nil {
		return nil, err
	}
	whole := map[string]any{}
	for _, f := range table.Accepted() {
		sent, there := object[f.Name]
		if !there || sent == nil {
			sent = f.DefaultValue()
		}
		if f.Sensitive && sent == "" {
			continue
		}
		whole[f.Name] = f.part(sent)
	}
	return whole, nil
}

// part leaves out of the objects that a field holds what is only answered.
func (f Field) part(value any) any {
	return f.each(value, func(of Table, object map[string]any) any {
		accepted := map[string]any{}
		for _, inner := range of.Accepted() {
			if value, there := object[inner.Name]; there {
				accepted[inner.Name] = inner.part(value)
			}
		}
		return accepted
	})
}

// Read fills a generated struct, or whatever else has the API's field names, from an answer. Fields that this release
// does not know are left out.
func Read[T any](values map[string]any) (T, error) {
	var read T
	text, err := json.Marshal(values)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		return read, fmt.Errorf("the engine's answer is not understood, its version may not fit this one's: %w", err)
	}
	return read, nil
}

// each applies a function to every object that a field holds.
func (f Field) each(value any, convert func(of Table, object map[string]any) any) any {
	if f.Of == nil {
		return value
	}
	switch value := value.(type) {
	case map[string]any:
		if f.Type == Object {
			return convert(*f.Of, value)
		}
		converted := make(map[string]any, len(value))
		for name, item := range value {
			object, _ := item.(map[string]any)
			converted[name] = convert(*f.Of, object)
		}
		return converted
	case []any:
		converted := make([]any, len(value))
		for i, item := range value {
			object, _ := item.(map[string]any)
			converted[i] = convert(*f.Of, object)
		}
		return converted
	}
	return value
}

// toCore is a value of the wire as the core has it.
func (f Field) toCore(value any) any {
	if seconds, ok := asInt(value); ok && f.IsDuration() {
		return int64(Seconds(seconds).Duration())
	}
	return f.each(value, func(of Table, object map[string]any) any {
		inner := map[string]any{}
		of.mergeInto(inner, object)
		return inner
	})
}

// toWire is a value of the core as it travels.
func (f Field) toWire(value any) any {
	if value == nil {
		return Field{Type: f.Type}.DefaultValue()
	}
	switch f.Type {
	case Int:
		number, _ := asInt(value)
		if f.IsDuration() {
			number = int64(ToSeconds(time.Duration(number)))
		}
		return number
	case Moment:
		written, _ := value.(string)
		read, _ := time.Parse(time.RFC3339Nano, written)
		return Time{read}.String()
	case Object, Objects, ObjectsByName:
		return f.each(value, func(of Table, object map[string]any) any { return of.show(object) })
	case String, Bool, Strings, Pairs, JSON:
	}
	return value
}

func asInt(value any) (int64, bool) {
	switch value := value.(type) {
	case json.Number:
		number, err := value.Int64()
		return number, err == nil
	case int64:
		return value, true
	case int:
		return int64(value), true
	}
	return 0, false
}

// Encode gives the fields of a struct by name, as its JSON has them. Numbers keep their digits.
func Encode(value any) (map[string]any, error) {
	if object, ok := value.(map[string]any); ok {
		return maps.Clone(object), nil
	}
	var object map[string]any
	return object, recode(value, &object)
}

// recode fills into with what the JSON of a value has. Numbers keep their digits: what approvers see is what is executed.
func recode(value, into any) error {
	text, err := json.Marshal(value)
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		err = decoder.Decode(into)
	}
	if err != nil {
		return fmt.Errorf("recoding a %T: %w", value, err)
	}
	return nil
}

// fromObject is a value of the core out of its JSON.
func fromObject[T any](object map[string]any) (T, error) {
	var value T
	text, err := json.Marshal(object)
	if err == nil {
		value, err = grant.DecodeStrictly[T](text)
	}
	if err != nil {
		return value, fmt.Errorf("decoding a %T: %w", value, err)
	}
	return value, nil
}
