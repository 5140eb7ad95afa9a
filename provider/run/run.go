// Package run is one run of Terraform, as the processes of the provider know it.
package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Run is what is known of this run of Terraform: which definitions it plans and which requests it made. Terraform starts
// a process for every provider block, an alias too, and again for plan and apply. All are children of one Terraform, so
// they tell each other through a file that has its process id for a name. Nothing but digests is in it. Without the
// file, a process knows what it did itself.
type Run struct {
	known sync.Map
	file  string
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
	return &Run{file: filepath.Join(dir, strconv.Itoa(terraform))}
}

// Files is the folder for the files of this user's runs. What they say is believed, so it is not in a folder that
// everybody may write to.
func Files() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "terraform-provider-vaultjit"), err
}

func digestLine(fact string) []byte {
	sum := sha256.Sum256([]byte(fact))
	return []byte(hex.EncodeToString(sum[:]) + "\n")
}

// Note adds a fact, for the other processes too.
func (r *Run) Note(fact string) {
	r.known.Store(fact, true)
	if r.file == "" {
		return
	}
	file, err := os.OpenFile(r.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.Write(digestLine(fact)) // short enough to be written whole
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		log.Printf("[WARN] other provider blocks of this run are not told what this one does: %v", err)
	}
}

// Knows reports whether any process of the run noted the fact.
func (r *Run) Knows(fact string) bool {
	if _, ok := r.known.Load(fact); ok {
		return true
	}
	if r.file == "" {
		return false
	}
	noted, err := os.ReadFile(r.file)
	return err == nil && bytes.Contains(noted, digestLine(fact))
}
