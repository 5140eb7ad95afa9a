package provider_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// withPolicy gives the fixture a policy "one" to guard roles by.
func (w *fixture) withPolicy() *fixture {
	w.t.Helper()
	w.addApproverGroup("dba", wire.ApproverGroup{IdentityGroupIDs: []string{w.dba.ID}})
	for _, name := range []string{"one", "two"} {
		w.addPolicy(name, "dba", 1)
	}
	return w
}

func roleHCL(arguments string) string {
	return "resource \"vaultjit_role\" \"r\" {\n  name = \"db\"\n" + arguments + "\n}\n"
}

func TestRoleEveryArgumentReachesVault(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	step := func(arguments string, want map[string]any) resource.TestStep {
		return resource.TestStep{Config: w.hcl(roleHCL(arguments)), Check: w.checkRole("db", want), ConfigPlanChecks: emptyAfter}
	}
	base := func(policy, path, more string) string {
		return fmt.Sprintf("  policy = %q\n  path = %q\n  grant_policies = [\"db\"]\n%s", policy, path, more)
	}
	written := `
  policy         = "one"
  path           = "ssh/creds/{{.Parameters.target}}"
  operation      = "write"
  grant_policies = ["ssh", "db"]
  data           = jsonencode({ ip = "{{.Parameters.ip}}", port = 22, nested = { ttl = ["{{.TTL}}"] } })
  parameters = {
    target = { pattern = "[a-z]+", required = true }
    ip     = { pattern = "127\\.0\\.0\\.[0-9]+", default = "127.0.0.1", description = "Where to" }
  }
`
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             w.checkRole("db", nil),
		Steps: []resource.TestStep{
			step(base("one", "database/creds/app", ""), map[string]any{
				"policy": "one", "grant_type": "secret", "path": "database/creds/app", "operation": "read", "data": map[string]any{},
				"parameters": map[string]any{}, "grant_policies": []string{"db"}, "allow_unleased": false,
				"requester_entity_ids": []string{}, "requester_identity_group_ids": []string{}, "description": "",
			}),
			step(base("two", "database/creds/app", ""), map[string]any{"policy": "two"}),
			step(base("one", "database/creds/other", ""), map[string]any{"path": "database/creds/other"}),
			step(base("one", "database/creds/app", "  allow_unleased = true\n"), map[string]any{"allow_unleased": true}),
			step(base("one", "database/creds/app", fmt.Sprintf("  requester_entity_ids = [%q]\n", w.alice.EntityID)),
				map[string]any{"requester_entity_ids": []string{w.alice.EntityID}, "allow_unleased": false}),
			step(base("one", "database/creds/app", fmt.Sprintf("  requester_identity_group_ids = [%q]\n", w.dba.ID)),
				map[string]any{"requester_identity_group_ids": []string{w.dba.ID}, "requester_entity_ids": []string{}}),
			step(base("one", "database/creds/app", "  description = \"Production\"\n"), map[string]any{"description": "Production"}),
			step(written, map[string]any{
				"operation": "write", "description": "",
				"data": map[string]any{"ip": "{{.Parameters.ip}}", "port": 22, "nested": map[string]any{"ttl": []string{"{{.TTL}}"}}},
				"parameters": map[string]any{
					"target": map[string]any{"pattern": "[a-z]+", "required": true, "default": "", "description": ""},
					"ip":     map[string]any{"pattern": `127\.0\.0\.[0-9]+`, "required": false, "default": "127.0.0.1", "description": "Where to"},
				},
			}),
			{ResourceName: "vaultjit_role.r", ImportState: true, ImportStateId: "db", ImportStateVerify: true,
				ImportStateVerifyIdentifierAttribute: "name"},
			// Another spelling of the same data is no change.
			{Config: w.hcl(roleHCL(regexp.MustCompile(`jsonencode\(.*\)`).ReplaceAllLiteralString(written,
				`"{\"port\": 22, \"nested\": {\"ttl\": [\"{{.TTL}}\"]}, \"ip\": \"{{.Parameters.ip}}\"}"`))),
				ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}},
		},
	})
}

