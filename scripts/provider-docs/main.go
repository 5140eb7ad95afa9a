// Command provider-docs writes the pages of the Terraform provider below docs/ again, out of the descriptions in its
// schemas, the templates below provider/templates and the examples. With -check it writes nothing, and fails if it would.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

// tfplugindocs is run out of the module cache: its requirements are none of the product's.
const tfplugindocs = "github.com/hashicorp/terraform-plugin-docs/cmd/tfplugindocs@v0.25.0"

// generated are the parts of docs/ that belong to the provider; the others are written by hand.
var generated = []string{"index.md", "resources", "data-sources", "ephemeral-resources", "functions", "guides"}

func main() {
	log.SetFlags(0)
	check := flag.Bool("check", false, "only tell whether the pages are what would be written")
	flag.Parse()
	if err := run(context.Background(), *check); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, check bool) error {
	root, err := terraformtest.Root()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "provider-docs-")
	if err != nil {
		return fmt.Errorf("making a place to work: %w", err)
	}
	defer os.RemoveAll(scratch) //nolint:errcheck // a temporary folder
	if err := render(ctx, root, scratch); err != nil {
		return err
	}
	stale, err := compare(filepath.Join(scratch, "docs"), filepath.Join(root, "docs"))
	if err != nil {
		return err
	}
	if check {
		if len(stale) > 0 {
			return fmt.Errorf("these pages are not what `make generate` writes: %s", strings.Join(stale, ", "))
		}
		return nil
	}
	return replace(filepath.Join(scratch, "docs"), filepath.Join(root, "docs"))
}

// render writes the pages below scratch/docs.
func render(ctx context.Context, root, scratch string) error {
	for from, to := range map[string]string{"examples": "examples", "provider/templates": "templates"} {
		if err := os.CopyFS(filepath.Join(scratch, to), os.DirFS(filepath.Join(root, from))); err != nil {
			return fmt.Errorf("copying %s: %w", from, err)
		}
	}
	schema, err := schemas(ctx, filepath.Join(scratch, "schema"))
	if err != nil {
		return err
	}
	file := filepath.Join(scratch, "schema.json")
	if err := os.WriteFile(file, schema, 0o600); err != nil {
		return fmt.Errorf("keeping the schemas: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "run", tfplugindocs, "generate", "--provider-dir", scratch, "--provider-name", "vaultjit",
		"--rendered-provider-name", "Vault JIT", "--providers-schema", file)
	cmd.Dir = os.TempDir() // outside of any module
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tfplugindocs: %w\n%s", err, out)
	}
	return nil
}

// schemas are the provider's, as terraform tells them.
func schemas(ctx context.Context, dir string) ([]byte, error) {
	cli, err := terraformtest.Find(ctx)
	if err != nil {
		return nil, err
	}
	mirror, err := terraformtest.Build(ctx, filepath.Join(dir, "mirror"), terraformtest.Vaultjit)
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(dir, "workspace")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making a workspace: %w", err)
	}
	workspace, err := terraformtest.New(folder, cli, mirror)
	if err != nil {
		return nil, err
	}
	err = workspace.Write("main.tf", "terraform {\n  required_providers {\n    vaultjit = { source = \"vault-jit/vaultjit\" }\n  }\n}\n")
	if err != nil {
		return nil, err
	}
	if err := workspace.Init(ctx); err != nil {
		return nil, err
	}
	output, err := workspace.Run(ctx, "providers", "schema", "-json")
	if err != nil {
		return nil, err
	}
	var all struct {
		FormatVersion string                     `json:"format_version"`
		Schemas       map[string]json.RawMessage `json:"provider_schemas"`
	}
	if err := json.Unmarshal([]byte(output), &all); err != nil {
		return nil, fmt.Errorf("reading the schemas: %w", err)
	}
	// The tool knows providers by their short names.
	all.Schemas = map[string]json.RawMessage{"vaultjit": all.Schemas[cli.Registry()+"/vault-jit/vaultjit"]}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("writing the schemas: %w", err)
	}
	return text, nil
}

// compare lists the pages that differ between two folders, or are in one of them only.
func compare(made, kept string) ([]string, error) {
	var stale []string
	makes, err := pages(made)
	if err != nil {
		return nil, err
	}
	has, err := pages(kept)
	if err != nil {
		return nil, err
	}
	for name, content := range makes {
		if !bytes.Equal(content, has[name]) {
			stale = append(stale, name)
		}
		delete(has, name)
	}
	for name := range has {
		stale = append(stale, name)
	}
	return stale, nil
}

// pages are the generated ones in a folder, by name.
func pages(dir string) (map[string][]byte, error) {
	all := map[string][]byte{}
	files := os.DirFS(dir)
	for _, part := range generated {
		err := fs.WalkDir(files, part, func(name string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || entry.IsDir() {
				return err
			}
			all[name], err = fs.ReadFile(files, name)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading pages: %w", err)
		}
	}
	return all, nil
}

func replace(made, kept string) error {
	for _, part := range generated {
		if err := os.RemoveAll(filepath.Join(kept, part)); err != nil {
			return fmt.Errorf("removing old pages: %w", err)
		}
	}
	all, err := pages(made)
	if err != nil {
		return err
	}
	for name, content := range all {
		path := filepath.Join(kept, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return fmt.Errorf("writing pages: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("writing pages: %w", err)
		}
	}
	return nil
}
