terraform {
  required_providers {
    vaultjit = {
      source  = "vault-jit/vaultjit"
      version = "~> 0.1"
    }
  }
}

# Address and token come from VAULT_ADDR and VAULT_TOKEN, or from `vault login`.
provider "vaultjit" {
  mount = "jit"
}
