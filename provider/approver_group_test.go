package provider_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestApproverGroupEveryArgumentReachesVault(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	step := func(arguments string, want map[string]any) resource.TestStep {
		return resource.TestStep{
			Config:           w.hcl("resource \"vaultjit_approver_group\" \"g\" {\n  name = \"dba\"\n" + arguments + "}\n"),
			Check:            w.remote("approver-groups/dba", want),
			ConfigPlanChecks: emptyAfter,
		}
	}
	entities := fmt.Sprintf("  entity_ids = [%q, %q]\n", w.bob.EntityID, w.alice.EntityID)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             w.remote("approver-groups/dba", nil),
		Steps: []resource.TestStep{
			step(fmt.Sprintf("  identity_group_ids = [%q]\n", w.dba.ID),
				map[string]any{"identity_group_ids": []string{w.dba.ID}, "entity_ids": []string{}, "description": ""}),
			step(entities, map[string]any{"identity_group_ids": []string{}}),
			step(entities+"  description = \"Who runs databases\"\n", map[string]any{"description": "Who runs databases"}),
			{ResourceName: "vaultjit_approver_group.g", ImportState: true, ImportStateId: "dba", ImportStateVerify: true,
				ImportStateVerifyIdentifierAttribute: "name"},
			{PreConfig: func() { w.set("approver-groups/dba", map[string]any{"entity_ids": []string{w.carol.EntityID}}) },
				Config: w.hcl("resource \"vaultjit_approver_group\" \"g\" {\n  name = \"dba\"\n" + entities + "}\n"),
				ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("vaultjit_approver_group.g", plancheck.ResourceActionUpdate)}},
			},
			{PreConfig: func() {
				if err := w.mount.Delete(t.Context(), "approver-groups/dba"); err != nil {
					t.Fatal(err)
				}
			},
				Config: w.hcl("resource \"vaultjit_approver_group\" \"g\" {\n  name = \"dba\"\n" + entities + "}\n"),
				ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("vaultjit_approver_group.g", plancheck.ResourceActionCreate)}},
			},
		},
	})
}

func TestApproverGroupOfNobodyIsFoundAtPlanTime(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	for name, fault := range map[string]struct{ arguments, says string }{
		"nobody":   {"", `entity_ids:\s+it\s+is\s+empty,\s+and\s+so\s+is\s+identity_group_ids`},
		"empty id": {`entity_ids = [""]`, `entity_ids[\s\S]*not\s+be\s+empty`},
	} {
		t.Run(name, func(t *testing.T) {
			resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
				Config:   w.hcl("resource \"vaultjit_approver_group\" \"g\" {\n  name = \"g\"\n" + fault.arguments + "\n}\n"),
				PlanOnly: true, ExpectError: regexp.MustCompile(fault.says),
			}}})
		})
	}
}

func TestApproverGroupInUseIsNotDeletedUnderAPolicy(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             resource.ComposeTestCheckFunc(w.remote("approver-groups/dba", nil), w.remote("policies/prod", nil)),
		Steps: []resource.TestStep{
			{Config: w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, ""))},
			// Somebody else's policy holds the group; the error names it.
			{PreConfig: func() {
				w.set("policies/other", map[string]any{"rules": []any{map[string]any{"name": "r", "approvals": 1, "approver_groups": []string{"dba"}}}})
			}, Config: w.hcl(""), ExpectError: regexp.MustCompile(`used\s+by\s+policy\s+"other"`)},
			{PreConfig: func() {
				if err := w.mount.Delete(t.Context(), "policies/other"); err != nil {
					t.Fatal(err)
				}
			}, Config: w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, ""))},
		},
	})
}
