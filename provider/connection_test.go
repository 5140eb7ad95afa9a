package provider_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

const readOne = `data "vaultjit_policy" "x" { name = "one" }`

func providerHCL(arguments ...string) string {
	return "provider \"vaultjit\" {\n  " + strings.Join(arguments, "\n  ") + "\n}\n" + readOne
}

func fails(t *testing.T, config, says string) {
	t.Helper()
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
		Config: config, ExpectError: regexp.MustCompile(says),
	}}})
}

func works(t *testing.T, config string) {
	t.Helper()
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
		Config: config, Check: resource.TestCheckResourceAttr("data.vaultjit_policy.x", "max_ttl", "8h"),
	}}})
}

func TestConnectionErrorIsOneSentence(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	if err := w.Root().Sys().MountWithContext(t.Context(), "kv-"+w.mount.Path, &api.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("VAULT_MAX_RETRIES", "0")
	address, token, mount := fmt.Sprintf("address = %q", w.Address()), fmt.Sprintf("token = %q", w.Root().Token()), fmt.Sprintf("mount = %q", w.mount.Path)
	for name, fault := range map[string]struct{ config, says string }{
		"wrong address":   {providerHCL(`address = "http://127.0.0.1:1"`, token, mount), `cannot\s+be\s+reached\s+at\s+http://127.0.0.1:1[\s\S]*check\s+the\s+address`},
		"no address":      {providerHCL(`address = "vault"`, token, mount), `address[\s\S]*vault|cannot\s+be\s+reached`},
		"no token":        {providerHCL(address, mount), `there\s+is\s+no\s+token\s+for\s+Vault[\s\S]*VAULT_TOKEN`},
		"wrong token":     {providerHCL(address, `token = "nonsense"`, mount), `denies\s+this\s+token\s+access\s+to\s+` + w.mount.Path},
		"no mount":        {providerHCL(address, token, `mount = "nowhere"`), `nothing\s+is\s+mounted\s+at\s+"nowhere"[\s\S]*secrets\s+enable`},
		"another engine":  {providerHCL(address, token, fmt.Sprintf("mount = %q", "kv-"+w.mount.Path)), `of\s+another\s+type,\s+not\s+the\s+jit`},
		"system":          {providerHCL(address, token, `mount = "sys"`), `of\s+another\s+type`},
		"no certificate":  {providerHCL(address, token, mount, `ca_cert_file = "/does/not/exist"`), `ca_cert_file[\s\S]*/does/not/exist`},
		"two logins":      {providerHCL(address, token, mount, `auth_login_jwt = { jwt = "x" }`), `cannot\s+be\s+configured\s+together`},
		"login fails":     {providerHCL(address, mount, `auth_login_approle = { role_id = "nobody", secret_id = "x" }`), `the\s+login\s+with\s+auth_login_approle\s+at\s+auth/approle\s+failed`},
		"unknown address": {"resource \"terraform_data\" \"a\" { input = \"x\" }\n" + providerHCL("address = terraform_data.a.output", token, mount), `address\s+is\s+known\s+only\s+after`},
	} {
		t.Run(name, func(t *testing.T) { fails(t, fault.config, fault.says) })
	}
}

func TestAMountOfAnotherTypeIsNeverWrittenTo(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	kv := "kv-" + w.mount.Path
	if err := w.Root().Sys().MountWithContext(t.Context(), kv, &api.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	fails(t, fmt.Sprintf("provider \"vaultjit\" {\n  address = %q\n  token = %q\n  mount = %q\n}\n", w.Address(), w.Root().Token(), kv)+w.groupHCL(), `of\s+another\s+type`)
	if secret, err := w.Root().Logical().ReadWithContext(t.Context(), kv+"/approver-groups/dba"); err != nil || secret != nil {
		t.Errorf("the other engine has %v %v", secret, err)
	}
}

func TestASealedVaultIsNamed(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{})
	if err := cluster.Root().Sys().SealWithContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	fails(t, providerHCL(fmt.Sprintf("address = %q", cluster.Address()), `token = "t"`), `is\s+sealed:\s+unseal\s+it`)
}

// TestAnOlderPluginIsNamed has a server that is nothing but an old plugin's status.
func TestAnOlderPluginIsNamed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(out, `{"data": {"plugin_version": "v0.0.1"}}`)
	}))
	defer server.Close()
	fails(t, providerHCL(fmt.Sprintf("address = %q", server.URL), `token = "t"`), `is\s+version\s+v0.0.1,\s+but\s+provider\s+0.1.0\s+needs\s+0.1.0\s+or\s+later:\s+upgrade`)
}

func TestTheConnectionIsTakenFromTheEnvironment(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	mount := fmt.Sprintf("mount = %q", w.mount.Path)
	t.Setenv("VAULT_ADDR", w.Address())
	t.Setenv("VAULT_WRAP_TTL", "5m") // answers are not to be wrapped
	t.Run("VAULT_TOKEN", func(t *testing.T) {
		t.Setenv("VAULT_TOKEN", w.Root().Token())
		works(t, providerHCL(mount))
	})
	t.Run(".vault-token", func(t *testing.T) {
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, ".vault-token"), []byte(w.Root().Token()), 0o600); err != nil {
			t.Fatal(err)
		}
		dir := newWorkspace(t, findCLI(t), required+providerHCL(mount))
		dir.Env = append(dir.Env, "HOME="+home, "VAULT_ADDR="+w.Address())
		dir.does("plan", "-no-color")
	})
	t.Run("arguments come first", func(t *testing.T) {
		t.Setenv("VAULT_TOKEN", "nonsense")
		works(t, providerHCL(mount, fmt.Sprintf("token = %q", w.Root().Token())))
	})
}

