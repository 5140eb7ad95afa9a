data "vaultjit_approver_group" "dba" {
  name = "dba"
}

output "dba_identity_groups" {
  value = data.vaultjit_approver_group.dba.identity_group_ids
}
