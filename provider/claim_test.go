package provider_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

// aFlow is a workspace of alice's in which people are asked first and the credential is used later.
type aFlow struct {
	*workspace
	p       *pipeline
	outside string
}

// flow has a request with the given arguments more, under the given provider. What uses the credential is made once.
func (p *pipeline) flow(t *testing.T, cli terraformtest.CLI, request string) *aFlow {
	t.Helper()
	outside := filepath.Join(t.TempDir(), "otp")
	return &aFlow{p: p, outside: outside, workspace: p.alices(newWorkspace(t, cli, required+fmt.Sprintf(`
provider "vaultjit" { mount = %[1]q }
provider "vaultjit" {
  alias = "asker"
  mount = %[1]q
}
variable "patience" { default = "3s" }
resource "vaultjit_request" "deploy" {
  role   = "otp"
  reason = "INC-42"
%[2]s
}
ephemeral "vaultjit_credentials" "deploy" {
  claim_id = vaultjit_request.deploy.claim_id
  timeouts = { open = var.patience }
}
resource "terraform_data" "use" {
  triggers_replace = vaultjit_request.deploy.id
  provisioner "local-exec" {
    command     = "printf %%s \"$OTP\" > %[3]s"
    environment = { OTP = ephemeral.vaultjit_credentials.deploy.data.key }
  }
}
`, p.mount.Path, request, outside)))}
}

// approved asks, has people approve, and gives the request's id.
func (f *aFlow) approved() string {
	f.t.Helper()
	f.does("apply", "-auto-approve", "-no-color", "-target=vaultjit_request.deploy")
	id := f.p.requests(f.t.Context(), "pending")[0]
	must(f.t, f.p.approve(id))
	return id
}

// used checks that the request was claimed, its credential used and given back, and that there is nothing more to do.
func (f *aFlow) used(id string) {
	f.t.Helper()
	f.p.wantState(id, approval.StateEnded)
	f.p.nothingLeft()
	if otp, err := os.ReadFile(f.outside); err != nil || len(otp) == 0 {
		f.t.Errorf("the command had no password: %v", err)
	}
	for _, refresh := range []string{"-refresh=true", "-refresh=false"} {
		f.does("plan", "-detailed-exitcode", "-no-color", refresh)
	}
	if all := f.p.requests(f.t.Context(), "all"); len(all) != 1 {
		f.t.Errorf("people were asked %d times", len(all))
	}
}

// planned makes every kind of plan.
func (f *aFlow) planned() {
	f.t.Helper()
	f.says(f.does("plan", "-no-color", "-out=plan"), "1 to add, 1 to change, 0 to destroy", "claim_id", "(known after apply)")
	for _, more := range [][]string{{}, {"-refresh=false"}, {"-refresh-only"}, {"-destroy"}, {"-target=terraform_data.use"}} {
		f.does(append([]string{"plan", "-no-color"}, more...)...)
	}
	f.does("apply", "-refresh-only", "-auto-approve", "-no-color")
}

func TestPlansLeaveAnApprovalToTheApply(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		for name, request := range map[string]string{
			"without keepers": "", "with keepers": "  keepers = { release = \"1\" }", "of an alias": "  provider = vaultjit.asker",
		} {
			t.Run(name, func(t *testing.T) {
				f := newPipeline(t).flow(t, cli, request)
				id := f.approved()
				f.planned()
				f.p.wantState(id, approval.StateApproved)
				if name == "with keepers" {
					f.does("apply", "-auto-approve", "-no-color")
				} else {
					f.does("plan", "-no-color", "-out=plan")
					f.does("apply", "-no-color", "plan")
				}
				f.used(id)
			})
		}
	})
}

func TestApplyOfATargetClaimsOnlyWhatItReaches(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		f := newPipeline(t).flow(t, cli, "")
		id := f.approved()
		f.write("more.tf", "resource \"terraform_data\" \"other\" {}\n")
		f.does("apply", "-auto-approve", "-no-color", "-target=terraform_data.other")
		f.p.wantState(id, approval.StateApproved)
		f.does("apply", "-auto-approve", "-no-color", "-target=terraform_data.use")
		f.used(id)
	})
}

