package terraformtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// A CLI is a terraform or tofu binary.
type CLI struct {
	// Path of the binary.
	Path string
	// Tofu tells OpenTofu from Terraform.
	Tofu bool
}

// Find gives the terraform or tofu that is on PATH, or else has scripts/obtain build one, which takes minutes.
func Find(ctx context.Context) (CLI, error) {
	root, err := Root()
	if err != nil {
		return CLI{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "obtain"), "terraform")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return CLI{}, fmt.Errorf("scripts/obtain terraform: %w", err)
	}
	path := strings.TrimSpace(string(out))
	return CLI{Path: path, Tofu: isTofu(path)}, nil
}

// FindAll gives what Find gives and, beside a terraform, a tofu if there is one: on PATH, or built by scripts/obtain before.
func FindAll(ctx context.Context) ([]CLI, error) {
	found, err := Find(ctx)
	if err != nil {
		return nil, err
	}
	all := []CLI{found}
	if path := lookForTofu(); path != "" && !found.Tofu {
		all = append(all, CLI{Path: path, Tofu: true})
	}
	return all, nil
}

func lookForTofu() string {
	if path, err := exec.LookPath("tofu"); err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	built, _ := filepath.Glob(filepath.Join(cache, "vault-jit", "tofu-*-"+runtime.GOOS+"-"+runtime.GOARCH))
	if len(built) == 0 {
		return ""
	}
	return built[len(built)-1]
}

func isTofu(path string) bool { return strings.HasPrefix(filepath.Base(path), "tofu") }

// Name is terraform or tofu.
func (c CLI) Name() string {
	if c.Tofu {
		return "tofu"
	}
	return "terraform"
}

// Registry is where the CLI looks providers up that are named without a host.
func (c CLI) Registry() string {
	if c.Tofu {
		return "registry.opentofu.org"
	}
	return "registry.terraform.io"
}

// Root is the folder of go.mod, found from where this file was compiled.
func Root() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errors.New("this binary was built with -trimpath and cannot find the source tree: build it without")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file))), nil
}
