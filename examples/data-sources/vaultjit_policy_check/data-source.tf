# Warns in every plan when the policy could not be met any more, or only by people who must not be on holiday. The data
# source is not inside the check: there, Terraform would read it in every apply, and no plan would be empty.
data "vaultjit_policy_check" "two_eyes" {
  name = "two-eyes"
}

check "two_eyes_can_be_met" {
  assert {
    condition     = data.vaultjit_policy_check.two_eyes.satisfiable
    error_message = "Nobody could satisfy the policy two-eyes: ${jsonencode({ for r in data.vaultjit_policy_check.two_eyes.rules : r.name => r.spare })}"
  }

  assert {
    condition     = length(data.vaultjit_policy_check.two_eyes.depends_on_people) == 0
    error_message = "It depends on ${join(", ", data.vaultjit_policy_check.two_eyes.depends_on_people[*].name)}."
  }
}

# Fails the plan instead, before a role is guarded by such a policy.
resource "vaultjit_role" "database" {
  name           = "database-checked"
  policy         = data.vaultjit_policy_check.two_eyes.name
  path           = "database/creds/readonly"
  grant_policies = ["jit-database"]

  lifecycle {
    precondition {
      condition     = data.vaultjit_policy_check.two_eyes.satisfiable || !data.vaultjit_policy_check.two_eyes.known
      error_message = "Nobody could satisfy the policy that guards this role."
    }
  }
}