func TestRequestCancelledAfterThePlanStopsTheApply(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		f := newPipeline(t).flow(t, cli, "")
		id := f.approved()
		f.does("plan", "-no-color", "-out=plan")
		must(t, f.p.cancel(id))
		f.fails([]string{"apply", "-no-color", "plan"}, "There is nothing to claim", "is cancelled by its requester", "new keepers")
		if strings.Contains(f.does("state", "list"), "terraform_data.use") {
			t.Error("what needs the credential was made without")
		}
	})
}

func TestDestroyCancelsWhatIsApprovedAndClaimsNothing(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		f := newPipeline(t).flow(t, cli, "")
		id := f.approved()
		f.does("destroy", "-auto-approve", "-no-color")
		f.p.wantState(id, approval.StateCancelled)
		f.p.nothingLeft()
	})
}

func TestDestroyClaimsNothingForAProviderBlockThatTakesTheCredential(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		f := newPipeline(t).flow(t, cli, "")
		group := func(token string) string {
			return fmt.Sprintf(`
provider "vaultjit" {
  alias = "other"
  mount = %q
  token = %s
}
resource "vaultjit_approver_group" "other" {
  provider   = vaultjit.other
  name       = "other"
  entity_ids = [%q]
}
`, f.p.mount.Path, token, f.p.bob.EntityID)
		}
		root := strconv.Quote(f.p.Root().Token())
		f.write("more.tf", group(root))
		f.does("apply", "-auto-approve", "-no-color", "-target=vaultjit_approver_group.other")
		id := f.approved()
		f.write("more.tf", group("try(ephemeral.vaultjit_credentials.deploy.data.key, "+root+")"))
		f.does("destroy", "-auto-approve", "-no-color", "-refresh=false")
		must(t, f.p.checkApproverGroup("other", nil)(nil))
		f.p.wantState(id, approval.StateCancelled)
		f.p.nothingLeft()
	})
}

// TestPlanAfterAnApplyOfOneProcessClaimsNothing has `terraform test` apply and then plan, one after the other.
func TestPlanAfterAnApplyOfOneProcessClaimsNothing(t *testing.T) {
	const target = "  plan_options { target = [vaultjit_request.deploy] }\n"
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		for name, c := range map[string]struct {
			apply, plan string
			approves    bool
			end         string
		}{
			"ended":                   {"", "", true, "ended"},
			"ended, not refreshed":    {"", "  plan_options { refresh = false }\n", true, "ended"},
			"ended, only refreshed":   {"", "  plan_options { mode = refresh-only }\n", true, "ended"},
			"waiting":                 {target, "", false, "cancelled"},
			"waiting, only refreshed": {target, "  plan_options { mode = refresh-only }\n", false, "cancelled"},
		} {
			t.Run(name, func(t *testing.T) {
				f := newPipeline(t).flow(t, cli, "")
				f.write("flow.tftest.hcl", "run \"apply\" {\n"+c.apply+"}\nrun \"plan\" {\n  command = plan\n"+c.plan+"}\n")
				if c.approves {
					f.Env = append(f.Env, "TF_VAR_patience=1m")
					decided := f.p.approver(f.p.approve)
					defer func() { <-decided }()
				}
				f.says(f.does("test", "-no-color"), "2 passed, 0 failed")
				// What was waiting was cancelled when the test tore down what it had made.
				f.p.endsUp(1, c.end)
			})
		}
	})
}

func TestRequestOfAnEarlierRunIsWaitedForAndLeftAsItIs(t *testing.T) {
	p := newPipeline(t)
	f := p.flow(t, findCLI(t), "")
	f.does("apply", "-auto-approve", "-no-color", "-target=vaultjit_request.deploy")
	id := p.requests(t.Context(), "pending")[0]
	f.fails([]string{"apply", "-auto-approve", "-no-color"}, "no quorum within timeouts.open (3s)", "not made by this run", "apply again once it is approved")
	p.wantState(id, approval.StatePending)
}

