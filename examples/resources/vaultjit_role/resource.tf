# What a grant may do: nothing but this one path.
resource "vault_policy" "database" {
  name   = "jit-database"
  policy = "path \"database/creds/readonly\" { capabilities = [\"read\"] }"
}

resource "vaultjit_role" "database" {
  name           = "database"
  policy         = "two-eyes"
  path           = "database/creds/readonly"
  grant_policies = [vault_policy.database.name]
  description    = "Read the production database"
}

# A path that is written to, with a parameter that the requester fills in.
resource "vaultjit_role" "host" {
  name      = "host"
  policy    = "two-eyes"
  path      = "ssh/creds/otp"
  operation = "write"
  data      = jsonencode({ ip = "{{.Parameters.ip}}", username = "ubuntu" })

  parameters = {
    ip = {
      pattern     = "10\\.0\\.[0-9]{1,3}\\.[0-9]{1,3}"
      required    = true
      description = "The host to log in to"
    }
  }
  grant_policies = ["jit-ssh"]
}