func TestRoleFaultsAreFoundAtPlanTime(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	role := func(path, more string) string {
		return fmt.Sprintf("  policy = \"one\"\n  path = %q\n%s", path, more)
	}
	granting := "  grant_policies = [\"db\"]\n"
	for name, fault := range map[string]struct{ arguments, says string }{
		"unknown policy":    {"  policy = \"none\"\n  path = \"a/b\"\n" + granting, `There is no policy "none"[\s\S]*policy = "none"`},
		"no grant policies": {role("a/b", "  grant_policies = []\n"), `grant_policies = \[\][\s\S]*grant_policies:\s+it\s+is\s+empty`},
		"root":              {role("a/b", "  grant_policies = [\"root\"]\n"), `grant_policies[\s\S]*may\s+not\s+have`},
		"upper case":        {role("a/b", "  grant_policies = [\"DB\"]\n"), `not\s+a\s+policy\s+name`},
		"path":              {role("a/../b", granting), `path\s+= "a/../b"[\s\S]*not\s+a\s+clean\s+path`},
		"template":          {role("a/{{.Parameters.x}}", granting), `names\s+a\s+parameter\s+that\s+the\s+role\s+does\s+not\s+have`},
		"pattern":           {role("a/b", granting+"  parameters = { x = { pattern = \"(\" } }\n"), `parameters\.x\.pattern[\s\S]*not\s+a\s+regular\s+expression`},
		"default":           {role("a/b", granting+"  parameters = { x = { pattern = \"[a-z]\", default = \"1\" } }\n"), `does\s+not\s+match`},
		"operation":         {role("a/b", granting+"  operation = \"delete\"\n"), `operation = "delete"[\s\S]*one\s+of:\s+\["read"\s+"write"\]`},
		"grant type":        {role("a/b", granting+"  grant_type = \"token\"\n"), `grant_type = "token"[\s\S]*one\s+of:\s+\["secret"\]`},
		"data for a read":   {role("a/b", granting+"  data = jsonencode({ a = 1 })\n"), `data:\s+it\s+is\s+given`},
		"data is no object": {role("a/b", granting+"  operation = \"write\"\n  data = jsonencode([1])\n"), `data = [\s\S]*must\s+be\s+a\s+JSON\s+object`},
		"data is null":      {role("a/b", granting+"  operation = \"write\"\n  data = jsonencode(null)\n"), `data: "null" is not accepted`},
		"data is no JSON":   {role("a/b", granting+"  operation = \"write\"\n  data = \"{\"\n"), `(?i)json`},
	} {
		t.Run(name, func(t *testing.T) {
			resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
				Config: w.hcl(roleHCL(fault.arguments)), PlanOnly: true, ExpectError: regexp.MustCompile(fault.says),
			}}})
		})
	}
}

// TestUnknownValuesAreTakenAsTheyCome has every argument known only once something else is applied.
func TestUnknownValuesAreTakenAsTheyCome(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	config := fmt.Sprintf(`
resource "terraform_data" "later" {
  input = {
    group = %q, name = "dba", rule = "r", approvals = 1, ttl = "1h", pattern = "[a-z]+", truth = true
    path  = "ssh/creds/{{.Parameters.p}}", policy = "ssh", data = "{\"ip\":\"{{.Parameters.p}}\"}", operation = "write"
  }
}
locals { later = terraform_data.later.output }

resource "vaultjit_approver_group" "g" {
  name               = local.later.name
  identity_group_ids = [local.later.group]
  description        = local.later.rule
}
resource "vaultjit_policy" "p" {
  name           = "p"
  rules          = [{ name = local.later.rule, approver_groups = [vaultjit_approver_group.g.name], approvals = local.later.approvals }]
  max_ttl        = local.later.ttl
  reason_pattern = local.later.pattern
  require_reason = local.later.truth
}
resource "vaultjit_role" "r" {
  name           = "r"
  policy         = vaultjit_policy.p.name
  path           = local.later.path
  operation      = local.later.operation
  data           = local.later.data
  grant_policies = [local.later.policy]
  parameters     = { p = { pattern = local.later.pattern, required = local.later.truth } }
  requester_identity_group_ids = [local.later.group]
}
`, w.dba.ID)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{{
			Config: w.hcl(config), ConfigPlanChecks: emptyAfter,
			Check: resource.ComposeTestCheckFunc(
				w.checkPolicy("p", map[string]any{"max_ttl": 3600, "default_ttl": 3600}),
				w.checkRole("r", map[string]any{"path": "ssh/creds/{{.Parameters.p}}", "grant_policies": []string{"ssh"}}),
			),
		}},
	})
}
