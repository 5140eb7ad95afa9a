package provider_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// expectShown checks a value of a data source.
func expectShown(address, attribute string, want knownvalue.Check) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(address, tfjsonpath.New(attribute), want)
}

func TestDefinitionsAreReadByName(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	w.addRole("db", "one", "database/creds/app", "db")
	text := knownvalue.StringExact
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{
		{Config: w.hcl(`
data "vaultjit_approver_group" "x" { name = "dba" }
data "vaultjit_policy" "x" { name = "one" }
data "vaultjit_role" "x" { name = "db" }
`), ConfigStateChecks: []statecheck.StateCheck{
			expectShown("data.vaultjit_approver_group.x", "identity_group_ids", knownvalue.SetExact([]knownvalue.Check{text(w.dba.ID)})),
			expectShown("data.vaultjit_approver_group.x", "version", knownvalue.Int64Exact(1)),
			expectShown("data.vaultjit_approver_group.x", "updated_by", text("root")),
			expectShown("data.vaultjit_policy.x", "max_ttl", text("8h")),
			expectShown("data.vaultjit_policy.x", "rules", knownvalue.ListSizeExact(1)),
			expectShown("data.vaultjit_role.x", "path", text("database/creds/app")),
		}},
		{Config: w.hcl(`data "vaultjit_policy" "x" { name = "none" }`), ExpectError: regexp.MustCompile(`There is none at the mount`)},
	}})
}

func TestRequestsAreListedAndRead(t *testing.T) {
	p := newPipeline(t)
	ids := []string{p.ask(), p.ask()}
	must(t, p.deny(ids[0]))
	text := knownvalue.StringExact
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
		Config: p.hclAs(p.alice.Client.Token(), fmt.Sprintf(`
data "vaultjit_requests" "open" {}
data "vaultjit_requests" "denied" {
  state = ["denied"]
  role  = "otp"
}
data "vaultjit_requests" "other" {
  state = ["all"]
  role  = "other"
}
data "vaultjit_request" "denied" { id = %q }
`, ids[0])),
		ConfigStateChecks: []statecheck.StateCheck{
			expectShown("data.vaultjit_requests.open", "requests", knownvalue.ListExact([]knownvalue.Check{knownvalue.ObjectPartial(map[string]knownvalue.Check{
				"id": text(ids[1]), "state": text("pending"), "requester": text(p.alice.Name), "ttl": text("5m"), "grant_type": text("secret")})})),
			expectShown("data.vaultjit_requests.denied", "requests", knownvalue.ListExact([]knownvalue.Check{knownvalue.ObjectPartial(map[string]knownvalue.Check{
				"id": text(ids[0])})})),
			expectShown("data.vaultjit_requests.other", "requests", knownvalue.ListSizeExact(0)),
			expectShown("data.vaultjit_request.denied", "state", text("denied")),
			expectShown("data.vaultjit_request.denied", "data", text(`{"ip":"127.0.0.1"}`)),
			expectShown("data.vaultjit_request.denied", "decisions", knownvalue.ListExact([]knownvalue.Check{knownvalue.ObjectPartial(map[string]knownvalue.Check{
				"verdict": text("deny"), "comment": text("by the book"), "counts": knownvalue.Bool(true)})})),
			expectShown("data.vaultjit_request.denied", "grant", knownvalue.Null()),
			expectShown("data.vaultjit_request.denied", "ttl", text("5m")),
			expectShown("data.vaultjit_request.denied", "requester", knownvalue.ObjectExact(map[string]knownvalue.Check{
				"entity_id": text(p.alice.EntityID), "name": text(p.alice.Name)})),
		},
	}}})
}

