package provider_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func (w *fixture) configHCL(identity, more string) string {
	return w.hcl(fmt.Sprintf(`
resource "vaultjit_config" "c" {
  address    = %q
  token_role = %q
%s
%s}
`, w.Address(), w.mount.TokenRole, identity, more))
}

func (w *fixture) appRole(secretID string, version int) string {
	return fmt.Sprintf("  role_id = %q\n  secret_id_wo = %q\n  secret_id_wo_version = %d\n", w.mount.RoleID, secretID, version)
}

// loggedIn checks that the engine can work with what it has.
func (w *fixture) loggedIn(*terraform.State) error {
	status, err := w.operated().Status(w.t.Context())
	if err == nil && !status.LoggedIn {
		err = fmt.Errorf("the engine is not logged in: %s", status.LoginProblem)
	}
	return err
}

func TestConfigEveryArgumentReachesVault(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	identity := w.appRole(w.mount.SecretID, 1)
	step := func(more string, want map[string]any) resource.TestStep {
		return resource.TestStep{
			Config: w.configHCL(identity, more), ConfigPlanChecks: emptyAfter,
			Check: resource.ComposeTestCheckFunc(w.checkConfig(want), w.loggedIn),
		}
	}
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             w.checkConfig(nil),
		Steps: []resource.TestStep{
			step("", map[string]any{
				"address": w.Address(), "token_role": w.mount.TokenRole, "role_id": w.mount.RoleID, "auth_mount": "approle", "namespace": "",
				"ca_cert": "", "tls_server_name": "", "client_cert": "", "auditor_group_ids": []string{}, "retention": 2592000, "max_pending_per_requester": 100,
			}),
			step("  retention = \"48h\"\n", map[string]any{"retention": 172800}),
			step("  max_pending_per_requester = 7\n", map[string]any{"max_pending_per_requester": 7, "retention": 2592000}),
			step(fmt.Sprintf("  auditor_group_ids = [%q]\n", w.dba.ID), map[string]any{"auditor_group_ids": []string{w.dba.ID}}),
			// Where the engine connects changes, so it is given its secret again.
			step("  tls_server_name = \"vault.internal\"\n", map[string]any{"tls_server_name": "vault.internal"}),
			step("", map[string]any{"tls_server_name": "", "auditor_group_ids": []string{}}),
			{ResourceName: "vaultjit_config.c", ImportState: true, ImportStateId: "config", ImportStateVerify: true,
				ImportStateVerifyIdentifierAttribute: "address"},
			{PreConfig: func() { w.must(w.operated().ChangeConfig(t.Context(), map[string]any{"retention": "72h"})) }, Config: w.configHCL(identity, ""),
				ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("vaultjit_config.c", plancheck.ResourceActionUpdate)}},
				Check: w.checkConfig(map[string]any{"retention": 2592000})},
			{PreConfig: func() { must(t, w.operated().DeleteConfig(t.Context())) }, Config: w.configHCL(identity, ""), Check: w.loggedIn,
				ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("vaultjit_config.c", plancheck.ResourceActionCreate)}}},
		},
	})
}

func TestConfigSecretsAreSentWhenTheirVersionChangesAndNeverKept(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	second, err := w.mount.NewSecretID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.Root().Auth().Token().CreateOrphanWithContext(t.Context(), newTokenRequest(w.mount.EnginePolicy))
	if err != nil {
		t.Fatal(err)
	}
	keepsNone := func(state *terraform.State) error {
		for _, secret := range []string{w.mount.SecretID, second, token.Auth.ClientToken} {
			if strings.Contains(state.String(), secret) {
				return fmt.Errorf("the state holds a secret")
			}
		}
		return nil
	}
	check := resource.ComposeTestCheckFunc(w.loggedIn, keepsNone)
	empty := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
	byToken := fmt.Sprintf("  token_wo = %q\n  token_wo_version = 1\n", token.Auth.ClientToken)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{
			{Config: w.configHCL(w.appRole(w.mount.SecretID, 1), ""), Check: check, ConfigPlanChecks: emptyAfter},
			// Another secret of the same version is not looked at.
			{Config: w.configHCL(w.appRole("not a secret id", 1), ""), Check: check, ConfigPlanChecks: empty},
			{Config: w.configHCL(w.appRole("not a secret id", 2), ""), ExpectError: regexp.MustCompile(`nothing\s+was\s+stored`)},
			{Config: w.configHCL(w.appRole(second, 2), ""), Check: check, ConfigPlanChecks: emptyAfter},
			{ResourceName: "vaultjit_config.c", ImportState: true, ImportStateId: "config/2", ImportStateVerify: true,
				ImportStateVerifyIdentifierAttribute: "address"},
			// The engine keeps its secret, but sends it to no other place.
			{Config: w.configHCL(fmt.Sprintf("  role_id = %q\n", w.mount.RoleID), "  tls_server_name = \"elsewhere\"\n"),
				ExpectError: regexp.MustCompile(`secret_id:\s+where\s+or\s+how\s+the\s+engine\s+connects\s+would\s+change`)},
			// From the AppRole to a token and back.
			{Config: w.configHCL(byToken, ""), Check: resource.ComposeTestCheckFunc(check, w.checkConfig(map[string]any{"role_id": ""})), ConfigPlanChecks: emptyAfter},
			{Config: w.configHCL(w.appRole(second, 3), ""), Check: check, ConfigPlanChecks: emptyAfter},
		},
	})
}

