package provider_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func (p *pipeline) requestHCL(arguments string) string {
	return p.hclAs(p.alice.Client.Token(), "resource \"vaultjit_request\" \"r\" {\n  role = \"otp\"\n  reason = \"INC-1\"\n"+arguments+"}\n")
}

// addParameters adds a parameter without a default and one with.
func (p *pipeline) addParameters() {
	p.t.Helper()
	p.must(p.operated().Roles().Change(p.t.Context(), "otp", map[string]any{
		"parameters": map[string]wire.Parameter{"host": {Pattern: "[a-z]+"}, "team": {Pattern: "[a-z]+", Default: "ops"}},
	}))
}

// counts checks how many requests are in a state.
func (p *pipeline) counts(state string, want int) resource.TestCheckFunc {
	return func(*terraform.State) error {
		if got := len(p.requests(p.t.Context(), state)); got != want {
			return fmt.Errorf("%d requests are %s, want %d", got, state, want)
		}
		return nil
	}
}

// whileItWaits checks that there is one thing to do about a request that waits: its claim_id is known after the apply.
var whileItWaits = resource.ConfigPlanChecks{PostApplyPreRefresh: []plancheck.PlanCheck{onlyClaimIDChanges{}},
	PostApplyPostRefresh: []plancheck.PlanCheck{onlyClaimIDChanges{}}}

type onlyClaimIDChanges struct{}

func (onlyClaimIDChanges) CheckPlan(_ context.Context, req plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	for _, change := range req.Plan.ResourceChanges {
		if change.Type != "vaultjit_request" {
			continue
		}
		before, after := normalise(change.Change.Before).(map[string]any), normalise(change.Change.After).(map[string]any)
		delete(before, "claim_id")
		unknown, _ := normalise(change.Change.AfterUnknown).(map[string]any)
		if !change.Change.Actions.Update() || unknown["claim_id"] != true || !reflect.DeepEqual(before, after) {
			resp.Error = fmt.Errorf("the plan has %v from %v to %v, unknown %v", change.Change.Actions, before, after, unknown)
		}
		return
	}
	resp.Error = errors.New("the plan has no request")
}

func TestRequestIsMadeOnceAndCancelledWhenDestroyed(t *testing.T) {
	p := newPipeline(t)
	p.addParameters()
	replaced := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("vaultjit_request.r", plancheck.ResourceActionReplace)},
		PostApplyPreRefresh: []plancheck.PlanCheck{onlyClaimIDChanges{}}}
	full := "  ttl = \"15m\"\n  parameters = { host = \"db\" }\n"
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             resource.ComposeTestCheckFunc(p.counts("open", 0), p.counts("cancelled", 6)),
		Steps: []resource.TestStep{
			{Config: p.requestHCL(""), ExpectNonEmptyPlan: true, ConfigPlanChecks: whileItWaits, Check: resource.ComposeTestCheckFunc(p.counts("pending", 1),
				// The policy's default window.
				resource.TestCheckResourceAttr("vaultjit_request.r", "ttl", "1h"),
				resource.TestCheckResourceAttr("vaultjit_request.r", "requester.name", p.alice.Name),
				resource.TestCheckResourceAttr("vaultjit_request.r", "requester.entity_id", p.alice.EntityID))},
			{Config: p.requestHCL("  ttl = 3600\n"), ExpectNonEmptyPlan: true, ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{onlyClaimIDChanges{}}}},
			{Config: p.requestHCL(full), ExpectNonEmptyPlan: true, ConfigPlanChecks: replaced, Check: p.counts("pending", 1)},
			{Config: p.requestHCL(full + "  keepers = { run = \"1\" }\n"), ExpectNonEmptyPlan: true, ConfigPlanChecks: replaced, Check: p.counts("pending", 1)},
			{Config: p.requestHCL(full + "  keepers = { run = \"2\" }\n"), ExpectNonEmptyPlan: true, ConfigPlanChecks: replaced, Check: p.counts("pending", 1)},
			// A ttl that is removed is a change like any other. What is null is not given.
			{Config: p.requestHCL("  parameters = { host = \"db\", team = null }\n  keepers = { run = \"2\" }\n"), ExpectNonEmptyPlan: true, ConfigPlanChecks: replaced,
				Check: resource.ComposeTestCheckFunc(p.counts("pending", 1), resource.TestCheckResourceAttr("vaultjit_request.r", "ttl", "1h"))},
			{Config: p.requestHCL("  parameters = { host = \"web\", team = \"ops\" }\n"), ExpectNonEmptyPlan: true, ConfigPlanChecks: replaced, Check: p.counts("pending", 1)},
			// A read also tells who could still approve.
			{ResourceName: "vaultjit_request.r", ImportState: true, ImportStateVerify: true, ImportStateVerifyIgnore: []string{"obstacles", "rules"}},
		},
	})
}