// TestProviderConfiguredFromTheCredentialIsPlannedWithoutIt has an upstream that gives a token for another provider block.
func TestProviderConfiguredFromTheCredentialIsPlannedWithoutIt(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		p := newPipeline(t)
		// The password is no token, so a token that works beside it tells that the password arrived.
		f := p.flow(t, cli, "")
		f.write("more.tf", fmt.Sprintf(`
provider "vaultjit" {
  alias = "granted"
  mount = %[1]q
  token = try(ephemeral.vaultjit_credentials.deploy.data.key != "" ? %[2]q : null, null)
}
resource "vaultjit_approver_group" "granted" {
  provider   = vaultjit.granted
  name       = "granted"
  entity_ids = [%[3]q]
}
`, p.mount.Path, p.Root().Token(), p.bob.EntityID))
		// Without a grant the block falls back on alice, who may read and no more.
		if err := p.Policy(t.Context(), p.mount.UserPolicy, fmt.Sprintf("path \"%[1]s/approver-groups/*\" { capabilities = [\"read\"] }\n"+
			"path \"%[1]s/*\" { capabilities = [\"create\", \"update\", \"read\", \"list\"] }\npath \"%[1]s/approver-groups/granted\" { capabilities = [\"read\"] }", p.mount.Path)); err != nil {
			t.Fatal(err)
		}
		id := f.approved()
		f.does("plan", "-no-color", "-out=plan")
		f.does("plan", "-no-color", "-refresh-only")
		f.does("plan", "-no-color", "-destroy")
		p.wantState(id, approval.StateApproved)
		f.does("apply", "-no-color", "plan")
		must(t, p.checkApproverGroup("granted", map[string]any{"entity_ids": []string{p.bob.EntityID}})(nil))
		f.used(id)
	})
}

// literal is a workspace of alice's with a request that was made beside Terraform.
func (p *pipeline) literal(t *testing.T, cli terraformtest.CLI, claim, command string) *workspace {
	t.Helper()
	return p.alices(newWorkspace(t, cli, required+fmt.Sprintf(`
provider "vaultjit" { mount = %q }
variable "id" {}
variable "patience" { default = "1m" }
ephemeral "vaultjit_credentials" "x" {
  request_id = var.id
  timeouts   = { open = var.patience }
  %s
}
resource "terraform_data" "use" {
  triggers_replace = plantimestamp()
  provisioner "local-exec" {
    command     = %q
    environment = { OTP = try(ephemeral.vaultjit_credentials.x.data.key, "") }
  }
}
`, p.mount.Path, claim, command)))
}

func TestRequestMadeElsewhereIsClaimedOnlyByAnApply(t *testing.T) {
	runOnEach(t, func(t *testing.T, cli terraformtest.CLI) {
		t.Helper()
		p := newPipeline(t)
		w := p.literal(t, cli, "claim = terraform.applying", "test -n \"$OTP\"")
		id := p.ask()
		w.Env = append(w.Env, "TF_VAR_id="+id)
		w.does("plan", "-no-color")
		w.fails([]string{"apply", "-auto-approve", "-no-color", "-var=patience=3s"}, "no quorum within timeouts.open (3s)", "is left as it is")
		p.wantState(id, approval.StatePending)
		decided := p.approver(func(id string) error {
			time.Sleep(2 * time.Second) // while it is waited for
			return p.approve(id)
		})
		w.does("apply", "-auto-approve", "-no-color")
		<-decided
		p.wantState(id, approval.StateEnded)
		p.nothingLeft()
		// The next one finds it over, and says so.
		w.fails([]string{"apply", "-auto-approve", "-no-color"}, "Warning: There is no credential", "(revoked)", "new request")

		again := p.ask()
		must(t, p.approve(again))
		w.Env = append(w.Env, "TF_VAR_id="+again)
		w.does("plan", "-no-color", "-out=plan")
		w.does("plan", "-no-color", "-destroy")
		p.wantState(again, approval.StateApproved)
		w.does("apply", "-no-color", "plan")
		p.wantState(again, approval.StateEnded)
		p.nothingLeft()
	})
}

