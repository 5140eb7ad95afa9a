variable "dba_entity_ids" {
  type = list(string)
}

variable "security_entity_ids" {
  type = list(string)
}

resource "vaultjit_approver_group" "dba" {
  name       = "dba"
  entity_ids = var.dba_entity_ids

  lifecycle {
    create_before_destroy = true # a policy may name it
  }
}

resource "vaultjit_approver_group" "security" {
  name       = "security"
  entity_ids = var.security_entity_ids

  lifecycle {
    create_before_destroy = true
  }
}

# One of the database team and one of security, not the same person and not the requester.
resource "vaultjit_policy" "production" {
  name = "production"
  rules = [
    {
      name            = "dba"
      approver_groups = [vaultjit_approver_group.dba.name]
      approvals       = 1
    },
    {
      name            = "security"
      approver_groups = [vaultjit_approver_group.security.name]
      approvals       = 1
    },
  ]
  reason_pattern = "(INC|CHG)-[0-9]+.*"
  request_ttl    = "4h"
  max_ttl        = "1h"

  lifecycle {
    create_before_destroy = true # a role may name it
  }
}
