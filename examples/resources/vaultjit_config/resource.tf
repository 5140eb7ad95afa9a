# An ephemeral variable, so that the secret is in no plan and no state.
variable "engine_secret_id" {
  type      = string
  ephemeral = true
}

variable "engine_role_id" {
  type = string
}

variable "vault_address" {
  type    = string
  default = "https://127.0.0.1:8200"
}

resource "vaultjit_config" "engine" {
  address    = var.vault_address
  token_role = "jit-grant"

  role_id              = var.engine_role_id
  secret_id_wo         = var.engine_secret_id
  secret_id_wo_version = 1
  rotate_root          = true # from now on only the engine knows its secret

  retention = "720h"
}
