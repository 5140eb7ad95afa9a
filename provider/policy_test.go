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

// emptyAfter checks that nothing is left to plan after an apply; terraform-plugin-testing itself checks it after a refresh.
var emptyAfter = resource.ConfigPlanChecks{PostApplyPreRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}

func (w *fixture) groupHCL() string {
	return fmt.Sprintf("resource \"vaultjit_approver_group\" \"dba\" {\n  name = \"dba\"\n  identity_group_ids = [%q]\n}\n", w.dba.ID)
}

const smallPolicy = `
resource "vaultjit_policy" "prod" {
  name  = "prod"
  rules = [{ name = "dba", approver_groups = [vaultjit_approver_group.dba.name], approvals = 1 }]
%s}
`

func TestPolicyEveryArgumentReachesVault(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	step := func(arguments string, want map[string]any) resource.TestStep {
		return resource.TestStep{
			Config: w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, arguments)), Check: w.checkPolicy("prod", want), ConfigPlanChecks: emptyAfter,
		}
	}
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             w.checkPolicy("prod", nil),
		Steps: []resource.TestStep{
			// What is not configured is the engine's own default.
			step("", map[string]any{
				"rules":          []any{map[string]any{"name": "dba", "approver_groups": []string{"dba"}, "approvals": 1}},
				"deny_threshold": 1, "allow_self_approval": false, "require_reason": true, "reason_pattern": "",
				"request_ttl": 28800, "claim_ttl": 3600, "default_ttl": 3600, "max_ttl": 28800, "description": "",
			}),
			step("  deny_threshold = 2\n", map[string]any{"deny_threshold": 2}),
			step("  allow_self_approval = true\n", map[string]any{"allow_self_approval": true, "deny_threshold": 1}),
			step("  require_reason = false\n", map[string]any{"require_reason": false, "allow_self_approval": false}),
			step("  reason_pattern = \"INC-[0-9]+\"\n", map[string]any{"reason_pattern": "INC-[0-9]+", "require_reason": true}),
			step("  request_ttl = \"90m\"\n", map[string]any{"request_ttl": 5400, "reason_pattern": ""}),
			step("  claim_ttl = 120\n", map[string]any{"claim_ttl": 120, "request_ttl": 28800}),
			step("  max_ttl = \"30m\"\n", map[string]any{"max_ttl": 1800, "default_ttl": 1800, "claim_ttl": 3600}),
			step("  default_ttl = \"10m\"\n", map[string]any{"max_ttl": 28800, "default_ttl": 600}),
			step("  description = \"Production\"\n", map[string]any{"default_ttl": 3600, "description": "Production"}),
			{ResourceName: "vaultjit_policy.prod", ImportState: true, ImportStateId: "prod", ImportStateVerify: true,
				ImportStateVerifyIdentifierAttribute: "name"},
		},
	})
}

func TestPolicyDurationsOfOneLengthPlanEmpty(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	config := func(spelling string) string {
		return w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, "  max_ttl = "+spelling+"\n"))
	}
	same := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{
			{Config: config(`"2h"`), ConfigPlanChecks: emptyAfter},
			{Config: config(`7200`), ConfigPlanChecks: same},
			{Config: config(`"120m"`), ConfigPlanChecks: same},
			{Config: config(`"7200s"`), ConfigPlanChecks: same},
			{Config: config(`"3h"`), Check: w.checkPolicy("prod", map[string]any{"max_ttl": 10800})},
		},
	})
}

func TestPolicyDriftAndDeletionAreSeen(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	config := w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, ""))
	planned := func(action plancheck.ResourceActionType) resource.ConfigPlanChecks {
		return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("vaultjit_policy.prod", action)}}
	}
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{
			{Config: config},
			{PreConfig: func() {
				w.must(w.operated().Policies().Change(t.Context(), "prod", map[string]any{"deny_threshold": 3, "default_ttl": "5m"}))
			}, Config: config,
				ConfigPlanChecks: planned(plancheck.ResourceActionUpdate),
				Check:            w.checkPolicy("prod", map[string]any{"deny_threshold": 1, "default_ttl": 3600})},
			// A field that follows from another one drifts alone, too.
			{PreConfig: func() {
				w.must(w.operated().Policies().Change(t.Context(), "prod", map[string]any{"default_ttl": "5m"}))
			}, Config: config,
				ConfigPlanChecks: planned(plancheck.ResourceActionUpdate),
				Check:            w.checkPolicy("prod", map[string]any{"default_ttl": 3600})},
			{PreConfig: func() { must(t, w.operated().Policies().Delete(t.Context(), "prod")) }, Config: config,
				ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
				Check:            w.checkPolicy("prod", map[string]any{"deny_threshold": 1})},
		},
	})
}

