resource "vaultjit_request" "deploy" {
  role    = "database"
  reason  = "CHG-1234 add an index"
  ttl     = "15m"
  keepers = { run = plantimestamp() }
}

# Waits for the quorum, claims, and revokes when Terraform is done.
ephemeral "vaultjit_credentials" "deploy" {
  claim_id = vaultjit_request.deploy.claim_id
  timeouts = { open = "1h" }
}

resource "terraform_data" "whoami" {
  triggers_replace = vaultjit_request.deploy.id

  provisioner "local-exec" {
    command = "test -n \"$PGUSER\""
    environment = {
      PGUSER     = ephemeral.vaultjit_credentials.deploy.data.username
      PGPASSWORD = ephemeral.vaultjit_credentials.deploy.data.password
    }
  }
}
