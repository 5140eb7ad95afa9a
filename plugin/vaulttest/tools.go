package vaulttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// PluginName is the engine's name in Vault's plugin catalogue and that of its binary.
const PluginName = "vault-plugin-secrets-jit"

// moduleRoot is the folder of go.mod, found from where this file was compiled: tests, the demo and the bench
// all run out of the source tree.
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

// obtain asks scripts/obtain where a tool is; the script gets it first if it must, and says so on stderr.
func obtain(ctx context.Context, tool string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	// The script reads these. Naming them here tells go test that what it remembers of a run depends on them.
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

// installPlugin puts the plugin into a cluster's own folder, since another process may build a new one while
// servers still start this one, and gives its SHA-256. A built binary stays in the cache directory, one per
// source tree, where the next build finds it and links anew only after a change.
func installPlugin(ctx context.Context, o Options, dir string) (sum string, err error) {
	binary := o.PluginBinary
	if binary == "" {
		binary = os.Getenv("PLUGIN_BINARY")
	}
	if binary != "" {
		return copyPlugin(binary, dir)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a place to build the plugin: %w", err)
	}
	tree := sha256.Sum256([]byte(root))
	kept := filepath.Join(cache, "vault-jit", "plugin-"+hex.EncodeToString(tree[:6]))
	args := []string{"build", "-buildvcs=false"}
	if o.Race {
		kept += "-race"
		args = append(args, "-race")
	}
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return "", fmt.Errorf("looking for a place to build the plugin: %w", err)
	}
	unlock, err := lock(filepath.Join(kept, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	binary = filepath.Join(kept, PluginName)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", binary, "./plugin/cmd/"+PluginName)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, bytes.TrimSpace(out))
	}
	return copyPlugin(binary, dir)
}

// lock keeps other processes from the same work, for `go test` runs packages side by side.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return func() { f.Close() }, nil //nolint:errcheck // closing unlocks
}

func copyPlugin(binary, dir string) (sum string, err error) {
	in, err := os.Open(filepath.Clean(binary))
	if err != nil {
		return "", fmt.Errorf("installing the plugin: %w", err)
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(filepath.Join(filepath.Clean(dir), PluginName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return "", fmt.Errorf("installing the plugin: %w", err)
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, hash), in)
	if err := errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("installing the plugin: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
