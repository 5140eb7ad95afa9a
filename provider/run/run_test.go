package run

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProcessesOfOneRunKnowWhatTheOthersDid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	runs := func() (string, error) { return dir, nil }
	one, alias, other := Shared(runs, 1), Shared(runs, 1), Shared(runs, 2)
	one.Note("request a")
	if !one.Knows("request a") || !alias.Knows("request a") || alias.Knows("request b") {
		t.Error("the processes of one run do not know the same")
	}
	if other.Knows("request a") {
		t.Error("another run knows of it")
	}
	text, err := os.ReadFile(filepath.Join(dir, "1"))
	if err != nil || len(text) != 65 {
		t.Errorf("the file holds more than a digest: %q %v", text, err)
	}
	// What a run left behind goes with a later one.
	old := time.Now().Add(-2 * filesKept)
	if err := os.Chtimes(filepath.Join(dir, "1"), old, old); err != nil {
		t.Fatal(err)
	}
	if Shared(runs, 1).Knows("request a") {
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
		r := Shared(folder, 1)
		r.Note("request a")
		if !r.Knows("request a") || r.Knows("request b") {
			t.Errorf("%s: it does not", name)
		}
	}
}
