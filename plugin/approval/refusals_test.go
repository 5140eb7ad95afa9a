package approval

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every refusal that this package and package grant can give is met by a scenario or a row of a test: the words of each
// call of refusal.New and refusal.Newf, found in the source, occur there as they are shown.
func TestEveryRefusalIsMetByAScenarioOrATest(t *testing.T) {
	shown := strings.Join(literalsIn(t, anyFunction, "*_test.go", "../grant/*_test.go"), "\n") + readFiles(t, "testdata/*.scenario")
	calls := 0
	for _, r := range refusalsIn(t, "*.go", "../grant/*.go") {
		for _, sentence := range []string{r.problem, r.advice} {
			if len(verbs.ReplaceAllString(sentence, "")) <= 3 {
				continue
			}
			calls++
			if !isShown(sentence, shown) {
				t.Errorf("%s: no scenario and no test meets %q", r.where, sentence)
			}
		}
	}
	if calls < 60 {
		t.Fatalf("only %d refusals were found; has their form changed?", calls)
	}
}

// writes are the sources that refuse what somebody writes: an approver group, a policy, a role, the connection of the
// configuration, a request.
var writes = []string{"policy.go", "role.go", "ask.go", "../grant/*.go", "../session/*.go"}

// aboutNoField are the refusals of a request that no other value of a field would avoid.
var aboutNoField = []string{"your entity %v", "you have %d requests waiting, as many as this engine allows one person"}

// atItsField are the tests that compare the fields of refusals. A literal of theirs is the field and the sentence.
var atItsField = regexp.MustCompile(`At(Its|Their)Field`)

// Whoever adds a refusal of what somebody writes gives it a field, and a row in a test that compares the whole sentence,
// beginning with the field.
func TestEveryRefusalOfAWriteIsMetAtItsField(t *testing.T) {
	met := literalsIn(t, atItsField.MatchString, "*_test.go", "../grant/*_test.go", "../session/*_test.go")
	calls := 0
	for _, r := range refusalsIn(t, writes...) {
		calls++
		if r.field == "" && !slices.Contains(aboutNoField, r.problem) {
			t.Errorf("%s: %q is refused without a field", r.where, r.problem)
		}
		if !slices.ContainsFunc(met, r.pattern().MatchString) {
			t.Errorf("%s: no test %s compares what matches %s", r.where, atItsField, r.pattern())
		}
	}
	if calls < 50 {
		t.Fatalf("only %d refusals were found; has their form changed?", calls)
	}
	for _, sentence := range met {
		isExcepted := func(format string) bool {
			return regexp.MustCompile(`\A: ` + loosely(format)).MatchString(sentence)
		}
		if strings.HasPrefix(sentence, ": ") && !slices.ContainsFunc(aboutNoField, isExcepted) {
			t.Errorf("a test wants %q without a field", sentence)
		}
	}
}

func TestRefusalWithoutARowOfItsOwnIsNoticed(t *testing.T) {
	for _, c := range []struct {
		refusal sourceRefusal
		row     string
		want    bool
	}{
		{sourceRefusal{field: "ttl", problem: "it is %s", advice: "ask for less"}, "ttl: it is 9h; ask for less", true},
		{sourceRefusal{field: "approvals", problem: "it is %d"}, "rules[0].approvals: it is 0", true},
		{sourceRefusal{field: "%s[%d]", problem: "it is empty"}, "entity_ids[1]: it is empty", true},
		{sourceRefusal{field: "%v", problem: "it is empty"}, "ttl: it is empty", true},
		{sourceRefusal{problem: "your entity %v"}, ": your entity is gone", true},
		{sourceRefusal{field: "ttl", problem: "it is %s", advice: "ask for less"}, "ttl: it is 9h", false},
		{sourceRefusal{field: "ttl", problem: "it is %s"}, "max_ttl: it is 9h", false},
		{sourceRefusal{field: "ttl", problem: "it is empty"}, "ttl: it is empty; give one", false},
		{sourceRefusal{field: "%v", problem: "it is empty"}, ": it is empty", false},
	} {
		if got := c.refusal.pattern().MatchString(c.row); got != c.want {
			t.Errorf("%q meets %s: %t", c.row, c.refusal.pattern(), got)
		}
	}
}

