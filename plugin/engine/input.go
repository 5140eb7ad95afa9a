package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-secure-stdlib/parseutil"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/refusal"
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
	for _, name := range slices.Sorted(maps.Keys(req.Data)) {
		schema, known := path.Fields[name]
		if !known {
			accepted := cmp.Or(strings.Join(slices.Sorted(maps.Keys(path.Fields)), ", "), "none")
			return refusal.Newf("", "unknown field %s; accepted here: %s", quoteShort(name), accepted)
		}
		value, err := convert(schema.Type, req.Data[name])
		if err != nil {
			return refusal.In(name, err)
		}
		req.Data[name] = value
	}
	return nil
}

// checkGivenOnce refuses a field that is one thing in the path and another in the body: the framework takes the path's.
func checkGivenOnce(req *logical.Request, d *framework.FieldData) error {
	for name, inBody := range req.Data {
		if inPath, ok := d.Raw[name].(string); ok && inPath != inBody {
			return refusal.Newf("", "%s is %q in the path and %q in the body; give it once", name, inPath, inBody)
		}
	}
	return nil
}

// convert converts a value as it came in JSON or from the command line to the type of its field.
func convert(kind framework.FieldType, value any) (any, error) {
	converter, handled := converters[kind]
	if !handled {
		return nil, fmt.Errorf("fields of type %s are not handled", kind)
	}
	return converter(value)
}

// converters has every type that this package's fields have.
var converters = map[framework.FieldType]func(value any) (any, error){
	framework.TypeString:           func(value any) (any, error) { return convertString(value) },
	framework.TypeBool:             func(value any) (any, error) { return convertBool(value) },
	framework.TypeInt:              func(value any) (any, error) { return convertInt(value) },
	framework.TypeDurationSecond:   func(value any) (any, error) { return convertSeconds(value) },
	framework.TypeCommaStringSlice: func(value any) (any, error) { return convertWords(value) },
	framework.TypeSlice:            func(value any) (any, error) { return decodeStructured[[]any](value, "a JSON list") },
	framework.TypeMap:              func(value any) (any, error) { return decodeStructured[map[string]any](value, "a JSON object") },
	framework.TypeKVPairs:          func(value any) (any, error) { return convertPairs(value) },
}

func convertString(value any) (string, error) {
	if text, ok := value.(string); ok {
		return text, nil
	}
	return "", fmt.Errorf("%s is not accepted; it must be a string", quoteShort(value))
}

func convertBool(value any) (bool, error) {
	switch value {
	case true, "true":
		return true, nil
	case false, "false":
		return false, nil
	}
	return false, fmt.Errorf("%s is not accepted; it must be true or false", quoteShort(value))
}

func convertInt(value any) (int, error) {
	n, err := strconv.ParseInt(formatNumeral(value), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is not accepted; it must be a whole number", quoteShort(value))
	}
	return int(n), nil
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
	}
	return ""
}

// maxSeconds is about a hundred years: far above any use and far below what overflows a time.Duration.
const maxSeconds = 100 * 366 * 24 * 60 * 60

// convertSeconds accepts whole seconds from 1, as a number or as Vault writes durations: 90, "90", "90s", "1h30m", "7d".
func convertSeconds(value any) (int, error) {
	duration, err := parseutil.ParseDurationSecond(formatNumeral(value))
	if err != nil || duration < time.Second || duration%time.Second != 0 || duration/time.Second > maxSeconds {
		return 0, fmt.Errorf("%s is not accepted; it must be whole seconds from 1, such as 3600 or 1h", quoteShort(value))
	}
	return int(duration / time.Second), nil
}

// maxWords bounds a list: more would not fit into one record of Raft's storage.
const maxWords = 10_000

// convertWords accepts a list of strings, or one string with commas.
func convertWords(value any) ([]string, error) {
	words := []string{}
	switch value := value.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(value), "[") {
			list, err := decodeStructured[[]any](value, "a list of strings")
			if err != nil {
				return nil, err
			}
			return convertWords(list)
		}
		if strings.TrimSpace(value) != "" {
			words = strings.Split(value, ",")
		}
	case []string:
		words = append(words, value...)
	case []any:
		for _, item := range value {
			word, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("%s is not accepted in a list of strings", quoteShort(item))
			}
			words = append(words, word)
		}
	default:
		return nil, fmt.Errorf("%s is not accepted; it must be a list of strings", quoteShort(value))
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
			return nil, fmt.Errorf("%s is there twice", quoteShort(words[i]))
		}
		seen[words[i]] = true
	}
	return words, nil
}

const quotedBytes = 64

// quoteShort puts a value that was refused into a message, shortened.
func quoteShort(value any) string {
	text := fmt.Sprint(value)
	if len(text) <= quotedBytes {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:quotedBytes], "")) + "…"
}
