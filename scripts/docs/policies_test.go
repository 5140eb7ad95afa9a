package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/examples/policies"
)

// The policies in the documentation have to be the ones that all other tests give the engine and its users, so that they
// are known to be enough, and no copy gives more.
func TestPoliciesShownAreTheTestedOnes(t *testing.T) {
	t.Parallel()
	for _, shown := range []struct{ file, begin, end, policy string }{
		{"docs/setup.md", "vault policy write jit-engine - <<'END'\n", "END\n", policies.Engine},
		{"docs/setup.md", "vault policy write jit-user - <<'END'\n", "END\n", policies.User},
		{"examples/setup/vault.tf", "name   = \"jit-engine\"\n  policy = <<-EOT\n", "  EOT\n",
			strings.ReplaceAll(policies.Engine, "database/creds/readonly", "${var.database_path}")},
		{"examples/setup/vault.tf", "name   = \"jit-user\"\n  policy = <<-EOT\n", "  EOT\n", policies.User},
	} {
		text, err := os.ReadFile(filepath.Join(root, shown.file))
		must(t, err)
		_, rest, found := strings.Cut(string(text), shown.begin)
		got, _, ended := strings.Cut(rest, shown.end)
		if got = strings.ReplaceAll("\n"+got, "\n    ", "\n")[1:]; !found || !ended || got != shown.policy {
			t.Errorf("%s: after %q it has\n%s\nexamples/policies has\n%s", shown.file, shown.begin, got, shown.policy)
		}
	}
}

// policyLine is one line of an ACL policy for the engine's identity or for people at the mount.
var policyLine = regexp.MustCompile(`(?m)^ *(path "(?:jit|auth|sys|identity)/.*)$`)

func TestEachPageShowsLinesOfOnePolicyFile(t *testing.T) {
	t.Parallel()
	var known []string
	for _, policy := range []string{policies.Engine, policies.User, policies.Operator} {
		known = append(known, policyLines(policy)...)
	}
	seen := 0
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/*/*.md", "examples/*/*.tf", "examples/*/*/*.tf", "provider/templates/*.tmpl", "provider/templates/*/*.tmpl"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			for _, line := range policyLines(string(text)) {
				seen++
				if !slices.Contains(known, line) {
					t.Errorf("%s shows a line that no file in examples/policies has: %s", file, line)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no page shows a policy")
	}
}

// policyLines are the policy's lines in a text, with single spaces.
func policyLines(text string) (lines []string) {
	for _, line := range policyLine.FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Join(strings.Fields(line[1]), " "))
	}
	return lines
}
