package provider_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// ask makes a request beside Terraform.
func (p *pipeline) ask() string {
	p.t.Helper()
	request, err := p.as(p.alice).Ask(p.t.Context(), wire.Ask{Role: "otp", Reason: "INC-1", TTL: 300})
	must(p.t, err)
	return request.ID
}

func (p *pipeline) wantState(id string, state approval.State) {
	p.t.Helper()
	request, err := p.as(p.alice).Request(p.t.Context(), id)
	must(p.t, err)
	if request.State != string(state) {
		p.t.Errorf("request %s is %s, want %s", id, request.State, state)
	}
}

func TestCredentialsLeaveAloneWhatOthersMadeOrClaimed(t *testing.T) {
	p := newPipeline(t)
	w := p.literal(t, findCLI(t), "claim = true", "true")
	plan := func(id string, more ...string) []string {
		return append([]string{"plan", "-no-color", "-var=id=" + id}, more...)
	}
	id := p.ask()
	w.fails(plan(id, "-var=patience=2s"), "is pending", `rule "dba" has 0 of 1 approvals`, "is left as it is")
	p.wantState(id, approval.StatePending)
	must(t, p.approve(id))
	p.must(p.as(p.alice).Claim(t.Context(), id))
	w.fails(plan(id), "is active", "a request is granted once")
	p.wantState(id, approval.StateActive)
	_, _, err := p.as(p.alice).Revoke(t.Context(), id)
	must(t, err)
	w.says(w.does(plan(id)...), "There is no credential", "(revoked)")

	w.fails(plan("../policies/one"), "Not the id of a request")
	for _, patience := range []string{"-5m", "0s"} {
		w.fails(plan(id, "-var=patience="+patience), "Not a time to wait")
	}
}

func TestPreApprovedExampleUsesARequestOfSomebodyElse(t *testing.T) {
	p := newPipeline(t)
	id := p.ask()
	must(t, p.approve(id))
	w := example(t, findCLI(t), "pre-approved", "VAULT_ADDR="+p.Address(), "VAULT_TOKEN="+p.alice.Client.Token(),
		"TF_VAR_request_id="+id, "TF_VAR_mount="+p.mount.Path, "TF_VAR_command=test -n \"$OTP\"")
	w.does("plan", "-out=plan", "-no-color")
	p.wantState(id, approval.StateApproved)
	w.does("apply", "-no-color", "plan")
	p.wantState(id, approval.StateEnded)
	p.nothingLeft()
	// In the end there is no credential, and none is needed.
	w.does("destroy", "-auto-approve", "-no-color")
}

func TestCredentialsOfOneRequestShareOneClaim(t *testing.T) {
	p := newPipeline(t)
	outside := t.TempDir()
	config := p.config("printf %s \"$OTP\" > "+outside+"/first", "1m") + fmt.Sprintf(`
ephemeral "vaultjit_credentials" "again" {
  claim_id = vaultjit_request.deploy.claim_id
}
resource "terraform_data" "again" {
  triggers_replace = plantimestamp()
  depends_on       = [terraform_data.use]
  provisioner "local-exec" {
    command     = "printf %%s \"$OTP\" > %s/second"
    environment = { OTP = ephemeral.vaultjit_credentials.again.data.key }
  }
}
`, outside)
	w := p.alices(newWorkspace(t, findCLI(t), config))
	decided := p.approver(p.approve)
	w.does("apply", "-auto-approve", "-no-color")
	<-decided
	first, err := os.ReadFile(filepath.Join(outside, "first"))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(filepath.Join(outside, "second")); err != nil || len(second) == 0 || string(second) != string(first) {
		t.Errorf("the passwords differ, or there is none (%v)", err)
	}
	p.nothingLeft()
}

// TestProviderBlocksOfOneRunKnowOfEachOther has each thing declared under another alias than what refers to it.
func TestProviderBlocksOfOneRunKnowOfEachOther(t *testing.T) {
	p := newPipeline(t)
	denied := filepath.Join(t.TempDir(), "denied")
	config := func(more string) string {
		blocks := fmt.Sprintf("provider \"vaultjit\" { mount = %q }\n", p.mount.Path)
		for alias, token := range map[string]string{"policies": p.Root().Token(), "roles": p.Root().Token(), "asker": p.alice.Client.Token()} {
			blocks += fmt.Sprintf("provider \"vaultjit\" {\n  alias = %q\n  mount = %q\n  token = %q\n}\n", alias, p.mount.Path, token)
		}
		return required + blocks + `
resource "vaultjit_policy" "p" {
  provider = vaultjit.policies
  name     = "fresh"
  rules    = [{ name = "r", approver_groups = ["dba"], approvals = 1 }]
}
resource "vaultjit_role" "r" {
  provider       = vaultjit.roles
  name           = "fresh"
  policy         = vaultjit_policy.p.name
  path           = "a/b"
  grant_policies = ["x"]
}
` + more
	}
	w := p.alices(newWorkspace(t, findCLI(t), config("")))
	w.does("apply", "-auto-approve", "-no-color")
	w.write("main.tf", config(fmt.Sprintf(`
resource "vaultjit_request" "deploy" {
  provider = vaultjit.asker
  role     = "otp"
  reason   = "INC-42"
}
resource "terraform_data" "slow" {
  triggers_replace = vaultjit_request.deploy.id
  provisioner "local-exec" {
    command = "until [ -e %s ]; do sleep 0.1; done"
  }
}
ephemeral "vaultjit_credentials" "deploy" {
  claim_id = vaultjit_request.deploy.claim_id
  depends_on = [terraform_data.slow]
}
resource "terraform_data" "use" {
  triggers_replace = vaultjit_request.deploy.id
  provisioner "local-exec" {
    command     = "touch ran"
    environment = { CREDENTIAL = ephemeral.vaultjit_credentials.deploy.data_json }
  }
}
`, denied)))
	decided := p.approver(func(id string) error {
		if err := p.deny(id); err != nil {
			return err
		}
		return os.WriteFile(denied, nil, 0o600)
	})
	w.fails([]string{"apply", "-auto-approve", "-no-color"}, "Error: There is no credential", "by the book")
	<-decided
	if _, err := os.Stat(filepath.Join(w.Dir, "ran")); err == nil {
		t.Error("what needs the credential ran without")
	}
	// Nor does a mount that is known later stand in the way.
	w.write("main.tf", strings.NewReplacer("alias = \"policies\"\n  mount = ", "alias = \"policies\"\n  mount = terraform_data.later.output\n  #", `"fresh"`, `"other"`).
		Replace(config("resource \"terraform_data\" \"later\" { input = \"jit\" }\n")))
	w.does("plan", "-refresh=false", "-no-color")
	w.write("main.tf", strings.Replace(config(""), "vaultjit_policy.p.name", `"none"`, 1))
	w.fails([]string{"plan", "-no-color"}, `There is no policy "none"`)
}