func TestConfigRotatesASecretThatOthersKnow(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{{
			Config: w.configHCL(w.appRole(w.mount.SecretID, 1), "  rotate_root = true\n"), ConfigPlanChecks: emptyAfter,
			Check: resource.ComposeTestCheckFunc(w.loggedIn, func(*terraform.State) error {
				_, err := w.Root().Logical().WriteWithContext(t.Context(), "auth/approle/login",
					map[string]any{"role_id": w.mount.RoleID, "secret_id": w.mount.SecretID})
				if err == nil {
					return fmt.Errorf("the secret id that was given still works")
				}
				return nil
			}),
		}},
	})
}

// keyPair is a certificate for a client, and its key, PEM.
func keyPair(t *testing.T) (certificate, key string) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "engine"}, NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &pair.PublicKey, pair)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}))
}

func TestConfigSendsNoSecretThatTheEngineReplaced(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	certificate, key := keyPair(t)
	config := func(keyVersion int) string {
		return w.configHCL(w.appRole(w.mount.SecretID, 1), fmt.Sprintf(
			"  rotate_root = true\n  client_cert = %q\n  client_key_wo = %q\n  client_key_wo_version = %d\n", certificate, key, keyVersion))
	}
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{
			{Config: config(1), Check: w.loggedIn, ConfigPlanChecks: emptyAfter},
			{ResourceName: "vaultjit_config.c", ImportState: true, ImportStateId: "config", ImportStateVerify: true,
				ImportStateVerifyIdentifierAttribute: "address"},
			// The secret_id that is configured works no more.
			{Config: config(2), Check: w.loggedIn, ConfigPlanChecks: emptyAfter},
		},
	})
}

func TestConfigThatIsKnownLaterMayTurnOutNull(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	token, err := w.Root().Auth().Token().CreateOrphanWithContext(t.Context(), newTokenRequest(w.mount.EnginePolicy))
	if err != nil {
		t.Fatal(err)
	}
	identity := fmt.Sprintf("  role_id = terraform_data.later.output.role_id\n  token_wo = %q\n  token_wo_version = 1\n", token.Auth.ClientToken)
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
		Config: w.configHCL(identity, "") + "resource \"terraform_data\" \"later\" {\n  input = { role_id = null }\n}\n", Check: w.loggedIn,
	}}})
}

func TestConfigFaultsAreFoundAtPlanTime(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	good := w.appRole("s", 1)
	certificate, _ := keyPair(t)
	for name, fault := range map[string]struct{ config, says string }{
		"no identity":        {w.configHCL("", ""), `The engine needs an identity`},
		"no version":         {w.configHCL("  role_id = \"r\"\n  secret_id_wo = \"s\"\n", ""), `secret_id_wo_version`},
		"two identities":     {w.configHCL(good+"  token_wo = \"t\"\n  token_wo_version = 1\n", ""), `cannot\s+be\s+configured\s+together`},
		"no secret id":       {w.configHCL("  secret_id_wo = \"s\"\n  secret_id_wo_version = 1\n", ""), `role_id:\s+it\s+is\s+empty`},
		"address":            {w.hcl("resource \"vaultjit_config\" \"c\" {\n  address = \"vault:8200\"\n  token_role = \"r\"\n" + good + "}\n"), `address\s+= "vault:8200"[\s\S]*accepted\s+is\s+a\s+URL`},
		"certificate":        {w.configHCL(good, "  ca_cert = \"nonsense\"\n"), `ca_cert = "nonsense"[\s\S]*no\s+certificate`},
		"no key":             {w.configHCL(good, fmt.Sprintf("  client_cert = %q\n", certificate)), `of\s+no\s+use\s+without\s+its\s+key`},
		"retention":          {w.configHCL(good, "  retention = \"0\"\n"), `whole\s+seconds`},
		"too few":            {w.configHCL(good, "  max_pending_per_requester = 0\n"), `max_pending_per_requester[\s\S]*at\s+least\s+1`},
		"token role is path": {w.hcl("resource \"vaultjit_config\" \"c\" {\n  address = \"https://v\"\n  token_role = \"a/b\"\n" + good + "}\n"), `token_role\s+= "a/b"`},
	} {
		t.Run(name, func(t *testing.T) {
			resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
				Config: fault.config, PlanOnly: true, ExpectError: regexp.MustCompile(fault.says),
			}}})
		})
	}
}

func TestConfigImportSaysWhatItTakes(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	config := w.configHCL(w.appRole(w.mount.SecretID, 1), "")
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{
		{Config: config},
		{ResourceName: "vaultjit_config.c", ImportState: true, ImportStateId: "jit", ExpectError: regexp.MustCompile(`it\s+must\s+be\s+"config"`)},
	}})
}

func TestConfigSecretIsInNoFileThatTerraformWrites(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	dir := newWorkspace(t, findCLI(t), required+fmt.Sprintf(`
variable "secret_id" {
  type      = string
  ephemeral = true
}
provider "vaultjit" {
  mount = %q
}
resource "vaultjit_config" "c" {
  address              = %q
  token_role           = %q
  role_id              = %q
  secret_id_wo         = var.secret_id
  secret_id_wo_version = 1
}
`, w.mount.Path, w.Address(), w.mount.TokenRole, w.mount.RoleID))
	dir.Env = append(dir.Env, "VAULT_ADDR="+w.Address(), "VAULT_TOKEN="+w.Root().Token(), "TF_VAR_secret_id="+w.mount.SecretID)
	dir.does("plan", "-out=plan", "-no-color")
	dir.does("apply", "-no-color", "plan")
	if err := w.loggedIn(nil); err != nil {
		t.Error(err)
	}
	dir.hasNothingToDo()
	dir.holdsNone(w.mount.SecretID, w.Root().Token())
}
