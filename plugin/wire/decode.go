package wire

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-secure-stdlib/parseutil"

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// Decode checks what a caller gave, as it came in JSON or from the command line, and returns each value in the one form
// that the rest of the engine takes: string, int64 (durations in seconds), bool, []string, map[string]string,
// map[string]any or []any. It refuses unknown fields, and values that do not mean exactly one thing.
func (t Table) Decode(given map[string]any) (map[string]any, error) {
	accepted := t.Accepted()
	decoded := make(map[string]any, len(given))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(accepted, func(f Field) bool { return f.Name == name })
		if i < 0 {
			return nil, refusal.New(refusal.Join("", quoteShort(name)), "unknown field", listNames(accepted))
		}
		value, err := accepted[i].decode(given[name])
		if err != nil {
			return nil, refusal.In(name, err)
		}
		decoded[name] = value
	}
	return decoded, nil
}

func listNames(fields []Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "no field is accepted here"
	}
	return "accepted are " + strings.Join(names, ", ")
}

// decode never quotes what is sensitive.
func (f Field) decode(value any) (any, error) {
	if _, isText := value.(string); f.Sensitive && !isText {
		return nil, refusal.New("", "the value is not accepted", "it must be a string")
	}
	switch f.Type {
	case String:
		return f.decodeString(value)
	case Int:
		if f.IsDuration() {
			return f.decodeSeconds(value)
		}
		return decodeInt(value)
	case Bool:
		return decodeBool(value)
	case Strings:
		return f.decodeWords(value)
	case Pairs:
		return decodePairs(value)
	case JSON:
		return decodeStructured[map[string]any](value, "a JSON object")
	case Objects:
		list, err := decodeStructured[[]any](value, "a JSON list of objects")
		if err != nil {
			return nil, err
		}
		return f.Of.decodeList(list)
	case ObjectsByName:
		objects, err := decodeStructured[map[string]any](value, "a JSON object of objects")
		if err != nil {
			return nil, err
		}
		return f.Of.decodeByName(objects)
	case Moment, Object:
	}
	return nil, fmt.Errorf("field %s cannot be given", f.Name)
}

func (t Table) decodeObject(value any) (map[string]any, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return nil, refuseValue(value, "it must be a JSON object; "+listNames(t.Accepted()))
	}
	return t.Decode(object)
}

func (t Table) decodeList(list []any) ([]any, error) {
	decoded := make([]any, len(list))
	for i, item := range list {
		object, err := t.decodeObject(item)
		if err != nil {
			return nil, refusal.In(fmt.Sprintf("[%d]", i), err)
		}
		decoded[i] = object
	}
	return decoded, nil
}

func (t Table) decodeByName(objects map[string]any) (map[string]any, error) {
	decoded := make(map[string]any, len(objects))
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		object, err := t.decodeObject(objects[name])
		if err != nil {
			return nil, refusal.In(quoteShort(name), err)
		}
		decoded[name] = object
	}
	return decoded, nil
}

func refuseValue(value any, advice string) error {
	return refusal.New("", quoteShort(value)+" is not accepted", advice)
}

func (f Field) decodeString(value any) (string, error) {
	text, ok := value.(string)
	if !ok {
		return "", refuseValue(value, "it must be a string")
	}
	return text, f.checkOneOf(text)
}

func (f Field) checkOneOf(word string) error {
	if f.OneOf == nil || slices.Contains(f.OneOf, word) {
		return nil
	}
	return refuseValue(word, "accepted are "+strings.Join(f.OneOf, ", "))
}

func decodeBool(value any) (bool, error) {
	switch value {
	case true, "true":
		return true, nil
	case false, "false":
		return false, nil
	}
	return false, refuseValue(value, "it must be true or false")
}

func decodeInt(value any) (int64, error) {
	n, err := strconv.ParseInt(formatNumeral(value), 10, 32)
	if err != nil {
		return 0, refuseValue(value, "it must be a whole number")
	}
	return n, nil
}

// formatNumeral is a number as it was written: over gRPC a plugin gets numbers as float64, elsewhere as json.Number.
// "" for anything that is no number and no string.
func formatNumeral(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case int:
		return strconv.Itoa(value)
	case int64:
		return strconv.FormatInt(value, 10)
	}
	return ""
}

func (f Field) decodeSeconds(value any) (int64, error) {
	numeral := formatNumeral(value)
	if zero, err := parseutil.ParseDurationSecond(numeral); f.Zero && err == nil && zero == 0 && numeral != "" {
		return 0, nil
	}
	seconds, err := ParseSeconds(numeral)
	if err != nil {
		return 0, refuseValue(value, "it must be whole seconds from 1, such as 3600 or 1h")
	}
	return int64(seconds), nil
}

// maxWords bounds a list: more would not fit into one record of Raft's storage.
const maxWords = 10_000

// decodeWords accepts a list of strings, or one string with commas.
func (f Field) decodeWords(value any) ([]string, error) {
	words := []string{}
	switch value := value.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(value), "[") {
			list, err := decodeStructured[[]any](value, "a list of strings")
			if err != nil {
				return nil, err
			}
			return f.decodeWords(list)
		}
		if strings.TrimSpace(value) != "" {
			words = strings.Split(value, ",")
		}
	case []string:
		words = append(words, value...)
	case []any:
		for i, item := range value {
			word, ok := item.(string)
			if !ok {
				return nil, refusal.In(fmt.Sprintf("[%d]", i), refuseValue(item, "it must be a string"))
			}
			words = append(words, word)
		}
	default:
		return nil, refuseValue(value, "it must be a list of strings")
	}
	if len(words) > maxWords {
		return nil, refusal.New("", fmt.Sprintf("it has %d entries", len(words)), fmt.Sprintf("at most %d are accepted", maxWords))
	}
	return words, f.checkWords(words)
}

// checkWords takes the space around the words away, and refuses one that is empty, there twice, or not accepted.
func (f Field) checkWords(words []string) error {
	seen := make(map[string]bool, len(words))
	for i, word := range words {
		word = strings.TrimSpace(word)
		words[i] = word
		err := f.checkOneOf(word)
		switch {
		case word == "":
			err = refusal.New("", "it is empty", "")
		case seen[word]:
			err = refusal.New("", quoteShort(word)+" is there twice", "")
		}
		if err != nil {
			return refusal.In(fmt.Sprintf("[%d]", i), err)
		}
		seen[word] = true
	}
	return nil
}

const quotedBytes = 64

// quoteShort puts a value that was refused into a message, shortened.
func quoteShort(value any) string {
	text := fmt.Sprint(value)
	if value == nil {
		text = "null"
	}
	if len(text) <= quotedBytes {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:quotedBytes], "")) + "…"
}
