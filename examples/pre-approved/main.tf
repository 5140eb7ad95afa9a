# Uses a request that somebody made, and people approved, before this run.

terraform {
  required_version = ">= 1.11"
  required_providers {
    vaultjit = {
      source  = "vault-jit/vaultjit"
      version = "~> 0.1"
    }
  }
}

variable "request_id" {
  description = "A request of this login, approved and not claimed yet."
  type        = string
}

variable "mount" {
  type    = string
  default = "jit"
}

variable "command" {
  type    = string
  default = "./deploy.sh"
}

provider "vaultjit" {
  mount = var.mount
}

# Terraform opens this while it plans, too. A request is granted once, so only an apply claims.
ephemeral "vaultjit_credentials" "deploy" {
  request_id = var.request_id
  claim      = terraform.applying
}

resource "terraform_data" "deploy" {
  triggers_replace = var.request_id # else an apply with nothing to do spends the approval

  provisioner "local-exec" {
    command     = var.command
    environment = { OTP = ephemeral.vaultjit_credentials.deploy.data.key }
  }
}
