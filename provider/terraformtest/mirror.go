package terraformtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// A Provider is one that a mirror offers.
type Provider struct {
	// Source is its address in a registry, without the host.
	Source, Version string
	// Package is built, or else Binary taken.
	Package, Binary string
}

// Vaultjit is the provider of this source tree.
var Vaultjit = Provider{Source: "vault-jit/vaultjit", Version: "0.1.0", Package: "./provider/cmd/terraform-provider-vaultjit"}

// A Mirror is a folder from which terraform and tofu install providers, in place of any registry.
type Mirror struct{ dir string }

// Build makes a mirror in an empty folder.
func Build(ctx context.Context, dir string, providers ...Provider) (Mirror, error) {
	for _, p := range providers {
		name := fmt.Sprintf("terraform-provider-%s_v%s", filepath.Base(p.Source), p.Version)
		first := ""
		for _, cli := range []CLI{{}, {Tofu: true}} {
			place := filepath.Join(dir, cli.Registry(), p.Source, p.Version, runtime.GOOS+"_"+runtime.GOARCH)
			if err := os.MkdirAll(place, 0o700); err != nil {
				return Mirror{}, fmt.Errorf("making a provider mirror: %w", err)
			}
			target := filepath.Join(place, name)
			var err error
			switch {
			case first != "":
				err = os.Link(first, target)
			case p.Package != "":
				err = build(ctx, p.Package, target)
			default:
				err = os.Symlink(p.Binary, target)
			}
			if err != nil {
				return Mirror{}, fmt.Errorf("putting %s into the provider mirror: %w", p.Source, err)
			}
			if p.Package != "" {
				first = target
			}
		}
	}
	return Mirror{dir: dir}, nil
}

func build(ctx context.Context, pkg, target string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", target, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	return nil
}

// config is the CLI configuration that makes a CLI use the mirror and nothing else.
func (m Mirror) config() string {
	return fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", m.dir)
}
