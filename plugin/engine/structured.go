package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// decodeStructured accepts a native JSON value or a string that holds one.
func decodeStructured[T any](value any, what string) (T, error) {
	var out T
	if text, ok := value.(string); ok {
		decoded, err := decodeJSON(text)
		if err != nil {
			return out, fmt.Errorf("it must be %s: %w", what, err)
		}
		value = decoded
	}
	out, ok := value.(T)
	if !ok {
		return out, fmt.Errorf("%s is not accepted; it must be %s", quoteShort(value), what)
	}
	return out, checkExact(value)
}

// maxExact is up to where every whole number is a float64, which is how Vault hands the numbers of JSON to a plugin.
const maxExact = 1 << 53

// checkExact refuses numbers that may have been rounded on their way, and those that Vault would round when it shows them:
// what approvers see is what is executed.
func checkExact(value any) error {
	switch value := value.(type) {
	case float64:
		if math.Abs(value) >= maxExact {
			return fmt.Errorf("the number %s is too large to get through unchanged; give it as a string", quoteShort(value))
		}
	case json.Number:
		number, err := value.Float64()
		if plain := strconv.FormatFloat(number, 'f', -1, 64); err != nil || math.Abs(number) >= maxExact || plain != value.String() {
			return fmt.Errorf("the number %s would be shown as %s; write it like that, or give it as a string", quoteShort(value), quoteShort(plain))
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if err := checkExact(value[name]); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range value {
			if err := checkExact(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// convertPairs accepts an object of strings, its JSON, or repeated name=value.
func convertPairs(value any) (map[string]any, error) {
	var lines []any
	switch given := value.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(given), "{") {
			object, err := decodeStructured[map[string]any](given, "a JSON object of strings")
			if err != nil {
				return nil, err
			}
			return convertPairs(object)
		}
		lines = []any{given}
	case []any:
		lines = given
	case map[string]any:
		for name, item := range given {
			if _, ok := item.(string); !ok {
				return nil, fmt.Errorf("%s is %s; it must be a string", quoteShort(name), quoteShort(item))
			}
		}
		return given, nil
	default:
		return nil, fmt.Errorf("%s is not accepted; it must be name=value pairs or a JSON object of strings", quoteShort(value))
	}
	pairs := map[string]any{}
	for _, line := range lines {
		text, _ := line.(string)
		name, item, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s is not accepted; it must be name=value", quoteShort(line))
		}
		if _, twice := pairs[name]; twice {
			return nil, fmt.Errorf("%s is given twice", quoteShort(name))
		}
		pairs[name] = item
	}
	return pairs, nil
}

// decodeJSON reads one JSON value and refuses anything after it.
func decodeJSON(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is no JSON: something follows the first value")
	}
	return value, nil
}

// decodeObject fills a struct from an object that checkInput accepted. It refuses keys other than the given ones, to the
// letter: encoding/json alone would take "Approvals" for "approvals", and the last of both.
func decodeObject(value, into any, keys ...string) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is not accepted; it must be a JSON object with %s", quoteShort(value), strings.Join(keys, ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("unknown key %s; accepted are %s", quoteShort(key), strings.Join(keys, ", "))
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encoding what was given: %w", err)
	}
	var mismatch *json.UnmarshalTypeError
	if err := json.Unmarshal(text, into); errors.As(err, &mismatch) {
		return fmt.Errorf("%s: a %s is not accepted; it must be a %s", mismatch.Field, mismatch.Value, mismatch.Type)
	} else if err != nil {
		return fmt.Errorf("it does not fit: %w", err)
	}
	return nil
}