func TestRefusalNobodyMeetsIsNoticed(t *testing.T) {
	for sentence, want := range map[string]bool{
		"%q is no command": true, "cannot %s a request that is %s; try again": true, "%q is none": true, "%s": true,
		"this is said nowhere": false, "cannot %s a request that nobody made": false, "%q is any": false,
	} {
		if got := isShown(sentence, `"<nil>" is no command
"x" is none
cannot grant a request that is active`); got != want {
			t.Errorf("%q is shown: %t", sentence, got)
		}
	}
}

var verbs = regexp.MustCompile(`%[-+#. 0-9]*[a-zA-Z]`)

var clauseEnd = regexp.MustCompile(`%[-+#. 0-9]*[a-zA-Z]|; |, | \(`)

// isShown reports whether the first clause of a format that has three words occurs in a text, or where there is none the
// whole of it, whatever its verbs stand for.
func isShown(format, text string) bool {
	for _, clause := range clauseEnd.Split(format, -1) {
		if clause = strings.TrimSpace(clause); len(strings.Fields(clause)) >= 3 {
			return strings.Contains(text, clause)
		}
	}
	return regexp.MustCompile(loosely(format)).MatchString(text)
}

// loosely is the pattern of what a format can become.
func loosely(format string) string {
	var parts []string
	for _, part := range verbs.Split(format, -1) {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return strings.Join(parts, ".*")
}

// sourceRefusal is a call of refusal.New or refusal.Newf in the source.
type sourceRefusal struct{ where, field, problem, advice string }

// pattern matches a field and a sentence that the call can give; the call may name only the last part of the field.
func (r sourceRefusal) pattern() *regexp.Regexp {
	pattern := loosely(r.field) + ": " + loosely(r.problem)
	switch {
	case strings.HasPrefix(r.field, "%"):
		pattern = `\S` + pattern
	case r.field != "":
		pattern = `(\S+\.)?` + pattern
	}
	if r.advice != "" {
		pattern += "; " + loosely(r.advice)
	}
	return regexp.MustCompile(`\A` + pattern + `\z`)
}

func refusalsIn(t *testing.T, patterns ...string) []sourceRefusal {
	t.Helper()
	var found []sourceRefusal
	for _, file := range glob(t, patterns...) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			call, isCall := node.(*ast.CallExpr)
			if !isCall {
				return true
			}
			name, isSelector := call.Fun.(*ast.SelectorExpr)
			if !isSelector || (name.Sel.Name != "New" && name.Sel.Name != "Newf") {
				return true
			}
			if pkg, isName := name.X.(*ast.Ident); !isName || pkg.Name != "refusal" {
				return true
			}
			r := sourceRefusal{where: set.Position(call.Pos()).String(), field: literalsOf(call.Args[0]), problem: literalsOf(call.Args[1])}
			if name.Sel.Name == "New" {
				r.advice = literalsOf(call.Args[2])
			}
			found = append(found, r)
			return true
		})
	}
	return found
}

// literalsOf puts the string literals of an expression together, with a verb for whatever else is in it.
func literalsOf(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		return literalsOf(e.X) + literalsOf(e.Y)
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return literalsOf(e.Args[0])
		}
	}
	return "%v"
}

func anyFunction(string) bool { return true }

// literalsIn are the string literals of the functions in Go files whose names are wanted, each on one line.
func literalsIn(t *testing.T, isWanted func(function string) bool, patterns ...string) []string {
	t.Helper()
	var literals []string
	for _, file := range glob(t, patterns...) {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range parsed.Decls {
			if function, is := declared.(*ast.FuncDecl); is && !isWanted(function.Name.Name) {
				continue
			}
			ast.Inspect(declared, func(node ast.Node) bool {
				switch e := node.(type) {
				case *ast.BasicLit, *ast.BinaryExpr:
					literals = append(literals, strings.ReplaceAll(literalsOf(e.(ast.Expr)), "\n", " "))
					return false
				}
				return true
			})
		}
	}
	return literals
}

func readFiles(t *testing.T, pattern string) string {
	t.Helper()
	var all []string
	for _, file := range glob(t, pattern) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return strings.Join(all, "\n")
}

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no file is called %s: %v", pattern, err)
		}
		all = append(all, files...)
	}
	slices.Sort(all)
	return all
}
