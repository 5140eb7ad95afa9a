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

# A request is granted once. With an id that is known already, the plan would claim it and leave the apply nothing. A
# resource that every plan replaces makes the id unknown until the apply.
resource "terraform_data" "request" {
  input            = var.request_id
  triggers_replace = plantimestamp()
}

ephemeral "vaultjit_credentials" "deploy" {
  request_id = terraform_data.request.output
}

resource "terraform_data" "deploy" {
  triggers_replace = terraform_data.request.id

  provisioner "local-exec" {
    command     = var.command
    environment = { OTP = ephemeral.vaultjit_credentials.deploy.data.key }
  }
}
