package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-secure-stdlib/parseutil"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// checkInput refuses unknown fields by name, and values that do not mean exactly one thing. It leaves each accepted
// value in the one form the framework takes without converting: by itself it would make 1 of 1.9, and 0 of 500ms.
func (b *backend) checkInput(req *logical.Request) error {
	fromUser := []logical.Operation{
		logical.CreateOperation, logical.UpdateOperation, logical.ReadOperation, logical.ListOperation, logical.DeleteOperation,
	}
	if len(req.Data) == 0 || !slices.Contains(fromUser, req.Operation) {
		return nil
	}
	path := b.Route(req.Path)
	if path == nil {
		return nil // the framework says so better
	}
	captured := b.captures(path, req.Path)
	for _, name := range slices.Sorted(maps.Keys(req.Data)) {
		schema, known := path.Fields[name]
		if !known {
			accepted := cmp.Or(strings.Join(slices.Sorted(maps.Keys(path.Fields)), ", "), "none")
			return fmt.Errorf("unknown field %s; accepted here: %s", shown(name), accepted)
		}
		value, err := strict(schema.Type, req.Data[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if inPath, ok := captured[name]; ok && value != inPath {
			return fmt.Errorf("%s is %q in the path and %q in the body; give it once", name, inPath, value)
		}
		req.Data[name] = value
	}
	return nil
}

func (b *backend) captures(path *framework.Path, requestPath string) map[string]string {
	pattern := b.patterns[strings.TrimSuffix(strings.TrimPrefix(path.Pattern, "^"), "$")]
	if pattern == nil {
		pattern = b.patterns[path.Pattern]
	}
	captured := map[string]string{}
	if pattern == nil {
		return captured
	}
	match := pattern.FindStringSubmatch(requestPath)
	for i, name := range pattern.SubexpNames() {
		if name != "" && i < len(match) {
			captured[name] = match[i]
		}
	}
	return captured
}

// strict converts a value as it came in JSON or from the command line to the type of its field.
func strict(kind framework.FieldType, value any) (any, error) {
	convert, handled := converters[kind]
	if !handled {
		return nil, fmt.Errorf("fields of type %s are not handled", kind)
	}
	return convert(value)
}

// converters has every type that this package's fields have.
var converters = map[framework.FieldType]func(value any) (any, error){
	framework.TypeString:           func(value any) (any, error) { return strictString(value) },
	framework.TypeBool:             func(value any) (any, error) { return strictBool(value) },
	framework.TypeInt:              func(value any) (any, error) { return strictInt(value) },
	framework.TypeDurationSecond:   func(value any) (any, error) { return strictSeconds(value) },
	framework.TypeCommaStringSlice: func(value any) (any, error) { return strictWords(value) },
	framework.TypeSlice:            func(value any) (any, error) { return structured[[]any](value, "a JSON list") },
	framework.TypeMap:              func(value any) (any, error) { return structured[map[string]any](value, "a JSON object") },
	framework.TypeKVPairs:          func(value any) (any, error) { return strictPairs(value) },
}

func strictString(value any) (string, error) {
	if text, ok := value.(string); ok {
		return text, nil
	}
	return "", fmt.Errorf("%s is not accepted; it must be a string", shown(value))
}

func strictBool(value any) (bool, error) {
	switch value := value.(type) {
	case bool:
		return value, nil
	case string:
		switch value {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, fmt.Errorf("%s is not accepted; it must be true or false", shown(value))
}

func strictInt(value any) (int, error) {
	n, err := strconv.ParseInt(numeral(value), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is not accepted; it must be a whole number", shown(value))
	}
	return int(n), nil
}

// numeral is a number as it was written: over gRPC a plugin gets numbers as float64, elsewhere as json.Number.
// "" for anything that is no number and no string.
func numeral(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case int:
		return strconv.Itoa(value)
	}
	return ""
}

// maxSeconds is about a hundred years: far above any use and far below what overflows a time.Duration.
const maxSeconds = 100 * 366 * 24 * 60 * 60

// strictSeconds accepts whole seconds from 1, as a number or as Vault writes durations: 90, "90", "90s", "1h30m", "7d".
func strictSeconds(value any) (int, error) {
	wrong := fmt.Errorf("%s is not accepted; it must be whole seconds from 1, such as 3600 or 1h", shown(value))
	duration, err := parseutil.ParseDurationSecond(numeral(value))
	if err != nil || duration < time.Second || duration%time.Second != 0 || duration/time.Second > maxSeconds {
		return 0, wrong
	}
	return int(duration / time.Second), nil
}

// maxWords bounds a list: more would not fit into one record of Raft's storage.
const maxWords = 10_000

// strictWords accepts a list of strings, or one string with commas.
func strictWords(value any) ([]string, error) {
	var words []string
	switch value := value.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(value), "[") {
			list, err := structured[[]any](value, "a list of strings")
			if err != nil {
				return nil, err
			}
			return strictWords(list)
		}
		if strings.TrimSpace(value) != "" {
			words = strings.Split(value, ",")
		}
	case []string:
		words = slices.Clone(value)
	case []any:
		for _, item := range value {
			word, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("%s is not accepted in a list of strings", shown(item))
			}
			words = append(words, word)
		}
	default:
		return nil, fmt.Errorf("%s is not accepted; it must be a list of strings", shown(value))
	}
	if len(words) > maxWords {
		return nil, fmt.Errorf("a list of %d entries is not accepted; at most %d are", len(words), maxWords)
	}
	seen := make(map[string]bool, len(words))
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
		switch {
		case words[i] == "":
			return nil, errors.New("an empty entry is not accepted")
		case seen[words[i]]:
			return nil, fmt.Errorf("%s is there twice", shown(words[i]))
		}
		seen[words[i]] = true
	}
	if words == nil {
		words = []string{}
	}
	return words, nil
}

