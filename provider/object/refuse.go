package object

import (
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Refuse reports an error: at the attribute of the field that it is about, if it is a refusal that names one.
func Refuse(diags *diag.Diagnostics, table wire.Table, summary string, err error) {
	if refused := refusal.Of(err); refused != nil {
		name, rest := cutStep(refused.Field)
		if f, found := table.Find(name); found {
			diags.AddAttributeError(findPath(path.Root(nameAttribute(f)), f, rest), summary, err.Error())
			return
		}
	}
	diags.AddError(summary, err.Error())
}

// findPath goes on from a field's attribute as far as there are attributes: an element of a set has none of its own.
func findPath(at path.Path, f wire.Field, rest string) path.Path {
	key, rest := cutStep(rest)
	if key == "" {
		return at
	}
	switch f.Type {
	case wire.Objects:
		i, err := strconv.Atoi(key)
		if err != nil {
			return at
		}
		at = at.AtListIndex(i)
	case wire.ObjectsByName, wire.Pairs:
		at = at.AtMapKey(key)
	case wire.String, wire.Int, wire.Bool, wire.Moment, wire.Strings, wire.JSON, wire.Object:
		return at
	}
	name, rest := cutStep(rest)
	if f.Of == nil || name == "" {
		return at
	}
	if inner, found := f.Of.Find(name); found {
		return findPath(at.AtName(nameAttribute(inner)), inner, rest)
	}
	return at
}

// cutStep takes the first step off a refusal's field: a name, an index, or a quoted key.
func cutStep(field string) (step, rest string) {
	if inside, bracketed := strings.CutPrefix(field, "["); bracketed {
		if quoted, err := strconv.QuotedPrefix(inside); err == nil {
			key, _ := strconv.Unquote(quoted)
			return key, strings.TrimPrefix(inside[len(quoted):], "]")
		}
		step, rest, _ = strings.Cut(inside, "]")
		return step, rest
	}
	field = strings.TrimPrefix(field, ".")
	if end := strings.IndexAny(field, ".["); end >= 0 {
		return field[:end], field[end:]
	}
	return field, ""
}
