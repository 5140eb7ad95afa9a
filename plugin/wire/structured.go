package wire

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

	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// decodeStructured accepts a native JSON value or a string that holds one.
func decodeStructured[T any](value any, what string) (T, error) {
	var out T
	if text, ok := value.(string); ok {
		decoded, err := decodeJSON(text)
		if err != nil {
			return out, refusal.New("", err.Error(), "it must be "+what)
		}
		value = decoded
	}
	out, ok := value.(T)
	if !ok {
		return out, refuseValue(value, "it must be "+what)
	}
	return out, checkExact(value, maxDepth)
}

// maxDepth bounds how deeply objects and lists are nested: a refusal names the way to what is wrong.
const maxDepth = 32

// maxExact is up to where every whole number is a float64, which is how Vault hands the numbers of JSON to a plugin.
const maxExact = 1 << 53

// checkExact refuses numbers that may have been rounded on their way, and those that Vault would round when it shows them:
// what approvers see is what is executed.
func checkExact(value any, depth int) error {
	if depth == 0 {
		return refusal.New("", "it is nested too deeply", fmt.Sprintf("at most %d levels are accepted", maxDepth))
	}
	switch value := value.(type) {
	case float64:
		if math.Abs(value) >= maxExact {
			return refusal.New("", fmt.Sprintf("the number %s is too large to get through unchanged", quoteShort(value)), "give it as a string")
		}
	case json.Number:
		number, err := value.Float64()
		if plain := strconv.FormatFloat(number, 'f', -1, 64); err != nil || math.Abs(number) >= maxExact || plain != value.String() {
			return refusal.New("", fmt.Sprintf("the number %s would be shown as %s", quoteShort(value), quoteShort(plain)), "write it like that, or give it as a string")
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if err := checkExact(value[name], depth-1); err != nil {
				return refusal.In(quoteShort(name), err)
			}
		}
	case []any:
		for i, item := range value {
			if err := checkExact(item, depth-1); err != nil {
				return refusal.In(fmt.Sprintf("[%d]", i), err)
			}
		}
	}
	return nil
}

// decodePairs accepts an object of strings, its JSON, or repeated name=value.
func decodePairs(value any) (map[string]string, error) {
	var lines []any
	switch given := value.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(given), "{") {
			object, err := decodeStructured[map[string]any](given, "a JSON object of strings")
			if err != nil {
				return nil, err
			}
			return decodePairs(object)
		}
		lines = []any{given}
	case []any:
		lines = given
	case map[string]any:
		pairs := make(map[string]string, len(given))
		for _, name := range slices.Sorted(maps.Keys(given)) {
			word, ok := given[name].(string)
			if !ok {
				return nil, refusal.In(quoteShort(name), refuseValue(given[name], "it must be a string"))
			}
			pairs[name] = word
		}
		return pairs, nil
	case map[string]string:
		return given, nil
	default:
		return nil, refuseValue(value, "it must be name=value pairs or a JSON object of strings")
	}
	pairs := map[string]string{}
	for _, line := range lines {
		text, _ := line.(string)
		name, item, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, refuseValue(line, "it must be name=value")
		}
		if _, twice := pairs[name]; twice {
			return nil, refusal.New(refusal.Join("", quoteShort(name)), "it is given twice", "")
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
