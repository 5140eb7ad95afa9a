// Command wire-types writes types.go of package wire: a struct for each of its tables.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

func main() {
	log.SetFlags(0)
	source, err := write(wire.Tables)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("types.go", source, 0o644); err != nil {
		log.Fatal(err)
	}
}

// write is the source of a Go file with a struct for each table.
func write(tables []wire.Table) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("// Code generated from the tables of this package by scripts/wire-types. DO NOT EDIT.\n\npackage wire\n")
	for _, table := range tables {
		fmt.Fprintf(&out, "\n%s\ntype %s struct {\n", comment(table.Name+" "+table.Description), table.Name)
		for _, embedded := range table.Embeds {
			out.WriteString(embedded.Name + "\n")
		}
		for _, f := range table.Fields {
			fmt.Fprintf(&out, "%s\n%s %s `json:\"%s\"`\n", comment(f.Markdown()), goName(f.Name), goType(f), f.Name)
		}
		out.WriteString("}\n")
		if slices.Contains(constructed, table.Name) {
			fmt.Fprintf(&out, "\n// New%[1]s is a %[1]s with the defaults.\nfunc New%[1]s() %[1]s { return %[2]s }\n", table.Name, literal(table))
		}
	}
	source, err := format.Source(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("formatting: %w", err)
	}
	return source, nil
}

// comment is a text as Go comments, broken at about a hundred letters.
func comment(text string) string {
	var lines []string
	line := "//"
	for _, word := range strings.Fields(strings.ReplaceAll(text, "`", "")) {
		if len(line)+len(word) > 110 {
			lines, line = append(lines, line), "//"
		}
		line += " " + word
	}
	return strings.Join(append(lines, line), "\n")
}

// constructed are the tables of what a client writes whole, and has to begin with the defaults.
var constructed = []string{"Policy", "Role", "Config"}

// literal is a Go value with the defaults of a table, as far as they are not zero.
func literal(table wire.Table) string {
	var fields []string
	for _, embedded := range table.Embeds {
		if inner := literal(embedded); inner != embedded.Name+"{}" {
			fields = append(fields, embedded.Name+": "+inner)
		}
	}
	for _, f := range table.Fields {
		if value := f.DefaultValue(); f.Default != nil && value != false {
			fields = append(fields, fmt.Sprintf("%s: %#v", goName(f.Name), value))
		}
	}
	return table.Name + "{" + strings.Join(fields, ", ") + "}"
}

// initialisms are written in capitals in Go names.
var initialisms = map[string]string{"id": "ID", "ids": "IDs", "ttl": "TTL", "ca": "CA", "tls": "TLS"}

// goName is a field's name in Go: entity_ids becomes EntityIDs.
func goName(name string) string {
	var whole string
	for _, word := range strings.Split(name, "_") {
		if capitals, ok := initialisms[word]; ok {
			whole += capitals
			continue
		}
		whole += strings.ToUpper(word[:1]) + word[1:]
	}
	return whole
}

func goType(f wire.Field) string {
	switch f.Type {
	case wire.Int:
		if f.IsDuration() {
			return "Seconds"
		}
		return "int"
	case wire.Bool:
		return "bool"
	case wire.Moment:
		return "Time"
	case wire.Strings:
		return "[]string"
	case wire.Pairs:
		return "map[string]string"
	case wire.JSON:
		return "map[string]any"
	case wire.Object:
		if f.Null {
			return "*" + f.Of.Name
		}
		return f.Of.Name
	case wire.Objects:
		return "[]" + f.Of.Name
	case wire.ObjectsByName:
		return "map[string]" + f.Of.Name
	case wire.String:
	}
	return "string"
}
