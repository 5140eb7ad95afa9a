locals {
  rules = [
    { name = "dba", approver_groups = ["dba"], approvals = 1 },
    { name = "any", approver_groups = ["dba", "security"], approvals = 1 },
  ]
}

# Ann counts for one rule only, so Bob is needed.
output "enough" {
  value = provider::vaultjit::quorum(local.rules, [
    { approver = "ann", approver_groups = ["dba", "security"] },
    { approver = "bob", approver_groups = ["security"] },
  ]).met
}

output "missing" {
  value = provider::vaultjit::quorum(local.rules, [
    { approver = "bob", approver_groups = ["security"] },
  ]).missing
}
