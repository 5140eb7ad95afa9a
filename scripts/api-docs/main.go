// Command api-docs writes the lists of fields in docs/api.md again, out of the tables of package wire. With -check it writes
// nothing, and fails if it would.
//
// A list stands between two comments. The first one says of which tables it is: `<!-- takes name of policy, Policy -->`
// for what can be given, `<!-- answers Status -->` for what is shown. The second one is `<!-- end -->`.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

func main() {
	log.SetFlags(0)
	check := flag.Bool("check", false, "only tell whether the page is what would be written")
	flag.Parse()
	if err := run(*check); err != nil {
		log.Fatal(err)
	}
}

func run(check bool) error {
	root, err := terraformtest.Root()
	if err != nil {
		return err
	}
	path := root + "/docs/api.md"
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	written, err := fill(string(page), wire.Tables)
	if err != nil {
		return err
	}
	switch {
	case bytes.Equal(page, []byte(written)):
		return nil
	case check:
		return errors.New("docs/api.md is not what `make generate` writes")
	}
	return os.WriteFile(path, []byte(written), 0o644)
}

var marker = regexp.MustCompile(`^<!-- (takes|answers) (.+) -->$`)

const endMarker = "<!-- end -->"

// fill is the page with all lists written again.
func fill(page string, tables []wire.Table) (string, error) {
	var out []string
	inList := false
	for i, line := range strings.Split(page, "\n") {
		if inList && line != endMarker {
			continue
		}
		inList = false
		out = append(out, line)
		found := marker.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		list, err := listFields(found[1] == "takes", found[2], tables)
		if err != nil {
			return "", fmt.Errorf("docs/api.md:%d: %w", i+1, err)
		}
		out, inList = append(append(out, ""), append(list, "")...), true
	}
	if inList {
		return "", errors.New("docs/api.md: the last list has no end")
	}
	return strings.Join(out, "\n"), nil
}

func listFields(given bool, names string, tables []wire.Table) ([]string, error) {
	var lines []string
	for _, name := range strings.Split(names, ", ") {
		table, err := findTable(name, tables)
		if err != nil {
			return nil, err
		}
		lines = append(lines, list(table, given, "")...)
	}
	return lines, nil
}

func findTable(name string, tables []wire.Table) (wire.Table, error) {
	if kind, ok := strings.CutPrefix(name, "name of "); ok {
		return wire.Table{Fields: []wire.Field{wire.NameField(kind)}}, nil
	}
	i := slices.IndexFunc(tables, func(t wire.Table) bool { return t.Name == name })
	if i < 0 {
		return wire.Table{}, fmt.Errorf("there is no table %s", name)
	}
	return tables[i], nil
}

// list has a line for each field, the required ones first, and below it those of the objects that the field holds.
func list(table wire.Table, given bool, indent string) (lines []string) {
	fields := table.Answered()
	if given {
		fields = table.Accepted()
		slices.SortStableFunc(fields, func(a, b wire.Field) int { return rank(a) - rank(b) })
	}
	for _, f := range fields {
		kind, description := typeName(f), f.Description
		if given {
			kind += ": " + defaultOf(f)
			if f.DefaultSaid != "" {
				description = f.Markdown()
			}
		}
		lines = append(lines, wrap(indent, fmt.Sprintf("- `%s` `(%s)` – %s", f.Name, kind, description))...)
		if f.Of != nil {
			lines = append(lines, list(*f.Of, given, indent+"  ")...)
		}
	}
	return lines
}

func rank(f wire.Field) int {
	if f.Required {
		return 0
	}
	return 1
}

func typeName(f wire.Field) string {
	if f.IsDuration() {
		return "duration"
	}
	return map[wire.Type]string{
		wire.String: "string", wire.Int: "int", wire.Bool: "bool", wire.Moment: "time", wire.Strings: "list", wire.Pairs: "object",
		wire.JSON: "object", wire.Object: "object", wire.Objects: "list", wire.ObjectsByName: "object",
	}[f.Type]
}

// defaultOf is the default of a field as JSON has it.
func defaultOf(f wire.Field) string {
	switch {
	case f.Required:
		return "<required>"
	case f.IsList():
		return "[]"
	case typeName(f) == "object":
		return "{}"
	case f.IsDuration() && f.Default == nil:
		return "0"
	case f.Type == wire.String || f.IsDuration():
		return strconv.Quote(f.DefaultText())
	case f.Default == nil:
		return fmt.Sprint(f.DefaultValue())
	}
	return f.DefaultText()
}

// wrap breaks a line at 130 letters and indents what follows.
func wrap(indent, text string) (lines []string) {
	line := indent
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len([]rune(line))+1+len([]rune(word)) > 130:
			lines, line = append(lines, line), indent+"  "+word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
