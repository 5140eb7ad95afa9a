terraform {
  required_version = ">= 1.11"
  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = "~> 5.7"
    }
    vaultjit = {
      source  = "vault-jit/vaultjit"
      version = "~> 0.1"
    }
  }
}

# Both take address and token from VAULT_ADDR and VAULT_TOKEN, or from `vault login`.
provider "vault" {}

provider "vaultjit" {
  mount = vault_mount.jit.path
}
