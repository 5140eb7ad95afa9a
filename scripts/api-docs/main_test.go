package main

import (
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestAPIPageHasTheFieldsOfTheTables(t *testing.T) {
	if err := run(true); err != nil {
		t.Error(err)
	}
}

func TestNewRowOfATableIsOnTheAPIPage(t *testing.T) {
	row := wire.Field{Name: "colour", Type: wire.String, Default: "red", Description: "Made up."}
	answered := wire.Field{Name: "weight", Type: wire.Int, Computed: true, Description: "Made up, too."}
	page := "# API\n<!-- takes name of role, Role -->\nstale line\n<!-- end -->\nmore\n<!-- answers Request -->\n<!-- end -->\n"
	written, err := fill(page, []wire.Table{wire.RoleTable.With(row), wire.RequestTable.With(answered)})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"- `colour` `(string: \"red\")` – Made up.", "- `weight` `(int)` – Made up, too.", "more",
		"- `name` `(string: <required>)` – Name of the role", "  - `pattern` `(string: <required>)` – Regular expression",
	} {
		if !strings.Contains(written, "\n"+line) {
			t.Errorf("the page does not have %q:\n%s", line, written)
		}
	}
	if strings.Contains(written, "stale line") || strings.Count(written, "colour") != 1 {
		t.Errorf("the page has more than it should:\n%s", written)
	}
	again, err := fill(written, []wire.Table{wire.RoleTable.With(row), wire.RequestTable.With(answered)})
	if err != nil || again != written {
		t.Errorf("written again the page differs (%v)", err)
	}
	if _, err := fill("<!-- takes Nobody -->\n<!-- end -->\n", wire.Tables); err == nil {
		t.Error("an unknown table is accepted")
	}
}
