// Package run is one run of Terraform, as the processes of the provider know it: what the run made and reached, and
// what this process holds and must end.
package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Run is what is known of this run of Terraform. Terraform starts a process for every provider block, an alias too, and
// again for plan and apply. All are children of one Terraform, so they tell each other through a file that is named
// after it. Nothing but digests is in it. Without the file, a process knows what it did itself.
type Run struct {
	mu   sync.Mutex
	file string
	// notes are those of this process, for when there is no file.
	notes []byte
}

// filesKept is how long the file of a run outlives its last line.
const filesKept = 24 * time.Hour

// Shared is the run of the Terraform that started this process, with its file in a folder that is nobody else's. Old
// runs' files are removed.
func Shared(folder func() (string, error), terraform int) *Run {
	dir, err := folder()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	var began uint64
	if err == nil {
		began, err = findBirth(terraform) // because a process id is given again
	}
	if err != nil {
		log.Printf("[WARN] provider blocks of one run know nothing of each other: %v", err)
		return &Run{}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		if about, err := os.Lstat(file); err == nil && time.Since(about.ModTime()) > filesKept {
			_ = os.Remove(file) // another process may have done it
		}
	}
	shared := &Run{file: filepath.Join(dir, fmt.Sprintf("%d-%d", terraform, began))}
	if err := shared.append(nil); err != nil {
		log.Printf("[WARN] provider blocks of one run know nothing of each other: %v", err)
		return &Run{}
	}
	return shared
}

// Files is the folder for the files of this user's runs. What they say is believed, so it is not in a folder that
// everybody may write to.
func Files() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "terraform-provider-vaultjit"), err
}

func makeLine(fact string) []byte {
	sum := sha256.Sum256([]byte(fact))
	return []byte(hex.EncodeToString(sum[:]) + "\n")
}

// Note adds a fact, for the other processes too.
func (r *Run) Note(fact string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := makeLine(fact)
	r.notes = append(r.notes, line...)
	if r.file == "" {
		return
	}
	if err := r.append(line); err != nil {
		log.Printf("[WARN] other provider blocks of this run are not told what this one does: %v", err)
		r.file = ""
	}
}

func (r *Run) append(line []byte) error {
	file, err := os.OpenFile(r.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(line) // short enough to be written whole
	return errors.Join(err, file.Close())
}

// findLastNote is the place of the last note of a fact among all notes; -1 if no process of the run noted it.
func (r *Run) findLastNote(fact string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	noted := r.notes
	if r.file != "" {
		if all, err := os.ReadFile(r.file); err == nil {
			noted = all
		}
	}
	return bytes.LastIndex(noted, makeLine(fact))
}

// Knows reports whether any process of the run noted the fact.
func (r *Run) Knows(fact string) bool { return r.findLastNote(fact) >= 0 }

// NoteMade remembers that this run made a request.
func (r *Run) NoteMade(id string) { r.Note("made " + id) }

// Made reports whether this run made the request.
func (r *Run) Made(id string) bool { return r.Knows("made " + id) }

// NotePlanned remembers that Terraform looks at a request to plan.
func (r *Run) NotePlanned(id string) { r.Note("planned " + id) }

// NoteReached remembers that Terraform has come to a request while it applies.
func (r *Run) NoteReached(id string) { r.Note("reached " + id) }

// Tells reports whether Reached can be believed: without a file, another process may have come to the request.
func (r *Run) Tells(id string) bool {
	r.mu.Lock()
	isShared := r.file != ""
	r.mu.Unlock()
	return isShared || r.Knows("planned "+id) || r.Knows("reached "+id)
}

// Reached reports whether Terraform is applying, and has come to the request: one run may plan, apply, and plan again.
func (r *Run) Reached(id string) bool {
	return r.findLastNote("reached "+id) > r.findLastNote("planned "+id)
}
