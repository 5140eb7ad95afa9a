resource "vault_identity_group" "dba" {
  name                       = "database-team"
  external_member_entity_ids = true
}

resource "vaultjit_approver_group" "dba" {
  name               = "dba"
  identity_group_ids = [vault_identity_group.dba.id]
  description        = "Who runs the databases"

  lifecycle {
    create_before_destroy = true # a policy may name it
  }
}