func TestPolicyOfAnotherNameIsAnother(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	config := func(name string) string {
		return w.hcl(w.groupHCL() + fmt.Sprintf(`
resource "vaultjit_policy" "prod" {
  name  = %q
  rules = [{ name = "dba", approver_groups = [vaultjit_approver_group.dba.name], approvals = 1 }]
}
`, name))
	}
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{
			{Config: config("one")},
			{Config: config("two"), Check: resource.ComposeTestCheckFunc(w.checkPolicy("one", nil), w.checkPolicy("two", map[string]any{"deny_threshold": 1})),
				ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("vaultjit_policy.prod", plancheck.ResourceActionReplace)}}},
		},
	})
}

func TestPolicyFaultsAreFoundAtPlanTime(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	w.addApproverGroup("ops", wire.ApproverGroup{EntityIDs: []string{w.bob.EntityID}})
	policy := func(rules, more string) string {
		return w.hcl(fmt.Sprintf("resource \"vaultjit_policy\" \"p\" {\n  name = \"p\"\n  rules = %s\n%s}\n", rules, more))
	}
	good := `[{ name = "ops", approver_groups = ["ops"], approvals = 1 }]`
	for name, fault := range map[string]struct{ config, says string }{
		"no approvals":       {policy(`[{ name = "ops", approver_groups = ["ops"], approvals = 0 }]`, ""), `rules\[0\]\.approvals:\s+it\s+is\s+0\s+in\s+rule\s+"ops";\s+it\s+must\s+be\s+at\s+least\s+1`},
		"negative approvals": {policy(`[{ name = "ops", approver_groups = ["ops"], approvals = -1 }]`, ""), `approvals:\s+it\s+is\s+-1`},
		"no rules":           {policy(`[]`, ""), `rules:\s+it\s+is\s+empty`},
		"no groups":          {policy(`[{ name = "ops", approver_groups = [], approvals = 1 }]`, ""), `approver_groups:\s+it\s+is\s+empty`},
		"unknown group":      {policy(`[{ name = "ops", approver_groups = ["oops"], approvals = 1 }]`, ""), `There is no approver group "oops"`},
		"rules of one name": {policy(`[{ name = "ops", approver_groups = ["ops"], approvals = 1 }, { name = "ops", approver_groups = ["ops"], approvals = 1 }]`, ""),
			`rules\[1\]\.name:\s+there\s+are\s+two\s+rules\s+"ops"`},
		"bad pattern":       {policy(good, "  reason_pattern = \"(\"\n"), `reason_pattern[\s\S]*not\s+a\s+regular\s+expression`},
		"no duration":       {policy(good, "  max_ttl = \"soon\"\n"), `max_ttl = "soon"[\s\S]*whole\s+seconds`},
		"negative duration": {policy(good, "  max_ttl = \"-1h\"\n"), `whole\s+seconds`},
		"part of a second":  {policy(good, "  claim_ttl = \"1500ms\"\n"), `whole\s+seconds`},
		"contradiction":     {policy(good, "  default_ttl = \"2h\"\n  max_ttl = \"1h\"\n"), `default_ttl[\s\S]*longer\s+than\s+max_ttl`},
		"threshold":         {policy(good, "  deny_threshold = 0\n"), `deny_threshold = 0[\s\S]*at\s+least\s+1`},
		"name":              {w.hcl(`resource "vaultjit_policy" "p" {` + "\n name = \"a/b\"\n rules = " + good + "\n}"), `letters,\s+digits`},
	} {
		t.Run(name, func(t *testing.T) {
			resource.Test(t, resource.TestCase{
				ProtoV6ProviderFactories: factories(),
				Steps:                    []resource.TestStep{{Config: fault.config, PlanOnly: true, ExpectError: regexp.MustCompile(fault.says)}},
			})
			if err := w.checkPolicy("p", nil)(nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPolicyThatCannotBeMetBlamesItsRule(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{{
			Config: w.hcl(w.groupHCL() + `
resource "vaultjit_policy" "p" {
  name  = "p"
  rules = [{ name = "dba", approver_groups = [vaultjit_approver_group.dba.name], approvals = 3 }]
}`),
			ExpectError: regexp.MustCompile(`rules\s+=[\s\S]*could\s+never\s+be\s+met[\s\S]*lack\s+1\s+people`),
		}},
	})
}
