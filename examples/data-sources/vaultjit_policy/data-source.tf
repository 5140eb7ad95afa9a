data "vaultjit_policy" "two_eyes" {
  name = "two-eyes"
}

output "approvals_needed" {
  value = sum(data.vaultjit_policy.two_eyes.rules[*].approvals)
}
