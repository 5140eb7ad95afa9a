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
// another process may build a new plugin meanwhile. The built binary stays in the cache directory, one for each source
// tree, so that the next build links it only after a change.
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

// lock keeps other processes from building at the same time, because `go test` runs several packages at once.
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
