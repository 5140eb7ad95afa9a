package ledger

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
)

// countedCall names the call whose countings of a quorum are counted, and countedTo is "before" or "after" it.
const (
	countedCall = "JIT_COUNTED_CALL"
	countedTo   = "JIT_COUNTED_TO"
)

// A quorum is counted by a matching of people and rules, which is what a call's own time goes into.
func TestACallCountsItsQuorumAFewTimes(t *testing.T) {
	program := filepath.Join(t.TempDir(), "ledger.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-covermode=count",
		"-coverpkg=github.com/vault-jit/vault-jit/plugin/approval", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line := findCount(t)
	run := func(call, to string) int {
		t.Helper()
		profile := filepath.Join(t.TempDir(), "profile")
		cmd := exec.CommandContext(t.Context(), program, "-test.run", "^TestOneCallForCounting$", "-test.coverprofile", profile)
		cmd.Env = append(os.Environ(), countedCall+"="+call, countedTo+"="+to)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return readCount(t, profile, line)
	}
	for call, atMost := range map[string]int{"ask": 6, "approve": 6, "read": 6, "claim": 12} {
		before, after := run(call, "before"), run(call, "after")
		if n := after - before; n < 1 || n > atMost {
			t.Errorf("%s counts the quorum %d times, it should be at most %d", call, n, atMost)
		} else {
			t.Logf("%s counts the quorum %d times", call, n)
		}
	}
}

// TestOneCallForCounting is run by the test above, in a program of its own. The policy is another one than that of the
// request by then, which doubles what a verdict counts.
func TestOneCallForCounting(t *testing.T) {
	call := os.Getenv(countedCall)
	if call == "" {
		return
	}
	f := newFixture(t)
	f.connect(sessiontest.Connection(sessiontest.New(t, nil).URL))
	f.setPolicy(2)
	var id string
	ask := func() { id = f.askRole("alice", "otp", 10*time.Minute).ID }
	// judge is what an answer shows of a request.
	judge := func(r approval.Request) {
		w, err := f.call("bob").lookup.World(t.Context(), r)
		must(t, err)
		approval.Judge(r, w, f.clock.read())
	}
	var before []func()
	var counted func()
	first, second := func() { f.approve(id, "bob") }, func() { f.approve(id, "carol") }
	rewrite := func() { f.setPolicy(2) }
	switch call {
	case "ask":
		counted = func() { judge(f.askRole("alice", "otp", 10*time.Minute)) }
	case "approve":
		before = []func(){ask, first, rewrite}
		counted = func() {
			carol := f.call("carol")
			r, err := f.Change(t.Context(), f.storage, id, carol.who, carol.decision(approval.Approve, ""))
			must(t, err)
			judge(r)
		}
	case "read":
		before = []func(){ask, first, second, rewrite}
		counted = func() {
			r, err := f.Read(t.Context(), f.storage, id, f.call("bob").who)
			must(t, err)
			judge(*r)
		}
	case "claim":
		before = []func(){ask, first, second, rewrite}
		counted = func() { f.claim(id) }
	default:
		t.Fatalf("no call is named %q", call)
	}
	for _, step := range before {
		step()
	}
	if os.Getenv(countedTo) == "after" {
		counted()
	}
}

// findCount is the line on which the function that counts a quorum begins.
func findCount(t *testing.T) int {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "../approval/tally.go", nil, 0)
	must(t, err)
	for _, declared := range parsed.Decls {
		if function, ok := declared.(*ast.FuncDecl); ok && function.Name.Name == "Count" && function.Recv == nil {
			return files.Position(function.Pos()).Line
		}
	}
	t.Fatal("there is no function that counts")
	return 0
}

// readCount is how often the first block of the function was run that begins on the line.
func readCount(t *testing.T, profile string, line int) int {
	t.Helper()
	text, err := os.ReadFile(profile)
	must(t, err)
	for row := range strings.Lines(string(text)) {
		block, counts, _ := strings.Cut(strings.TrimSpace(row), " ")
		if !strings.Contains(block, fmt.Sprintf("/approval/tally.go:%d.", line)) {
			continue
		}
		_, times, _ := strings.Cut(counts, " ")
		n, err := strconv.Atoi(times)
		must(t, err)
		return n
	}
	t.Fatalf("the profile does not tell of line %d", line)
	return 0
}