// structured accepts a native JSON value or a string that holds one.
func structured[T any](value any, what string) (T, error) {
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
		return out, fmt.Errorf("%s is not accepted; it must be %s", shown(value), what)
	}
	return out, exact(value)
}

// maxExact is up to where every whole number is a float64, which is how Vault hands the numbers of JSON to a plugin.
const maxExact = 1 << 53

// exact refuses numbers that may have been rounded on their way, and those that Vault would round when it shows them:
// what approvers see is what is executed.
func exact(value any) error {
	switch value := value.(type) {
	case float64:
		if math.Abs(value) >= maxExact {
			return fmt.Errorf("the number %s is too large to get through unchanged; give it as a string", shown(value))
		}
	case json.Number:
		number, err := value.Float64()
		if plain := strconv.FormatFloat(number, 'f', -1, 64); err != nil || math.Abs(number) >= maxExact || plain != value.String() {
			return fmt.Errorf("the number %s would be shown as %s; write it like that, or give it as a string", shown(value), shown(plain))
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if err := exact(value[name]); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range value {
			if err := exact(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// strictPairs accepts an object of strings, its JSON, or repeated name=value.
func strictPairs(value any) (map[string]any, error) {
	var lines []any
	switch given := value.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(given), "{") {
			object, err := structured[map[string]any](given, "a JSON object of strings")
			if err != nil {
				return nil, err
			}
			return strictPairs(object)
		}
		lines = []any{given}
	case []any:
		lines = given
	case map[string]any:
		for name, item := range given {
			if _, ok := item.(string); !ok {
				return nil, fmt.Errorf("%s is %s; it must be a string", shown(name), shown(item))
			}
		}
		return given, nil
	default:
		return nil, fmt.Errorf("%s is not accepted; it must be name=value pairs or a JSON object of strings", shown(value))
	}
	pairs := map[string]any{}
	for _, line := range lines {
		text, _ := line.(string)
		name, item, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s is not accepted; it must be name=value", shown(line))
		}
		if _, twice := pairs[name]; twice {
			return nil, fmt.Errorf("%s is given twice", shown(name))
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
		return fmt.Errorf("%s is not accepted; it must be a JSON object with %s", shown(value), strings.Join(keys, ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("unknown key %s; accepted are %s", shown(key), strings.Join(keys, ", "))
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

const shownBytes = 64

// shown puts a value that was refused into a message, shortened.
func shown(value any) string {
	text := fmt.Sprint(value)
	if len(text) <= shownBytes {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:shownBytes], "")) + "…"
}
