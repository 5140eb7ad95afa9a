data "vaultjit_role" "database" {
  name = "database"
}

output "guarded_by" {
  value = data.vaultjit_role.database.policy
}