func TestRequestThatIsNotToBeClaimedIsNotLookedAt(t *testing.T) {
	p := newPipeline(t)
	w := p.literal(t, findCLI(t), "claim = false", "test -z \"$OTP\"")
	address, calls := p.counted()
	w.Env = append(w.Env, "VAULT_ADDR="+address)
	id := p.ask()
	apply := []string{"apply", "-auto-approve", "-no-color", "-var=patience=3s", "-var=id=" + id}
	w.does(apply...)
	p.wantState(id, approval.StatePending)
	must(t, p.approve(id))
	w.does(apply...)
	p.wantState(id, approval.StateApproved)
	if asked := calls.Load(); asked != 0 {
		t.Errorf("the engine was asked %d times", asked)
	}
}

func TestCredentialsSayWhatIsMissingInTheirArguments(t *testing.T) {
	p := newPipeline(t)
	for name, c := range map[string]struct{ arguments, says string }{
		"no claim":          {`request_id = "` + someID + `"`, "claim = terraform.applying"},
		"no request":        {``, "Give claim_id"},
		"two requests":      {"request_id = \"" + someID + "\"\nclaim_id = \"" + someID + "\"", "not both"},
		"claim of claim_id": {"claim_id = \"" + someID + "\"\nclaim = true", "leave claim out"},
	} {
		t.Run(name, func(t *testing.T) {
			w := p.alices(newWorkspace(t, findCLI(t), required+fmt.Sprintf("provider \"vaultjit\" { mount = %q }\nephemeral \"vaultjit_credentials\" \"x\" {\n%s\n}\n", p.mount.Path, c.arguments)))
			w.fails([]string{"validate", "-no-color"}, c.says)
		})
	}
}

const someID = "01999d3c-7c38-7d2a-b4a0-5c33b9a6d3d1"

