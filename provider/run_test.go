package provider

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
	one, alias, other := sharedRun(runs, 1), sharedRun(runs, 1), sharedRun(runs, 2)
	one.note("request a")
	if !one.knows("request a") || !alias.knows("request a") || alias.knows("request b") {
		t.Error("the processes of one run do not know the same")
	}
	if other.knows("request a") {
		t.Error("another run knows of it")
	}
	text, err := os.ReadFile(filepath.Join(dir, "1"))
	if err != nil || len(text) != 65 {
		t.Errorf("the file holds more than a digest: %q %v", text, err)
	}
	// What a run left behind goes with a later one.
	old := time.Now().Add(-2 * runFilesKept)
	if err := os.Chtimes(filepath.Join(dir, "1"), old, old); err != nil {
		t.Fatal(err)
	}
	if sharedRun(runs, 1).knows("request a") {
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
		r := sharedRun(folder, 1)
		r.note("request a")
		if !r.knows("request a") || r.knows("request b") {
			t.Errorf("%s: it does not", name)
		}
	}
}
