package docs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands print into the pages, where it differs")

// A page is a Markdown file whose commands can be run.
//
//	```sh            commands, run one after the other in one shell
//	```sh refused    the same, and the last one has to fail
//	```sh not-run    commands that need what a test does not have
//	```json payload  becomes the file payload.json, with what its $NAMEs stand for
//	```text, ```json what the commands before it print; a line … stands for any lines
//	```text demo     part of what the demo prints
//	```text example  text that is compared with nothing
//	<!-- run         commands that readers do not see, up to -->
type page struct {
	path   string
	lines  []string
	blocks []*block
}

type block struct {
	kind kind
	// lang and flag are the first two words after the fence.
	lang, flag string
	// from and to are the indexes of the first line inside and of the closing one.
	from, to int
	// output is what the commands printed; nil if they were not run.
	output *string
}

type kind int

const (
	command kind = iota
	payload
	printed
	other
)

func readPage(t *testing.T, path string) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{path: path, lines: strings.Split(string(text), "\n")}
	end := ""
	for i, line := range p.lines {
		switch {
		case end != "":
			if line == end {
				p.blocks[len(p.blocks)-1].to = i
				end = ""
			}
		case line == "<!-- run":
			p.blocks, end = append(p.blocks, &block{kind: command, from: i + 1}), "-->"
		case strings.HasPrefix(line, "```"):
			words := append(strings.Fields(line[3:]), "", "")
			p.blocks, end = append(p.blocks, &block{kind: kindOf(words[0], words[1]), lang: words[0], flag: words[1], from: i + 1}), "```"
		}
	}
	if end != "" {
		t.Fatalf("%s: a block does not end", path)
	}
	return p
}

func kindOf(lang, flag string) kind {
	switch {
	case lang == "sh" && flag != "not-run":
		return command
	case lang == "json" && flag == "payload":
		return payload
	case (lang == "text" || lang == "json") && flag == "":
		return printed
	}
	return other
}

func (p *page) text(b *block) string { return strings.Join(p.lines[b.from:b.to], "\n") }

func (p *page) where(b *block) string { return fmt.Sprintf("%s:%d", p.path, b.from) }

// mark separates what the blocks print.
const mark = "\x1e"

// script is all commands of the page as one.
func (p *page) script() string {
	var s strings.Builder
	s.WriteString("set -o pipefail\nexec 2>&1\nfailed() { printf '" + mark + "!'; exit 1; }\ntrap failed ERR\n")
	for _, b := range p.blocks {
		switch b.kind {
		case payload:
			fmt.Fprintf(&s, "cat >payload.json <<END_OF_PAYLOAD\n%s\nEND_OF_PAYLOAD\n", p.text(b))
		case command:
			fmt.Fprintf(&s, "printf '%s'\n", mark)
			if b.flag == "refused" {
				fmt.Fprintf(&s, "trap - ERR\n%s\n[ $? != 0 ] || { echo 'this was not refused'; failed; }\ntrap failed ERR\n", p.text(b))
				continue
			}
			s.WriteString(p.text(b) + "\n")
		case printed, other:
		}
	}
	return s.String()
}