// shortlived has alice log in anew, with a token that ends so soon unless it is renewed.
func (p *pipeline) shortlived(ttl, maxTTL string) {
	p.t.Helper()
	put(p.t, p.Root(), "auth/userpass/users/"+p.alice.Name, map[string]any{"token_ttl": ttl, "token_max_ttl": maxTTL})
	if err := p.alice.Login(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

func TestPlainTokenIsRenewedWhileItWaits(t *testing.T) {
	p := newPipeline(t)
	p.shortlived("10s", "1h")
	w := p.run(t, findCLI(t), "true", "1m")
	decided := p.approvedAfter(14 * time.Second)
	w.does("apply", "-auto-approve", "-no-color")
	<-decided
	p.nothingLeft()
	if _, err := p.alice.Client.Auth().Token().LookupSelfWithContext(t.Context()); err != nil {
		t.Errorf("a token that was given does not live on: %v", err)
	}
}

func TestPlainTokenThatEndsBeforeTheWaitIsRefusedAtOnce(t *testing.T) {
	p := newPipeline(t)
	p.shortlived("30s", "30s")
	w := p.run(t, findCLI(t), "true", "5m")
	w.fails([]string{"apply", "-auto-approve", "-no-color"}, "Vault's token ends in", "before timeouts.open (5m0s) is over", "auth_login_approle")
	if cancelled := p.requests(t.Context(), "cancelled"); len(cancelled) != 1 {
		t.Errorf("%d requests are cancelled, want 1", len(cancelled))
	}
	p.nothingLeft()
}

func TestRequestOfThisRunIsCancelledAlsoIfItsIDIsTakenForALiteral(t *testing.T) {
	p := newPipeline(t)
	config := strings.Replace(p.config("true", "3s"), "claim_id = vaultjit_request.deploy.claim_id", "request_id = vaultjit_request.deploy.id", 1)
	if strings.Contains(config, "deploy.claim_id") {
		t.Fatal("the configuration has another form")
	}
	w := p.alices(newWorkspace(t, findCLI(t), config))
	w.fails([]string{"plan", "-no-color"}, "It is not said when to claim", "give its claim_id instead", "claim = terraform.applying")
	w.write("main.tf", strings.Replace(config, "  request_id = ", "  claim      = terraform.applying\n  request_id = ", 1))
	w.fails([]string{"apply", "-auto-approve", "-no-color"}, "no quorum within timeouts.open")
	p.endsUp(1, "cancelled")
}

func TestTwoWaysToNameARequestAreRefusedInThePlan(t *testing.T) {
	p := newPipeline(t)
	for argument, says := range map[string]string{
		"claim = terraform.applying": "claim is for request_id", "request_id = \"01a20965-2eeb-7cea-a39e-d5a7da60d58d\"": "Two requests to claim",
	} {
		config := strings.Replace(p.config("true", "3s"), "  claim_id = ", "  "+argument+"\n  claim_id = ", 1)
		w := p.alices(newWorkspace(t, findCLI(t), config))
		w.fails([]string{"plan", "-no-color"}, says)
	}
	if all := p.requests(t.Context(), "all"); len(all) > 0 {
		t.Errorf("people were asked: %v", all)
	}
}

// TestApplyFailsWhereItCannotTellThatItReachedTheRequest has the request in another provider block, that is another
// process, and no folder through which the two could tell each other.
func TestApplyFailsWhereItCannotTellThatItReachedTheRequest(t *testing.T) {
	f := newPipeline(t).flow(t, findCLI(t), "  provider = vaultjit.asker")
	id := f.approved()
	f.Env = append(f.Env, "HOME=", "XDG_CACHE_HOME=")
	f.fails([]string{"apply", "-auto-approve", "-no-color"}, "There is no credential", "XDG_CACHE_HOME")
	f.p.wantState(id, approval.StateApproved)
	if _, err := os.ReadFile(f.outside); err == nil {
		t.Error("what needs the credential ran without")
	}
}

// TestModuleMayTakeARequestInEitherForm leaves open until the plan which of the arguments is null.
func TestModuleMayTakeARequestInEitherForm(t *testing.T) {
	p := newPipeline(t)
	w := p.alices(newWorkspace(t, findCLI(t), required+fmt.Sprintf(`
provider "vaultjit" { mount = %q }
variable "request_id" { default = null }
resource "vaultjit_request" "new" {
  count  = var.request_id == null ? 1 : 0
  role   = "otp"
  reason = "INC-42"
}
ephemeral "vaultjit_credentials" "either" {
  claim_id   = one(vaultjit_request.new[*].claim_id)
  request_id = var.request_id
  claim      = var.request_id == null ? null : terraform.applying
  timeouts   = { open = "1m" }
}
resource "terraform_data" "use" {
  triggers_replace = plantimestamp()
  provisioner "local-exec" {
    command     = "test -n \"$OTP\""
    environment = { OTP = ephemeral.vaultjit_credentials.either.data.key }
  }
}
`, p.mount.Path)))
	w.does("validate", "-no-color")
	decided := p.approver(p.approve)
	w.does("apply", "-auto-approve", "-no-color")
	<-decided
	id := p.ask()
	must(t, p.approve(id))
	w.does("apply", "-auto-approve", "-no-color", "-var=request_id="+id)
	p.wantState(id, approval.StateEnded)
	p.nothingLeft()
}

func TestRequestThatCannotBeSeenAnyMoreStopsTheApply(t *testing.T) {
	p := newPipeline(t)
	f := p.flow(t, findCLI(t), "")
	text, err := os.ReadFile(filepath.Join(f.Dir, "main.tf"))
	must(t, err)
	f.write("main.tf", strings.Replace(string(text), "deploy.data.key", "deploy.data_json", 1))
	id := f.approved()
	f.does("plan", "-no-color", "-out=plan")
	dave, err := p.mount.Person(t.Context(), "dave")
	must(t, err)
	f.Env = append(f.Env, "VAULT_TOKEN="+dave.Client.Token())
	f.fails([]string{"apply", "-no-color", "plan"}, "Cannot read request")
	p.wantState(id, approval.StateApproved)
}