func TestPolicyCheckTellsWhetherAPolicyCanBeMet(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	w.addApproverGroup("dba", wire.ApproverGroup{IdentityGroupIDs: []string{w.dba.ID}})
	w.addPolicy("both", "dba", 2)
	check := `
data "vaultjit_policy_check" "x" { name = "both" }
resource "terraform_data" "x" {
  lifecycle {
    precondition {
      condition     = data.vaultjit_policy_check.x.satisfiable
      error_message = "Nobody could satisfy ${data.vaultjit_policy_check.x.name}: ${data.vaultjit_policy_check.x.rules[0].spare}."
    }
  }
}
`
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{
		{Config: w.hcl(check), ConfigStateChecks: []statecheck.StateCheck{
			expectShown("data.vaultjit_policy_check.x", "satisfiable", knownvalue.Bool(true)),
			expectShown("data.vaultjit_policy_check.x", "known", knownvalue.Bool(true)),
			expectShown("data.vaultjit_policy_check.x", "depends_on_people", knownvalue.ListSizeExact(2)),
			expectShown("data.vaultjit_policy_check.x", "rules", knownvalue.ListExact([]knownvalue.Check{knownvalue.ObjectPartial(map[string]knownvalue.Check{
				"spare": knownvalue.Int64Exact(0), "candidates": knownvalue.ListSizeExact(2)})})),
		}},
		// Somebody leaves: the plan fails.
		{PreConfig: func() {
			if err := w.dba.SetMembers(t.Context(), w.bob); err != nil {
				t.Fatal(err)
			}
		}, Config: w.hcl(check), PlanOnly: true, ExpectError: regexp.MustCompile(`Nobody could satisfy both: -1`)},
	}})
}

func TestPolicyCheckSaysWhenItCannotKnow(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{ExtraPolicy: "# none"})
	w.withPolicy()
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
		Config: w.hcl(`data "vaultjit_policy_check" "x" { name = "one" }`), ConfigStateChecks: []statecheck.StateCheck{
			expectShown("data.vaultjit_policy_check.x", "satisfiable", knownvalue.Bool(false)),
			expectShown("data.vaultjit_policy_check.x", "known", knownvalue.Bool(false)),
		}}}})
}

func TestQuorumFunctionCountsAsTheEngineDoes(t *testing.T) {
	rules := `[{ name = "any", approver_groups = ["a", "b"], approvals = 1 }, { name = "a", approver_groups = ["a"], approvals = 1 }]`
	output := func(approvals string) string {
		return required + fmt.Sprintf("output \"q\" {\n  value = provider::vaultjit::quorum(%s, %s)\n}\n", rules, approvals)
	}
	met := func(want bool, missing int) []statecheck.StateCheck {
		return []statecheck.StateCheck{statecheck.ExpectKnownOutputValue("q", knownvalue.ObjectPartial(map[string]knownvalue.Check{
			"met": knownvalue.Bool(want), "missing": knownvalue.ListSizeExact(missing)}))}
	}
	person := func(name, groups string) string {
		return fmt.Sprintf("{ approver = %q, approver_groups = [%s] }", name, groups)
	}
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{
		{Config: output("[]"), ConfigStateChecks: met(false, 2)},
		// The best assignment, whatever the order.
		{Config: output("[" + person("ann", `"a"`) + "," + person("bob", `"b"`) + "]"), ConfigStateChecks: met(true, 0)},
		// One person counts once, however often they approve.
		{Config: output("[" + person("ann", `"a"`) + "," + person("ann", `"b"`) + "]"), ConfigStateChecks: met(false, 1)},
		{Config: output("[" + person("", `"a"`) + "]"), ExpectError: regexp.MustCompile(`without\s+a\s+name`)},
		{Config: output("[null]"), ExpectError: regexp.MustCompile(`without\s+a\s+name`)},
		{Config: output("[{ approver = \"ann\", approver_groups = null }]"), ConfigStateChecks: met(false, 2)},
		{Config: required + "output \"q\" {\n  value = provider::vaultjit::quorum([null], [])\n}\n", ExpectError: regexp.MustCompile(`a\s+rule,[\s\S]*is\s+null`)},
	}})
}