// run runs the page's commands in a folder, with these variables and few others.
func (p *page) run(t *testing.T, dir string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdin = strings.NewReader(p.script())
	raw, err := cmd.Output()
	parts := strings.Split(string(raw), mark)[1:]
	failed := err != nil
	if len(parts) > 0 && strings.HasPrefix(parts[len(parts)-1], "!") {
		parts, failed = parts[:len(parts)-1], true
	}
	for _, b := range p.blocks {
		if b.kind != command || len(parts) == 0 {
			continue
		}
		b.output, parts = &parts[0], parts[1:]
		if failed && len(parts) == 0 {
			t.Fatalf("%s: this block failed (%v):\n%s\nIt printed:\n%s", p.where(b), err, p.text(b), *b.output)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", p.path, err, raw)
	}
}

// check compares what the page says its commands print with what they did print.
func (p *page) check(t *testing.T) {
	t.Helper()
	changed := false
	for i := len(p.blocks) - 1; i > 0; i-- { // from the end, because a longer text moves what follows it
		b, before := p.blocks[i], p.blocks[i-1]
		if b.kind != printed || before.output == nil {
			continue
		}
		got := strings.TrimRight(*before.output, "\n")
		if b.lang == "json" {
			got = readable(t, p.where(b), got)
		}
		switch {
		case b.matches(p.text(b), got):
		case *update:
			p.lines = append(p.lines[:b.from:b.from], append(strings.Split(address.ReplaceAllString(got, "http://127.0.0.1:8200"), "\n"), p.lines[b.to:]...)...)
			changed = true
		default:
			t.Errorf("%s: the commands above print something else (go test ./scripts/docs -update writes it down):\n%s", p.where(b), got)
		}
	}
	if !changed {
		return
	}
	if err := os.WriteFile(filepath.Join(root, p.path), []byte(strings.Join(p.lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (b *block) matches(want, got string) bool {
	if b.lang == "json" {
		return reflect.DeepEqual(decoded(masked(want)), decoded(masked(got)))
	}
	return regexp.MustCompile(`\A` + pattern(want) + `\z`).MatchString(masked(got))
}

// pattern matches a printed text, masked, in which … stands for anything.
func pattern(text string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(masked(text)), "…", `(?s:.*)`)
}

func decoded(text string) (value any) {
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	return inOrder(value)
}

// inOrder sorts lists, because people are listed by their ids, which differ between two runs.
func inOrder(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key := range value {
			value[key] = inOrder(value[key])
		}
	case []any:
		for i := range value {
			value[i] = inOrder(value[i])
		}
		slices.SortFunc(value, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	return value
}

// readable puts an answer of Vault's on many lines, without what is empty in its envelope.
func readable(t *testing.T, where, text string) string {
	t.Helper()
	var envelope map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&envelope); err != nil {
		t.Fatalf("%s: the answer is no JSON: %v: %s", where, err, text)
	}
	if _, isAnswer := envelope["request_id"]; isAnswer {
		maps.DeleteFunc(envelope, func(key string, value any) bool {
			return key == "request_id" || key == "mount_type" || value == nil || value == "" || value == false || value == json.Number("0")
		})
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(envelope); err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(shortLists.ReplaceAllStringFunc(out.String(), func(list string) string {
		return "[" + strings.Join(strings.Fields(list[1:len(list)-1]), " ") + "]"
	}), "\n")
}

var (
	// shortLists are those of up to three strings without a space, which read better on one line.
	shortLists = regexp.MustCompile(`\[\n\s*"[^"\s]*"(,\n\s*"[^"\s]*"){0,2}\n\s*\]`)
	address    = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
)

// masks are what differs between two runs.
var masks = []struct {
	pattern *regexp.Regexp
	mask    string
}{
	{address, "<address>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<id>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?`), "<time>"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<sha256>"},
	{regexp.MustCompile(`\bhvs\.[A-Za-z0-9_-]+`), "<token>"},
	{regexp.MustCompile(`\bv-token-ji-[a-z]+-[A-Za-z0-9]{20}-\d{10}\b`), "<username>"},
	{regexp.MustCompile(`/[A-Za-z0-9]{24}\b`), "/<lease>"},
	{regexp.MustCompile(`(-p |port )\d+`), "$1<port>"},
	{regexp.MustCompile(`("password":\s*)"[^"]*"`), `$1"<password>"`},
	{regexp.MustCompile(`(?m)^(password\s+)\S+$`), "$1<password>"},
	{regexp.MustCompile(`(_)[0-9a-f]{8}\b`), "$1<accessor>"},
	{regexp.MustCompile(`("last_periodic_run":\s*)"[^"]*"`), `$1"<time>"`},
	{regexp.MustCompile(`(?m)^(last_periodic_run\s+)\S+$`), "$1<time>"},
	{regexp.MustCompile(`\bcarol, bob\b`), "bob, carol"},
	{regexp.MustCompile(`\bwere returned from (?:Vault|OpenBao):`), "were returned from <server>:"},
	{regexp.MustCompile(`-{3,}`), "---"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`(?m) $`), ""},
}

func masked(text string) string {
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.mask)
	}
	return text
}
