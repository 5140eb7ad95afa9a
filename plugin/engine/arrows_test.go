package engine_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows are the packages of plugin/ that each package may import: only what is below it. refusal and text are leaves
// that all may use. The policies in the examples are files and nothing else.
var arrows = map[string][]string{
	"refusal":                      {},
	"refusal/refusaltest":          {},
	"text":                         {},
	"session":                      {},
	"grant":                        {},
	"approval":                     {"grant"},
	"wire":                         {"approval", "grant"},
	"client":                       {"wire"},
	"store":                        {"approval"},
	"issuer":                       {"grant", "session"},
	"people":                       {"approval", "session", "store"},
	"ledger":                       {"approval", "grant", "issuer", "people", "store"},
	"engine":                       {"approval", "grant", "issuer", "ledger", "people", "session", "store", "wire"},
	"engine/enginetest":            {"engine", "engine/enginetest/watch"},
	"engine/enginetest/watch":      {},
	"cmd/vault-plugin-secrets-jit": {"engine", "session"},
	"vaulttest":                    {"client", "examples/policies"},
	"session/sessiontest":          {"session"},
}

func TestPackagesImportOnlyWhatIsBelowThem(t *testing.T) {
	const module, prefix = "github.com/vault-jit/vault-jit/", "github.com/vault-jit/vault-jit/plugin/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", prefix+"...").Output()
	must(t, err)
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, prefix)
		allowed, known := arrows[name]
		if !known {
			t.Errorf("%s is missing in arrows", name)
		}
		for _, imported := range p.Imports {
			switch below := strings.TrimPrefix(imported, prefix); {
			case strings.HasPrefix(imported, module) && !strings.HasPrefix(imported, prefix):
				if slices.Contains(allowed, strings.TrimPrefix(imported, module)) {
					continue
				}
				t.Errorf("%s imports %s, which is above it", name, imported)
			case !strings.HasPrefix(imported, prefix) || below == "refusal" || below == "text":
			case !slices.Contains(allowed, below):
				t.Errorf("%s imports %s, which is not below it", name, below)
			}
		}
		// approval and grant decide, and must not depend on Vault.
		if (name == "approval" || name == "grant") && slices.ContainsFunc(p.Imports, func(path string) bool { return strings.Contains(path, "hashicorp") }) {
			t.Errorf("%s imports a package of HashiCorp: %q", name, p.Imports)
		}
	}
	if seen != len(arrows) {
		t.Errorf("there are %d packages; arrows lists %d", seen, len(arrows))
	}
}