func TestRequestImportedTakesOverItsKeepers(t *testing.T) {
	p := newPipeline(t)
	p.addParameters()
	// The engine shows parameters with the role's defaults, and the configuration need not have these.
	host := "  parameters = { host = \"db\" }\n"
	made, err := p.as(p.alice).Ask(t.Context(), wire.Ask{Role: "otp", Reason: "INC-1", Parameters: map[string]string{"host": "db"}})
	must(t, err)
	block := fmt.Sprintf("import {\n  to = vaultjit_request.r\n  id = %q\n}\n", made.ID)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{
			{Config: p.requestHCL(host+"  keepers = { run = \"1\" }\n") + block, ExpectNonEmptyPlan: true, ConfigPlanChecks: whileItWaits,
				Check: resource.ComposeTestCheckFunc(p.counts("all", 1), resource.TestCheckResourceAttr("vaultjit_request.r", "id", made.ID))},
			{Config: p.requestHCL(host + "  keepers = { run = \"2\" }\n"), ExpectNonEmptyPlan: true, Check: p.counts("all", 2)},
		},
	})
}

func TestRequestDestroyedEndsItsGrant(t *testing.T) {
	p := newPipeline(t)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy: resource.ComposeTestCheckFunc(p.counts("ended", 1), func(*terraform.State) error {
			p.nothingLeft()
			return nil
		}),
		Steps: []resource.TestStep{
			{Config: p.requestHCL(""), ExpectNonEmptyPlan: true},
			{PreConfig: func() {
				id := p.requests(p.t.Context(), "pending")[0]
				must(t, p.approve(id))
				p.must(p.as(p.alice).Claim(t.Context(), id))
			}, Config: p.requestHCL(""), ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}},
				Check: p.counts("active", 1)},
		},
	})
}

func TestRequestThatIsOverIsKeptAndSimplyRemoved(t *testing.T) {
	p := newPipeline(t)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		CheckDestroy:             p.counts("denied", 1),
		Steps: []resource.TestStep{
			{Config: p.requestHCL(""), ExpectNonEmptyPlan: true},
			{PreConfig: func() { must(t, p.deny(p.requests(p.t.Context(), "pending")[0])) }, Config: p.requestHCL(""), ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}},
		},
	})
}

func TestRequestThatIsGoneIsMadeAgain(t *testing.T) {
	p := newPipeline(t)
	resource.Test(t, resource.TestCase{
		ProtoV6ProviderFactories: factories(),
		Steps: []resource.TestStep{
			{Config: p.requestHCL(""), ExpectNonEmptyPlan: true},
			// Filed away and past its retention.
			{PreConfig: func() {
				must(t, p.cancel(p.requests(p.t.Context(), "pending")[0]))
				p.must(p.operated().ChangeConfig(t.Context(), map[string]any{"retention": 1}))
				vaulttest.Eventually(t, "the request is tidied away", func(ctx context.Context) error {
					if _, err := p.operated().Tidy(ctx); err != nil {
						return err
					}
					if len(p.requests(ctx, "all")) > 0 {
						return errors.New("not yet")
					}
					return nil
				})
			}, Config: p.requestHCL(""), ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction("vaultjit_request.r", plancheck.ResourceActionCreate)}}, ExpectNonEmptyPlan: true},
		},
	})
}

func TestRequestFaultsSayWhatTheEngineSays(t *testing.T) {
	p := newPipeline(t)
	root := p.hcl("resource \"vaultjit_request\" \"r\" {\n  role = \"otp\"\n  reason = \"INC-1\"\n}\n")
	for name, fault := range map[string]struct{ config, says string }{
		"too long":       {p.requestHCL("  ttl = \"9h\"\n"), `ttl = "9h"[\s\S]*longer\s+than\s+the\s+max_ttl`},
		"no such role":   {p.hclAs(p.alice.Client.Token(), "resource \"vaultjit_request\" \"r\" {\n  role = \"none\"\n}\n"), `there\s+is\s+no\s+role\s+"none"`},
		"parameter":      {p.requestHCL("  parameters = { x = \"y\" }\n"), `parameters = [\s\S]*parameters\.x:\s+there\s+is\s+no\s+such\s+parameter`},
		"nobody asks":    {root, `no\s+entity`},
		"not a duration": {p.requestHCL("  ttl = \"1.5s\"\n"), `whole\s+seconds`},
	} {
		t.Run(name, func(t *testing.T) {
			resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{{
				Config: fault.config, ExpectError: regexp.MustCompile(fault.says),
			}}})
		})
	}
}

func TestParameterThatIsRemovedMakesANewRequestAndOneThatIsNullDoesNot(t *testing.T) {
	p := newPipeline(t)
	p.addParameters()
	const keep, host = "  keepers = { run = \"1\" }\n", "  parameters = { host = \"db\" }\n"
	both := "  parameters = { host = \"db\", team = \"dba\" }\n" + keep
	replaced := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("vaultjit_request.r", plancheck.ResourceActionReplace)}}
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{
		{Config: p.requestHCL(both), ExpectNonEmptyPlan: true},
		{Config: p.requestHCL(both), ExpectNonEmptyPlan: true, ConfigPlanChecks: whileItWaits, Check: p.counts("all", 1)}, // an update of claim_id
		{Config: p.requestHCL(host + keep), ExpectNonEmptyPlan: true, ConfigPlanChecks: replaced, Check: p.counts("all", 2)},
		{Config: p.requestHCL("  parameters = { host = \"db\", team = null }\n" + keep), ExpectNonEmptyPlan: true, ConfigPlanChecks: whileItWaits, Check: p.counts("all", 2)},
	}})
}