func TestAnAppRoleLogsIn(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	if err := w.Policy(t.Context(), "reader-"+w.mount.Path, fmt.Sprintf("path \"%s/policies/*\" { capabilities = [\"read\"] }", w.mount.Path)); err != nil {
		t.Fatal(err)
	}
	role := "auth/approle/role/reader-" + w.mount.Path
	if _, err := w.Root().Logical().WriteWithContext(t.Context(), role, map[string]any{"token_policies": "reader-" + w.mount.Path}); err != nil {
		t.Fatal(err)
	}
	id, err := w.Root().Logical().ReadWithContext(t.Context(), role+"/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := w.Root().Logical().WriteWithContext(t.Context(), role+"/secret-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	address, mount := fmt.Sprintf("address = %q", w.Address()), fmt.Sprintf("mount = %q", w.mount.Path)
	t.Setenv("VAULT_TOKEN", "nonsense") // has nothing to do with it
	works(t, providerHCL(address, mount, fmt.Sprintf("auth_login_approle = { role_id = %q, secret_id = %q }", id.Data["role_id"], secret.Data["secret_id"])))
	t.Setenv("VAULT_ROLE_ID", id.Data["role_id"].(string))
	t.Setenv("VAULT_SECRET_ID", secret.Data["secret_id"].(string))
	works(t, providerHCL(address, mount, "auth_login_approle = {}"))
}

// counted is Vault behind a proxy that counts what is asked of the engine.
func (w *fixture) counted() (address string, reads *atomic.Int64) {
	target, err := url.Parse(w.Address())
	if err != nil {
		w.t.Fatal(err)
	}
	reads = &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/status") {
			reads.Add(1)
		}
		proxy.ServeHTTP(out, req)
	}))
	w.t.Cleanup(server.Close)
	return server.URL, reads
}

func TestRefreshCostsOneReadAResource(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	address, reads := w.counted()
	config := required + fmt.Sprintf(`
provider "vaultjit" {
  address = %q
  token   = %q
  mount   = %q
}
resource "vaultjit_approver_group" "g" {
  count              = 10
  name               = "g${count.index}"
  identity_group_ids = [%q]
}
resource "vaultjit_policy" "p" {
  count = 10
  name  = "p${count.index}"
  rules = [{ name = "r", approver_groups = [vaultjit_approver_group.g[count.index].name], approvals = 1 }]
}
resource "vaultjit_role" "r" {
  count          = 10
  name           = "r${count.index}"
  policy         = vaultjit_policy.p[count.index].name
  path           = "database/creds/app"
  grant_policies = ["db"]
}
`, address, w.Root().Token(), w.mount.Path, w.dba.ID)
	dir := newWorkspace(t, findCLI(t), config)
	dir.does("apply", "-auto-approve", "-parallelism=20", "-no-color")
	for what, args := range map[string][]string{
		"a refresh-only plan": {"plan", "-refresh-only", "-no-color"},
		"an empty plan":       {"plan", "-detailed-exitcode", "-no-color"},
	} {
		reads.Store(0)
		dir.says(dir.does(args...), "No changes")
		if got := reads.Load(); got != 30 {
			t.Errorf("%s of 30 resources took %d requests", what, got)
		}
	}
	dir.does("destroy", "-auto-approve", "-parallelism=20", "-no-color")
	must(t, w.checkPolicy("p3", nil)(nil))
}

func TestEveryDefinitionIsImportedByABlock(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	w.addRole("db", "one", "database/creds/app", "db")
	must(t, w.operated().Policies().Delete(t.Context(), "two"))
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
		Config: w.hcl(fmt.Sprintf(`
import {
  to = vaultjit_config.x
  id = "config"
}
import {
  to = vaultjit_approver_group.x
  id = "dba"
}
import {
  to = vaultjit_policy.x
  id = "one"
}
import {
  to = vaultjit_role.x
  id = "db"
}
resource "vaultjit_config" "x" {
  address              = %q
  token_role           = %q
  role_id              = %q
  secret_id_wo         = "not looked at"
  secret_id_wo_version = 1
}
resource "vaultjit_approver_group" "x" {
  name               = "dba"
  identity_group_ids = [%q]
}
resource "vaultjit_policy" "x" {
  name    = "one"
  rules   = [{ name = "dba", approver_groups = [vaultjit_approver_group.x.name], approvals = 1 }]
  max_ttl = 28800
}
resource "vaultjit_role" "x" {
  name           = "db"
  policy         = vaultjit_policy.x.name
  path           = "database/creds/app"
  grant_policies = ["db"]
}
`, w.Address(), w.mount.TokenRole, w.mount.RoleID, w.dba.ID)),
		// Nothing was written: the import is all there was to do.
		Check: w.checkPolicy("one", map[string]any{"version": 1}),
	}}})
}
