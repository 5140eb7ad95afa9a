package provider_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

// mirrorDir is where the providers are, for as long as the tests run.
var mirrorDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "vaultjit-mirror-") })

func removeMirror() error {
	dir, err := mirrorDir()
	return errors.Join(err, os.RemoveAll(dir))
}

// providers is a mirror with this provider as users install it, and one with the resources of the official Vault
// provider that the examples use.
var providers = sync.OnceValues(func() (terraformtest.Mirror, error) {
	dir, err := mirrorDir()
	if err != nil {
		return terraformtest.Mirror{}, err
	}
	official := terraformtest.Provider{Source: "hashicorp/vault", Version: "5.7.0", Package: "./provider/terraformtest/standin"}
	if binary := os.Getenv("TERRAFORM_PROVIDER_VAULT"); binary != "" {
		official.Package, official.Binary = "", binary
	}
	return terraformtest.Build(context.Background(), dir, terraformtest.Vaultjit, official)
})

// required names the provider as users do.
const required = `
terraform {
  required_providers {
    vaultjit = { source = "vault-jit/vaultjit" }
  }
}
`

// workspace is a folder with a configuration in which the real binary runs.
type workspace struct {
	*terraformtest.Workspace
	t *testing.T
}

func newWorkspace(t *testing.T, cli terraformtest.CLI, configuration string) *workspace {
	t.Helper()
	w := &workspace{Workspace: emptyWorkspace(t, cli), t: t}
	w.Env = append(w.Env, "TF_LOG=TRACE", "TF_LOG_PATH="+filepath.Join(w.Dir, "trace.log"))
	w.write("main.tf", configuration)
	if err := w.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func emptyWorkspace(t *testing.T, cli terraformtest.CLI) *terraformtest.Workspace {
	t.Helper()
	mirror, err := providers()
	if err != nil {
		t.Fatal(err)
	}
	made, err := terraformtest.New(t.TempDir(), cli, mirror)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (w *workspace) write(name, content string) {
	w.t.Helper()
	if err := w.Write(name, content); err != nil {
		w.t.Fatal(err)
	}
}

// does runs a command that has to succeed.
func (w *workspace) does(args ...string) string {
	w.t.Helper()
	output, err := w.Run(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return output
}

// fails runs a command that has to fail and say all of the given words.
func (w *workspace) fails(args []string, words ...string) string {
	w.t.Helper()
	output, err := w.Run(w.t.Context(), args...)
	if err == nil {
		w.t.Fatalf("terraform %v succeeded:\n%s", args, output)
	}
	w.says(output, words...)
	return output
}

// says looks for words in what was printed, however its lines were broken.
func (w *workspace) says(output string, words ...string) {
	w.t.Helper()
	flat := strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ", "╵", " ").Replace(output)), " ")
	for _, word := range words {
		if !strings.Contains(flat, word) {
			w.t.Errorf("it does not say %q:\n%s", word, output)
		}
	}
}

// holdsNone checks that nothing that was left behind holds a secret: not the state, not a plan, not the log at TRACE.
func (w *workspace) holdsNone(secrets ...string) {
	w.t.Helper()
	looked := 0
	look := func(name string, content []byte) {
		looked++
		for _, secret := range secrets {
			if secret == "" || bytes.Contains(content, []byte(secret)) {
				w.t.Errorf("%s holds a secret, or there is none to look for", name)
			}
		}
	}
	for _, entry := range w.files() {
		content, err := os.ReadFile(entry)
		if err != nil {
			w.t.Fatal(err)
		}
		look(entry, content)
		// A plan is an archive.
		if archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content))); err == nil {
			for _, part := range archive.File {
				look(entry+"/"+part.Name, unpacked(w.t, part))
			}
		}
	}
	if looked < 2 {
		w.t.Errorf("only %d files were looked at; the state and the log at least should be there", looked)
	}
}

// files are those that terraform wrote.
func (w *workspace) files() []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.Dir)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && !strings.HasSuffix(entry.Name(), ".tf") {
			all = append(all, filepath.Join(w.Dir, entry.Name()))
		}
	}
	return all
}

func unpacked(t *testing.T, file *zip.File) []byte {
	t.Helper()
	reader, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// runOnEach runs a test with terraform, and with tofu where that is there as well.
func runOnEach(t *testing.T, test func(*testing.T, terraformtest.CLI)) {
	t.Helper()
	all, err := terraformtest.FindAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, cli := range all {
		t.Run(cli.Name(), func(t *testing.T) { test(t, cli) })
	}
}
