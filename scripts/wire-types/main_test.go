package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestTypesAreWhatTheTablesSay(t *testing.T) {
	source, err := write(wire.Tables)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("../../plugin/wire/types.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(source, kept) {
		t.Error("types.go is not what `make generate` writes")
	}
}

func TestNewRowOfATableIsAFieldOfItsStruct(t *testing.T) {
	for _, table := range []wire.Table{wire.RoleTable, wire.RequestTable} {
		source, err := write([]wire.Table{table.With(wire.Field{Name: "colour_ids", Type: wire.Strings, Description: "Made up."})})
		if err != nil {
			t.Fatal(err)
		}
		if words := strings.Join(strings.Fields(string(source)), " "); !strings.Contains(words, "// Made up. ColourIDs []string `json:\"colour_ids\"`") {
			t.Errorf("%s has no such field:\n%s", table.Name, source)
		}
	}
}
