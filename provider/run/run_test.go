package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProcessesOfOneRunKnowWhatTheOthersDid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	runs := func() (string, error) { return dir, nil }
	self, parent := os.Getpid(), os.Getppid()
	one, alias, other := Shared(runs, self), Shared(runs, self), Shared(runs, parent)
	one.Note("request a")
	if !one.Knows("request a") || !alias.Knows("request a") || alias.Knows("request b") {
		t.Error("the processes of one run do not know the same")
	}
	if other.Knows("request a") {
		t.Error("another run knows of it")
	}
	files, err := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%d-*", self)))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil || len(text) != 65 {
		t.Errorf("the file holds more than a digest: %q %v", text, err)
	}
	// What a run left behind goes with a later one.
	old := time.Now().Add(-2 * filesKept)
	if err := os.Chtimes(files[0], old, old); err != nil {
		t.Fatal(err)
	}
	if Shared(runs, self).Knows("request a") {
		t.Error("a run of days ago is taken for this one")
	}
}

func TestARunWithoutAFileKnowsWhatItDid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, folder := range map[string]func() (string, error){
		"no folder":            func() (string, error) { return file, nil },
		"no place for folders": func() (string, error) { return "", errors.New("$HOME is not defined") },
	} {
		r := Shared(folder, os.Getpid())
		r.Note("request a")
		if !r.Knows("request a") || r.Knows("request b") {
			t.Errorf("%s: it does not", name)
		}
	}
}

func TestRequestIsReachedUntilItIsPlannedAgain(t *testing.T) {
	dir := t.TempDir()
	runs := func() (string, error) { return dir, nil }
	for name, processes := range map[string][2]*Run{
		"one process without a file": {{}, nil},
		"two processes":              {Shared(runs, os.Getpid()), Shared(runs, os.Getpid())},
	} {
		one, other := processes[0], processes[1]
		if other == nil {
			other = one
		}
		if one.Reached("a") {
			t.Errorf("%s: a request that nobody noted is reached", name)
		}
		one.NotePlanned("a")
		other.NoteReached("a")
		if !one.Reached("a") || !other.Reached("a") || one.Reached("b") {
			t.Errorf("%s: what an apply came to is not reached", name)
		}
		one.NoteReached("a")
		other.NotePlanned("a")
		if one.Reached("a") {
			t.Errorf("%s: what is planned again is still reached", name)
		}
		if one.Made("a") {
			t.Errorf("%s: what is reached counts as made", name)
		}
	}
}

func TestRunOfAnotherProcessWithTheSameIDIsAnother(t *testing.T) {
	dir := t.TempDir()
	Shared(func() (string, error) { return dir, nil }, os.Getpid()).NoteMade("a")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	began, err := findBirth(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	parents, err := findBirth(os.Getppid())
	if err != nil || parents >= began {
		t.Errorf("this process began at %d, what started it at %d (%v)", began, parents, err)
	}
	if want := fmt.Sprintf("%d-%d", os.Getpid(), began); filepath.Base(files[0]) != want {
		t.Errorf("the file is %s, want %s", files[0], want)
	}
}

func TestRunWithoutAFileDoesNotTellWhatOtherProcessesReached(t *testing.T) {
	dir := t.TempDir()
	folder := func() (string, error) { return dir, nil }
	with := Shared(folder, os.Getppid())
	if !with.Tells("x") {
		t.Error("a run with a file does not tell")
	}
	// The folder is there, but the file cannot be written: a read-only cache, a full disk.
	if err := errors.Join(os.Remove(with.file), os.Mkdir(with.file, 0o700)); err != nil {
		t.Fatal(err)
	}
	asker, opener := Shared(folder, os.Getppid()), Shared(folder, os.Getppid())
	asker.NotePlanned("x")
	asker.NoteReached("x")
	if !asker.Tells("x") || !asker.Reached("x") {
		t.Error("a process does not know what it reached itself")
	}
	if opener.Tells("x") || opener.Reached("x") {
		t.Error("a process believes that nothing was reached")
	}
}
