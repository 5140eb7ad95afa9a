# What is the engine's.

# A secret for the first login only: in no plan and no state, and replaced by the engine as soon as it has it.
ephemeral "vault_approle_auth_backend_role_secret_id" "engine" {
  backend   = vault_auth_backend.approle.path
  role_name = basename(vault_approle_auth_backend_role.engine.id) # the id is known once the role is there
  ttl       = 600
}

resource "vaultjit_config" "engine" {
  address    = var.vault_address
  token_role = vault_token_auth_backend_role.grant.role_name

  role_id              = vault_approle_auth_backend_role.engine.role_id
  secret_id_wo         = ephemeral.vault_approle_auth_backend_role_secret_id.engine.secret_id
  secret_id_wo_version = 1
  rotate_root          = true
}

resource "vaultjit_approver_group" "dba" {
  name               = "dba"
  identity_group_ids = [vault_identity_group.dba.id]
  description        = "Who runs the databases"

  lifecycle {
    create_before_destroy = true # the policy names it
  }
}

resource "vaultjit_policy" "production" {
  name = "production"
  rules = [{
    name            = "dba"
    approver_groups = [vaultjit_approver_group.dba.name]
    approvals       = 2
  }]
  max_ttl     = "1h"
  description = "Two of the database team, for an hour at most"

  depends_on = [vaultjit_config.engine] # which looks up who is in the groups

  lifecycle {
    create_before_destroy = true # the role names it
  }
}

resource "vaultjit_role" "database" {
  name                         = "database"
  policy                       = vaultjit_policy.production.name
  path                         = var.database_path
  grant_policies               = [vault_policy.database.name]
  requester_identity_group_ids = [vault_identity_group.developers.id]
  description                  = "The production database"
}

# Every plan tells when somebody has left and the policy cannot be met any more. The data source is not inside the check:
# there, Terraform would read it in every apply, and no plan would be empty.
data "vaultjit_policy_check" "production" {
  name       = vaultjit_policy.production.name
  depends_on = [vaultjit_policy.production, vaultjit_config.engine]
}

check "production_can_be_met" {
  assert {
    condition     = data.vaultjit_policy_check.production.satisfiable
    error_message = "Nobody could satisfy the policy production."
  }
}
