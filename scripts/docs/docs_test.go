// Package docs_test keeps the documentation true: it runs the commands that the pages tell readers to type, against a
// real Vault, compares what they print with what the pages say, and the API page with the engine's own description.
package docs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

const root = "../.."

// shell is the environment in which the pages' commands run: that of somebody with a Vault, a shell and a clone.
func shell(t *testing.T, c *vaulttest.Cluster) []string {
	t.Helper()
	tools := t.TempDir()
	if err := os.Symlink(c.Binary(), filepath.Join(tools, "vault")); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	must(t, os.WriteFile(filepath.Join(home, ".curlrc"), []byte("silent\nshow-error\n"), 0o600))
	env := []string{
		"PATH=" + tools + ":" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C.UTF-8",
		"VAULT_ADDR=" + c.Address(), "VAULT_TOKEN=" + c.Root().Token(),
		"PLUGIN_DIR=" + filepath.Join(filepath.Dir(c.Nodes[0].LogPath()), "plugins"),
		"AUDIT_LOG=" + filepath.Join(filepath.Dir(c.Nodes[0].LogPath()), "audit.log"),
	}
	// Go finds its caches from the home folder, which is an empty one here.
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS"} {
		value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

// clone is a copy of the source tree, because commands build in it.
func clone(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	files, err := list.Output()
	must(t, err)
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(string(files), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o700))
	}
	return dir
}

// server is a Vault as an operator has one: with PostgreSQL behind its database engine.
func server(t *testing.T) *vaulttest.Cluster {
	t.Helper()
	c := vaulttest.New(t, vaulttest.Options{Nodes: 1, LogLevel: "info"})
	_, err := c.EnableDatabase(t.Context(), "database", vaulttest.SharedPostgres(t), "readonly", time.Hour, 24*time.Hour)
	must(t, err)
	must(t, c.Root().Sys().DeletePolicyWithContext(t.Context(), "database-readonly")) // the pages make their own
	return c
}

// people are in the shell's environment: tokens of alice, bob and carol, and the ids of their groups.
func people(t *testing.T, c *vaulttest.Cluster, policy string) (env []string) {
	t.Helper()
	all := map[string]*vaulttest.Person{}
	for _, name := range []string{"alice", "bob", "carol"} {
		person, err := c.Person(t.Context(), name, policy)
		must(t, err)
		all[name] = person
		env = append(env, strings.ToUpper(name)+"="+person.Client.Token())
	}
	admins, err := c.Group(t.Context(), "database-admins", all["bob"], all["carol"])
	must(t, err)
	auditors, err := c.Group(t.Context(), "auditors")
	must(t, err)
	return append(env, "GROUP="+admins.ID, "AUDITORS="+auditors.ID)
}

// configured is the server as docs/setup.md leaves it, but for the engine's config.
func configured(t *testing.T) (c *vaulttest.Cluster, env []string) {
	t.Helper()
	c = server(t)
	must(t, c.Policy(t.Context(), "grant-db-readonly", `path "database/creds/readonly" { capabilities = ["read"] }`))
	mount, err := c.Mount(t.Context(), vaulttest.MountOptions{Path: "jit", AllowedPolicies: []string{"grant-db-readonly"}, Unconfigured: true})
	must(t, err)
	env = append(shell(t, c), "ROLE_ID="+mount.RoleID, "SECRET_ID="+mount.SecretID)
	return c, append(env, people(t, c, mount.UserPolicy)...)
}

func TestMain(m *testing.M) { vaulttest.Main(m, vaulttest.Options{}) }

func TestInstallingAsTyped(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"README.md", "docs/setup.md"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := server(t)
			_, err := c.Root().Logical().DeleteWithContext(t.Context(), "sys/plugins/catalog/secret/"+vaulttest.PluginName)
			must(t, err)
			env := shell(t, c)
			if path == "README.md" { // the other page makes people itself
				env = append(env, people(t, c, "jit-user")...)
			}
			p := readPage(t, path)
			p.run(t, clone(t), env...)
			p.check(t)
		})
	}
}

func TestTourIsWhatTheDemoPrints(t *testing.T) {
	t.Parallel()
	demo := exec.CommandContext(t.Context(), "go", "run", "./scripts/demo")
	demo.Dir = root
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("the demo: %v\n%s", err, out)
	}
	p := readPage(t, "README.md")
	for _, b := range p.blocks {
		if b.flag == "demo" && !regexp.MustCompile(pattern(p.text(b))).MatchString(masked(string(out))) {
			t.Errorf("%s: this is not in what the demo prints:\n%s", p.where(b), p.text(b))
		}
	}
}

func TestOperatingAsTyped(t *testing.T) {
	t.Parallel()
	_, env := configured(t)
	pg := vaulttest.SharedPostgres(t)
	p := readPage(t, "docs/operations.md")
	p.run(t, clone(t), append(env, "DATABASE_USER="+pg.AdminUser, "DATABASE_PASSWORD="+pg.AdminPassword,
		fmt.Sprintf("DATABASE_URL=postgresql://{{username}}:{{password}}@%s/%s?sslmode=disable", pg.Address, pg.Database))...)
	p.check(t)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
