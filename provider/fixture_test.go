package provider_test

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
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
		err = errors.Join(err, os.Unsetenv(name))
	}
	for name, value := range map[string]string{
		"TF_ACC": "1", "TF_ACC_TERRAFORM_PATH": cli.Path, "TF_ACC_PROVIDER_HOST": cli.Registry(), "TF_ACC_PROVIDER_NAMESPACE": "vault-jit",
		"CHECKPOINT_DISABLE": "1",
	} {
		err = errors.Join(err, os.Setenv(name, value))
	}
	if err != nil {
		log.Fatal(err)
	}
	vaulttest.Main(m, vaulttest.Options{}, removeMirror)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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
	w.mount, err = w.Mount(ctx, o)
	must(t, err)
	for name, person := range map[string]**vaulttest.Person{"alice": &w.alice, "bob": &w.bob, "carol": &w.carol} {
		*person, err = w.mount.Person(ctx, name)
		must(t, err)
	}
	w.dba, err = w.Group(ctx, "dba", w.bob, w.carol)
	must(t, err)
	return w
}

// hcl is a configuration of the mount's administrator.
func (w *fixture) hcl(body string) string { return w.hclAs(w.Root().Token(), body) }

func (w *fixture) hclAs(token, body string) string {
	return fmt.Sprintf("provider \"vaultjit\" {\n  address = %q\n  token = %q\n  mount = %q\n}\n", w.Address(), token, w.mount.Path) + body
}

// as is the engine's client with the person's token.
func (w *fixture) as(person *vaulttest.Person) *client.Client {
	w.t.Helper()
	jit, err := w.mount.As(person)
	must(w.t, err)
	return jit
}

// operated is the engine's client with the root token.
func (w *fixture) operated() *client.Client {
	w.t.Helper()
	jit, err := w.mount.Operated()
	must(w.t, err)
	return jit
}

// must fails the test unless a call succeeded whose answer does not matter.
func (w *fixture) must(_ any, err error) {
	w.t.Helper()
	must(w.t, err)
}

func (w *fixture) addApproverGroup(name string, group wire.ApproverGroup) {
	w.t.Helper()
	w.must(w.operated().ApproverGroups().Write(w.t.Context(), name, group))
}

// addPolicy adds a policy that needs so many approvals of the group.
func (w *fixture) addPolicy(name, group string, approvals int) {
	w.t.Helper()
	policy := wire.NewPolicy()
	policy.Rules = []wire.Rule{{Name: group, ApproverGroups: []string{group}, Approvals: approvals}}
	w.must(w.operated().Policies().Write(w.t.Context(), name, policy))
}

// addRole adds a role that gives what there is at a path.
func (w *fixture) addRole(name, policy, path, grantPolicy string) {
	w.t.Helper()
	role := wire.NewRole()
	role.Policy, role.Path, role.GrantPolicies = policy, path, []string{grantPolicy}
	w.must(w.operated().Roles().Write(w.t.Context(), name, role))
}

func (w *fixture) checkApproverGroup(name string, want map[string]any) resource.TestCheckFunc {
	return w.checkDefinition(wire.ApproverGroupTable, "approver-groups", name, want)
}

func (w *fixture) checkPolicy(name string, want map[string]any) resource.TestCheckFunc {
	return w.checkDefinition(wire.PolicyTable, "policies", name, want)
}

func (w *fixture) checkRole(name string, want map[string]any) resource.TestCheckFunc {
	return w.checkDefinition(wire.RoleTable, "roles", name, want)
}

// checkDefinition looks at the fields as they are answered: a policy as the client reads it does not tell the default
// window that follows.
func (w *fixture) checkDefinition(table wire.Table, collection, name string, want map[string]any) resource.TestCheckFunc {
	return checkStored(collection+"/"+name, want, func() (map[string]any, error) {
		return client.DefinitionsAt[map[string]any, any](w.operated(), table, collection).Read(w.t.Context(), name)
	})
}

func (w *fixture) checkConfig(want map[string]any) resource.TestCheckFunc {
	return checkStored("config", want, func() (map[string]any, error) {
		config, err := w.operated().Config(w.t.Context())
		if err != nil {
			return nil, err
		}
		return wire.Encode(config)
	})
}

// checkStored checks fields of what the engine has, rather than what the provider says; nil if it is to have nothing.
func checkStored(what string, want map[string]any, read func() (map[string]any, error)) resource.TestCheckFunc {
	return func(*terraform.State) error {
		got, err := read()
		switch {
		case want == nil && errors.Is(err, client.ErrAbsent):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case want == nil:
			return fmt.Errorf("%s is still there: %v", what, got)
		}
		for field, value := range want {
			if !reflect.DeepEqual(normalise(got[field]), normalise(value)) {
				return fmt.Errorf("%s: %s is %v, want %v", what, field, normalise(got[field]), normalise(value))
			}
		}
		return nil
	}
}

// normalise makes values comparable that came by different ways.
func normalise(value any) (plain any) {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &plain)
	}
	if err != nil {
		panic(err)
	}
	return plain
}

func newTokenRequest(policies ...string) *api.TokenCreateRequest {
	renewable := true
	return &api.TokenCreateRequest{Policies: policies, NoDefaultPolicy: true, Renewable: &renewable, TTL: "1h"}
}
