package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"reflect"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/echoprovider"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/provider"
	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

// TestMain has the acceptance tests run with every `go test`, on whatever terraform or tofu there is.
func TestMain(m *testing.M) {
	cli, err := terraformtest.Find(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"TF_CLI_CONFIG_FILE", "VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_CACERT"} {
		must(os.Unsetenv(name))
	}
	must(os.Setenv("TF_ACC", "1"))
	must(os.Setenv("TF_ACC_TERRAFORM_PATH", cli.Path))
	must(os.Setenv("TF_ACC_PROVIDER_HOST", cli.Registry()))
	must(os.Setenv("TF_ACC_PROVIDER_NAMESPACE", "vault-jit"))
	must(os.Setenv("CHECKPOINT_DISABLE", "1"))
	vaulttest.Main(m, vaulttest.Options{}, removeMirror)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// factories run the provider inside the test process.
func factories() map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"vaultjit": providerserver.NewProtocol6WithError(provider.New("0.1.0")()),
		"echo":     echoprovider.NewProviderServer(),
	}
}

// fixture is one mount with people around it: alice asks, bob and carol are the identity group dba.
type fixture struct {
	*vaulttest.Cluster
	t                 *testing.T
	mount             *vaulttest.Mount
	alice, bob, carol *vaulttest.Person
	dba               *vaulttest.Group
}

func newFixture(t *testing.T, o vaulttest.MountOptions) *fixture {
	t.Helper()
	return newFixtureOn(t, vaulttest.Shared(t), o)
}

func newFixtureOn(t *testing.T, cluster *vaulttest.Cluster, o vaulttest.MountOptions) *fixture {
	t.Helper()
	ctx := t.Context()
	if o.ExtraPolicy == "" {
		o.ExtraPolicy = `path "identity/group/id/*" { capabilities = ["read"] }`
	}
	w := &fixture{Cluster: cluster, t: t}
	var err error
	if w.mount, err = w.Mount(ctx, o); err != nil {
		t.Fatal(err)
	}
	for name, person := range map[string]**vaulttest.Person{"alice": &w.alice, "bob": &w.bob, "carol": &w.carol} {
		if *person, err = w.mount.Person(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if w.dba, err = w.Group(ctx, "dba", w.bob, w.carol); err != nil {
		t.Fatal(err)
	}
	return w
}

// hcl is a configuration of the mount's administrator.
func (w *fixture) hcl(body string) string { return w.hclAs(w.Root().Token(), body) }

func (w *fixture) hclAs(token, body string) string {
	return fmt.Sprintf("provider \"vaultjit\" {\n  address = %q\n  token = %q\n  mount = %q\n}\n", w.Address(), token, w.mount.Path) + body
}

// set writes below the mount as its administrator.
func (w *fixture) set(path string, data map[string]any) {
	w.t.Helper()
	if _, err := w.mount.Write(w.t.Context(), path, data); err != nil {
		w.t.Fatal(err)
	}
}

// get reads below the mount as its administrator; nil if there is nothing.
func (w *fixture) get(path string) map[string]any {
	w.t.Helper()
	secret, err := w.mount.Read(w.t.Context(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	if secret == nil {
		return nil
	}
	return secret.Data
}

// remote checks what Vault itself has, rather than what the provider says.
func (w *fixture) remote(path string, want map[string]any) resource.TestCheckFunc {
	return func(*terraform.State) error {
		got := w.get(path)
		if want == nil {
			if got != nil {
				return fmt.Errorf("%s is still there", path)
			}
			return nil
		}
		if got == nil {
			return fmt.Errorf("%s is not there", path)
		}
		for field, value := range want {
			if !reflect.DeepEqual(plain(got[field]), plain(value)) {
				return fmt.Errorf("%s: %s is %v, want %v", path, field, plain(got[field]), plain(value))
			}
		}
		return nil
	}
}

// plain makes values comparable that came by different ways.
func plain(value any) any {
	text, err := json.Marshal(value)
	must(err)
	var out any
	must(json.Unmarshal(text, &out))
	return out
}

func tokenRequest(policies ...string) *api.TokenCreateRequest {
	renewable := true
	return &api.TokenCreateRequest{Policies: policies, NoDefaultPolicy: true, Renewable: &renewable, TTL: "1h"}
}
