package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// administers is a workspace of the mount's administrator.
func (w *fixture) administers(t *testing.T, body string) (dir *workspace, write func(body string)) {
	t.Helper()
	whole := func(body string) string {
		return required + fmt.Sprintf("provider \"vaultjit\" { mount = %q }\n", w.mount.Path) + body
	}
	dir = newWorkspace(t, findCLI(t), whole(body))
	dir.Env = append(dir.Env, "VAULT_ADDR="+w.Address(), "VAULT_TOKEN="+w.Root().Token())
	return dir, func(body string) { dir.write("main.tf", whole(body)) }
}

func TestObjectThatIsNoLongerNamedIsDeletedInTheSameApply(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	group := func(resource, name, more string) string {
		return fmt.Sprintf("resource \"vaultjit_approver_group\" %q {\n  name = %q\n  identity_group_ids = [%q]\n%s}\n", resource, name, w.dba.ID, more)
	}
	policy := func(name, more string, groups ...string) string {
		for i, resource := range groups {
			groups[i] = "vaultjit_approver_group." + resource + ".name"
		}
		return fmt.Sprintf("resource \"vaultjit_policy\" %q {\n  name = %[1]q\n  rules = [{ name = \"r\", approver_groups = [%[2]s], approvals = 1 }]\n%[3]s}\n",
			name, strings.Join(groups, ", "), more)
	}
	role := func(policy string) string {
		return "resource \"vaultjit_role\" \"r\" {\n  name = \"r\"\n  policy = vaultjit_policy." + policy + ".name\n  path = \"a/b\"\n  grant_policies = [\"x\"]\n}\n"
	}
	first := "  lifecycle { create_before_destroy = true }\n"
	dir, write := w.administers(t, group("a", "a", first)+group("b", "b", first)+policy("old", first, "a", "b")+role("old")+
		group("c", "c", "")+policy("plain", "", "a", "c"))
	dir.does("apply", "-auto-approve", "-no-color")

	plain := group("c", "c", "") + policy("plain", "", "a", "c")
	// A group is renamed, another one goes, and the role gets another policy.
	write(group("a", "a2", first) + policy("new", first, "a") + role("new") + plain)
	dir.does("apply", "-auto-approve", "-no-color")
	must(t, resource.ComposeTestCheckFunc(w.checkApproverGroup("a", nil), w.checkApproverGroup("b", nil), w.checkPolicy("old", nil))(nil))
	// Without it, the error says how.
	write(group("a", "a2", first) + policy("new", first, "a") + role("new") + policy("plain", "", "a"))
	dir.fails([]string{"apply", "-auto-approve", "-no-color"}, `used by policy "plain"`, "create_before_destroy = true", "two steps")
	write(group("a", "a2", first) + policy("new", first, "a") + role("new") + group("c", "c", "") + policy("plain", "", "a"))
	dir.does("apply", "-auto-approve", "-no-color")
	write(group("a", "a2", first) + policy("new", first, "a") + role("new") + policy("plain", "", "a"))
	dir.does("apply", "-auto-approve", "-no-color")

	// What is there already is not overwritten.
	w.addApproverGroup("theirs", wire.ApproverGroup{EntityIDs: []string{w.carol.EntityID}})
	write(group("a", "a2", first) + policy("new", first, "a") + role("new") + policy("plain", "", "a") + group("theirs", "theirs", ""))
	dir.fails([]string{"apply", "-auto-approve", "-no-color"}, `The approver group "theirs" is there already`, "terraform import vaultjit_approver_group.NAME theirs")
	must(t, w.checkApproverGroup("theirs", map[string]any{"version": 1, "entity_ids": []string{w.carol.EntityID}})(nil))
}

func TestAWrongMountOrLoginDoesNotPassForTheEnd(t *testing.T) {
	p := newPipeline(t)
	dave, err := p.mount.Person(t.Context(), "dave")
	if err != nil {
		t.Fatal(err)
	}
	config := func(mount, token string) string {
		return required + fmt.Sprintf(`
provider "vaultjit" { mount = %[1]q }
provider "vaultjit" {
  alias = "asker"
  mount = %[1]q
  token = %[2]q
}
resource "vaultjit_approver_group" "g" {
  name               = "g"
  identity_group_ids = [%[3]q]
}
resource "vaultjit_request" "r" {
  provider = vaultjit.asker
  role     = "otp"
  reason   = "INC-1"
}
`, mount, token, p.dba.ID)
	}
	w := newWorkspace(t, findCLI(t), config(p.mount.Path, p.alice.Client.Token()))
	w.Env = append(w.Env, "VAULT_ADDR="+p.Address(), "VAULT_TOKEN="+p.Root().Token())
	w.does("apply", "-auto-approve", "-no-color")
	id := p.requests(t.Context(), "pending")[0]

	// Where a policy does not let the login look, Vault denies it; this one may look everywhere.
	w.write("main.tf", config("nowhere", p.Root().Token()))
	for _, args := range [][]string{{"plan"}, {"destroy", "-auto-approve"}, {"destroy", "-auto-approve", "-refresh=false"}} {
		w.fails(append(args, "-no-color"), "nothing is mounted at", `approver group "g" is taken to be gone`, "terraform state rm")
	}
	p.wantState(id, approval.StatePending)
	must(t, p.checkApproverGroup("g", map[string]any{"version": 1})(nil))
	w.write("main.tf", config(p.mount.Path, dave.Client.Token()))
	w.says(w.does("plan", "-no-color"), "A request is taken to be gone", "another login's")
}

func TestNamesThatAreOtherPathsAreRefused(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{}).withPolicy()
	body := "resource \"vaultjit_policy\" \"x\" {\n  name = \"one\"\n  rules = [{ name = \"dba\", approver_groups = [\"dba\"], approvals = 1 }]\n}\n"
	dir, write := w.administers(t, body)
	for _, id := range []string{"one/", "../policies/one", "one/check", " one"} {
		dir.fails([]string{"import", "-no-color", "vaultjit_policy.x", id}, "Not an import id", "No policy can be called")
	}
	write(`
data "vaultjit_policy" "x" { name = "one/check" }
data "vaultjit_policy_check" "x" { name = "../policies/one" }
data "vaultjit_request" "x" { id = "../policies/one" }
`)
	dir.fails([]string{"validate", "-no-color"}, `data "vaultjit_policy" "x"`, `data "vaultjit_policy_check" "x"`, "Not the id of a request")
}
