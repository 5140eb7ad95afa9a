# Migrates a database schema with a credential that people approved for this run, and that ends with it.

terraform {
  required_version = ">= 1.11"
  required_providers {
    vaultjit = {
      source  = "vault-jit/vaultjit"
      version = "~> 0.1"
    }
  }
}

variable "change" {
  description = "The change ticket, for the approvers to read."
  type        = string
}

variable "database" {
  description = "Where the database is."
  type        = object({ host = string, port = number, name = string })
}

# The CI job proves who it is with its own identity token, from TERRAFORM_VAULT_AUTH_JWT.
provider "vaultjit" {
  auth_login_jwt = { role = "ci" }
}

# Every run asks for itself.
resource "vaultjit_request" "migrate" {
  role    = "migrate"
  reason  = "${var.change}: schema ${filesha1("${path.module}/migrations/0001_accounts.sql")}"
  ttl     = "10m"
  keepers = { run = plantimestamp() }
}

# Waits until the quorum stands. If it is denied, or nobody comes within the hour, the run fails and says why.
ephemeral "vaultjit_credentials" "migrate" {
  claim_id = vaultjit_request.migrate.claim_id
  timeouts = { open = "1h" }
}

resource "terraform_data" "schema" {
  triggers_replace = vaultjit_request.migrate.id

  provisioner "local-exec" {
    command = "psql -v ON_ERROR_STOP=1 -f ${path.module}/migrations/0001_accounts.sql"
    environment = {
      PGHOST     = var.database.host
      PGPORT     = var.database.port
      PGDATABASE = var.database.name
      PGUSER     = ephemeral.vaultjit_credentials.migrate.data.username
      PGPASSWORD = ephemeral.vaultjit_credentials.migrate.data.password
    }
  }
}
