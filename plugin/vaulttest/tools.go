package vaulttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// PluginName is the name of the engine's binary, and its name in Vault's plugin catalogue.
const PluginName = "vault-plugin-secrets-jit"

// moduleRoot is the folder of go.mod. It is derived from the path at which this file was compiled, because tests, the demo
// and the benchmark all run in the source tree.
var moduleRoot = sync.OnceValues(func() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errors.New("this binary was built with -trimpath and cannot find the source tree: build it without")
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return "", fmt.Errorf("looking for the source tree: %w", err)
	}
	return root, nil
})

// obtain returns the path of a tool. scripts/obtain installs the tool if the machine lacks it, and reports that on stderr.
func obtain(ctx context.Context, tool string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	// The script reads these variables. Reading them here too makes go test repeat a cached run when they change.
	_, _ = os.LookupEnv("VAULT_BINARY")
	_, _ = os.LookupEnv("PATH")
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "obtain"), tool)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("scripts/obtain %s: %w", tool, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// installPlugin copies the plugin into the cluster's own folder and returns its SHA-256. The cluster needs a copy, because
// another process may build a new plugin meanwhile.
func installPlugin(ctx context.Context, race bool, dir string) (sum string, err error) {
	installed := filepath.Join(dir, PluginName)
	install := exec.CommandContext(ctx, "cp", os.Getenv("PLUGIN_BINARY"), installed)
	if os.Getenv("PLUGIN_BINARY") == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		// go keeps what it has linked for run, and for nothing else, so it links again only after a change.
		install = exec.CommandContext(ctx, "go", "run", "-buildvcs=false", fmt.Sprintf("-race=%t", race), "-exec", "cp",
			"./plugin/cmd/"+PluginName, installed)
		install.Dir = root
	}
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("installing the plugin: %w\n%s", err, bytes.TrimSpace(out))
	}
	plugin, err := os.ReadFile(filepath.Clean(installed))
	if err != nil {
		return "", fmt.Errorf("installing the plugin: %w", err)
	}
	hash := sha256.Sum256(plugin)
	return hex.EncodeToString(hash[:]), nil
}
