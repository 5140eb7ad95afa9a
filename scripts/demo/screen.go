package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// A screen is a terminal, where titles and prompts stand out and work in progress is seen to go on, or a pipe,
// where everything is plain text.
type screen struct {
	out      io.Writer
	terminal bool
	colour   bool
	step     int
}

func newScreen(out *os.File) *screen {
	terminal := isatty.IsTerminal(out.Fd()) && os.Getenv("TERM") != "dumb"
	return &screen{out: out, terminal: terminal, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (s *screen) paint(style, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (s *screen) print(format string, args ...any) {
	fmt.Fprintf(s.out, format, args...) //nolint:errcheck // a reader that left wants no more
}

// title begins the next step.
func (s *screen) title(text string) {
	s.step++
	s.print("\n%s\n", s.paint(bold, fmt.Sprintf("%d. %s", s.step, text)))
}

// say explains something, in its own paragraph.
func (s *screen) say(format string, args ...any) {
	s.print("\n%s\n", fmt.Sprintf(format, args...))
}

// found tells what has been checked.
func (s *screen) found(format string, args ...any) {
	s.print("%s %s\n", s.paint(green, "✓"), fmt.Sprintf(format, args...))
}

// prompt shows a command and who types it.
func (s *screen) prompt(who string, words []string) {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellQuote(w)
	}
	s.print("\n%s %s\n", s.paint(cyan, who+"$"), s.paint(bold, strings.Join(quoted, " ")))
}

// shellQuote makes a word what one has to type for it.
func shellQuote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@,+%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	// reason='why I ask' reads better than 'reason=why I ask'.
	name := ""
	if before, after, found := strings.Cut(word, "="); found && strings.IndexFunc(before, func(r rune) bool { return !plain(r) }) < 0 {
		name, word = before+"=", after
	}
	return name + "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// working does something that takes a while and shows that it goes on.
func (s *screen) working(what string, do func() error) error {
	began := time.Now()
	s.print("… %s", what)
	if !s.terminal {
		s.print("\n")
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go s.tick(what, began, stop, stopped)
	err := do()
	close(stop)
	<-stopped
	took := time.Since(began).Round(100 * time.Millisecond)
	switch {
	case err != nil && s.terminal:
		s.print("\r\x1b[K%s %s\n", s.paint(red, "✗"), what)
	case err != nil:
		s.print("  failed after %s\n", took)
	case s.terminal:
		s.print("\r\x1b[K%s %s %s\n", s.paint(green, "✓"), what, s.paint(dim, took.String()))
	default:
		s.print("  done in %s\n", took)
	}
	return err
}

func (s *screen) tick(what string, began time.Time, stop, stopped chan struct{}) {
	defer close(stopped)
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(150 * time.Millisecond):
		}
		switch elapsed := time.Since(began); {
		case s.terminal:
			s.print("\r\x1b[K%s %s %s", s.paint(cyan, string(frames[i%len(frames)])), what, s.paint(dim, fmt.Sprintf("%.0fs", elapsed.Seconds())))
		case i%70 == 69:
			s.print("  still at it after %.0fs\n", elapsed.Seconds())
		}
	}
}

// lines passes on what a command prints, and keeps it.
type lines struct {
	mu   sync.Mutex
	to   io.Writer
	kept strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept.Write(p)
	return l.to.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}
