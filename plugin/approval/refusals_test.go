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
	shown := readShown(t, "*_test.go", "../grant/*_test.go") + readFiles(t, "testdata/*.scenario")
	calls := 0
	for _, pattern := range []string{"*.go", "../grant/*.go"} {
		for _, file := range glob(t, pattern) {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for where, sentence := range refusalsIn(t, file) {
				calls++
				if !isShown(sentence, shown) {
					t.Errorf("%s: no scenario and no test meets %q", where, sentence)
				}
			}
		}
	}
	if calls < 60 {
		t.Fatalf("only %d refusals were found; has their form changed?", calls)
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
	var parts []string
	for _, part := range verbs.Split(format, -1) {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile(strings.Join(parts, ".*")).MatchString(text)
}

// refusalsIn are the sentences, by where, that a file gives to refusal.New and refusal.Newf: every string literal among
// the arguments but the field, which may be a part of fmt.Sprintf or of a sum.
func refusalsIn(t *testing.T, file string) map[string]string {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
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
		sentences := call.Args[1:2]
		if name.Sel.Name == "New" {
			sentences = call.Args[1:3]
		}
		for _, argument := range sentences {
			if sentence := literalsOf(argument); len(verbs.ReplaceAllString(sentence, "")) > 3 {
				found[set.Position(argument.Pos()).String()] = sentence
			}
		}
		return true
	})
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

// readShown puts the string literals of Go files together, one a line.
func readShown(t *testing.T, patterns ...string) string {
	t.Helper()
	var text strings.Builder
	for _, pattern := range patterns {
		for _, file := range glob(t, pattern) {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(node ast.Node) bool {
				if e, is := node.(ast.Expr); is {
					switch e.(type) {
					case *ast.BasicLit, *ast.BinaryExpr:
						text.WriteString(strings.ReplaceAll(literalsOf(e), "\n", " ") + "\n")
					}
				}
				return true
			})
		}
	}
	return text.String()
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

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file is called %s: %v", pattern, err)
	}
	slices.Sort(files)
	return files
}
