package docs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestAPIPageShowsWhatTheEngineAnswers(t *testing.T) {
	t.Parallel()
	c, env := configured(t)
	p := readPage(t, "docs/api.md")
	p.run(t, t.TempDir(), env...)
	p.check(t)
	compareEndpoints(t, p, c)
}

// fields are the types of what an endpoint is given, in its path, query or body, by name.
type fields map[string]string

// section is a part of the API page: endpoints that share its list of parameters.
type section struct {
	endpoints []string
	fields    fields
}

var (
	methodRow    = regexp.MustCompile("^\\| `([A-Z]+)` +\\| `/jit/([^`]+)` +\\|$")
	parameterRow = regexp.MustCompile("^- `([a-z_]+)` `\\(([a-z]+): (.+)\\)` – ")
)

func sections(p *page) []section {
	all := []section{{}}
	for _, line := range p.lines {
		if strings.HasPrefix(line, "## ") || strings.HasPrefix(line, "### ") {
			all = append(all, section{fields: fields{}})
		}
		current := &all[len(all)-1]
		if row := methodRow.FindStringSubmatch(line); row != nil {
			current.endpoints = append(current.endpoints, row[1]+" "+row[2])
		}
		if row := parameterRow.FindStringSubmatch(line); row != nil {
			current.fields[row[1]] = row[2]
		}
	}
	return all
}

// compareEndpoints compares the page with the engine's own description of itself.
func compareEndpoints(t *testing.T, p *page, c *vaulttest.Cluster) {
	t.Helper()
	engine := endpoints(t, c)
	missing := maps.Clone(engine)
	for _, s := range sections(p) {
		known := fields{}
		for _, endpoint := range s.endpoints {
			if engine[endpoint] == nil {
				t.Errorf("%s: the engine has no %s", p.path, endpoint)
			}
			maps.Copy(known, engine[endpoint])
			delete(missing, endpoint)
		}
		if len(s.endpoints) > 0 && !maps.Equal(s.fields, known) {
			t.Errorf("%s: %s: the page has the parameters %v, the engine %v", p.path, s.endpoints[0], s.fields, known)
		}
	}
	for endpoint := range missing {
		t.Errorf("%s: %s is missing", p.path, endpoint)
	}
}

// schema is what matters here of a field in OpenAPI.
type schema struct {
	Ref    string `json:"$ref"`
	Type   string
	Format string
}

// kind is the type in the words of the API page.
func (s schema) kind() string {
	if s.Format == "duration" || s.Format == "seconds" {
		return "duration"
	}
	return map[string]string{"string": "string", "integer": "int", "boolean": "bool", "array": "list", "object": "object"}[s.Type]
}

// endpoints are those that the engine describes to Vault, such as "GET config".
func endpoints(t *testing.T, c *vaulttest.Cluster) map[string]fields {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Address()+"/v1/jit/?help=1", http.NoBody)
	must(t, err)
	request.Header.Set("X-Vault-Token", c.Root().Token())
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	type parameter struct {
		Name   string
		Schema schema
	}
	type operation struct {
		Parameters  []parameter
		RequestBody struct {
			Content map[string]struct{ Schema schema }
		}
	}
	var help struct {
		OpenAPI struct {
			Paths map[string]struct {
				Parameters        []parameter
				Get, Post, Delete *operation
			}
			Components struct {
				Schemas map[string]struct{ Properties map[string]schema }
			}
		}
	}
	must(t, json.NewDecoder(response.Body).Decode(&help))
	all := map[string]fields{}
	for path, item := range help.OpenAPI.Paths {
		name := strings.NewReplacer("{", ":", "}", "").Replace(strings.Trim(path, "/"))
		get := "GET"
		if strings.HasSuffix(path, "/") {
			get = "LIST"
		}
		for method, op := range map[string]*operation{get: item.Get, "POST": item.Post, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			given := fields{}
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				if p.Name != "list" {
					given[p.Name] = p.Schema.kind()
				}
			}
			body := op.RequestBody.Content["application/json"].Schema
			for field, s := range help.OpenAPI.Components.Schemas[filepath.Base(body.Ref)].Properties {
				given[field] = s.kind()
			}
			all[method+" "+name] = given
		}
	}
	if len(all) == 0 {
		t.Fatal("the engine describes no path")
	}
	return all
}

var (
	required      = regexp.MustCompile(`(?m)^\t(?:require )?([a-z0-9.-]+\.[a-z]+/\S+) v\S+$`)
	dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ")
	behind        = regexp.MustCompile("(?m)^- `(\\S+ v\\S+)`: ")
	link          = regexp.MustCompile(`\]\(([^)#: ]*)(#[^) ]*)?\)`)
)

func TestEveryDirectDependencyIsExplained(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs/dependencies.md"))
	must(t, err)
	direct := map[string]bool{}
	for _, module := range required.FindAllStringSubmatch(string(mod), -1) {
		direct[module[1]] = true
	}
	explained := map[string]bool{}
	for _, row := range dependencyRow.FindAllStringSubmatch(string(text), -1) {
		explained[row[1]] = true
	}
	if !maps.Equal(direct, explained) {
		t.Errorf("docs/dependencies.md explains %v; go.mod has %v", slices.Sorted(maps.Keys(explained)), slices.Sorted(maps.Keys(direct)))
	}
}

func TestModulesThatStayBehindAreAtTheVersionNamed(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	must(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs/dependencies.md"))
	must(t, err)
	for _, module := range behind.FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(string(mod), "\t"+module[1]+" // indirect\n") {
			t.Errorf("docs/dependencies.md says that %s stays behind; go.mod does not have it", module[1])
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages := []string{filepath.Join(root, "README.md")}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		must(t, err)
		pages = append(pages, found...)
	}
	for _, path := range pages {
		text, err := os.ReadFile(path)
		must(t, err)
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			target := path
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(path), found[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", path, found[1])
				continue
			}
			if found[2] != "" && !slices.Contains(anchors(t, target), found[2]) {
				t.Errorf("%s: %s has no heading %s", path, target, found[2])
			}
		}
	}
}

// anchors are those that a page's headings get when it is shown, and those that are written out.
func anchors(t *testing.T, path string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), `<a id="`); ok {
			all = append(all, "#"+strings.TrimSuffix(id, `"></a>`))
		}
		if _, title, ok := strings.Cut(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			title = dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, fmt.Sprint("#", strings.ReplaceAll(title, " ", "-")))
		}
	}
	return all
}
