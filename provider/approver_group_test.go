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
			Check:            w.checkApproverGroup("dba", want),
			ConfigPlanChecks: emptyAfter,
		}
	}
	entities := fmt.Sprintf("  entity_ids = [%q, %q]\n", w.bob.EntityID, w.alice.EntityID)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             w.checkApproverGroup("dba", nil),
		Steps: []resource.TestStep{
			step(fmt.Sprintf("  identity_group_ids = [%q]\n", w.dba.ID),
				map[string]any{"identity_group_ids": []string{w.dba.ID}, "entity_ids": []string{}, "description": ""}),
			step(entities, map[string]any{"identity_group_ids": []string{}}),
			step(entities+"  description = \"Who runs databases\"\n", map[string]any{"description": "Who runs databases"}),
			{ResourceName: "vaultjit_approver_group.g", ImportState: true, ImportStateId: "dba", ImportStateVerify: true,
				ImportStateVerifyIdentifierAttribute: "name"},
			{PreConfig: func() {
				w.must(w.operated().ApproverGroups().Change(t.Context(), "dba", map[string]any{"entity_ids": []string{w.carol.EntityID}}))
			},
				Config: w.hcl("resource \"vaultjit_approver_group\" \"g\" {\n  name = \"dba\"\n" + entities + "}\n"),
				ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("vaultjit_approver_group.g", plancheck.ResourceActionUpdate)}},
			},
			{PreConfig: func() { must(t, w.operated().ApproverGroups().Delete(t.Context(), "dba")) },
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
		CheckDestroy:             resource.ComposeTestCheckFunc(w.checkApproverGroup("dba", nil), w.checkPolicy("prod", nil)),
		Steps: []resource.TestStep{
			{Config: w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, ""))},
			// Somebody else's policy holds the group; the error names it.
			{PreConfig: func() { w.addPolicy("other", "dba", 1) }, Config: w.hcl(""), ExpectError: regexp.MustCompile(`used\s+by\s+policy\s+"other"`)},
			{PreConfig: func() { must(t, w.operated().Policies().Delete(t.Context(), "other")) }, Config: w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, ""))},
		},
	})
}
