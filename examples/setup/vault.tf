# What is Vault's own. The plugin is in the catalogue already: vault plugin register … secret vault-plugin-secrets-jit

resource "vault_mount" "jit" {
  path = "jit"
  type = "vault-plugin-secrets-jit"
}

# People.

resource "vault_identity_group" "dba" {
  name              = "dba"
  type              = "internal"
  member_entity_ids = var.dba_entity_ids
}

resource "vault_identity_group" "developers" {
  name              = "developers"
  type              = "internal"
  member_entity_ids = var.developer_entity_ids
  policies          = [vault_policy.user.name]
}

# What people may do at the mount.
resource "vault_policy" "user" {
  name   = "jit-user"
  policy = <<-EOT
    # Ask, decide, claim and end. What becomes of it is for the engine to decide.
    path "jit/request"    { capabilities = ["create", "update"] }
    path "jit/request/*"  { capabilities = ["create", "update"] }
    path "jit/approve"    { capabilities = ["create", "update"] }
    path "jit/deny"       { capabilities = ["create", "update"] }
    path "jit/withdraw"   { capabilities = ["create", "update"] }
    path "jit/cancel"     { capabilities = ["create", "update"] }
    path "jit/claim/*"    { capabilities = ["create", "update"] }
    path "jit/revoke"     { capabilities = ["create", "update"] }
    path "jit/requests"   { capabilities = ["list"] }
    path "jit/requests/*" { capabilities = ["read", "list"] }
    path "jit/inbox"      { capabilities = ["list"] }
    path "jit/inbox/*"    { capabilities = ["list"] }

    # Claims nothing, but says what to type. Without this line Vault would only say "permission denied".
    path "jit/claim"      { capabilities = ["create", "update"] }
  EOT
}

# The engine's own identity, which may do little.

resource "vault_auth_backend" "approle" {
  type = "approle"
}

resource "vault_approle_auth_backend_role" "engine" {
  backend                 = vault_auth_backend.approle.path
  role_name               = "jit-engine"
  token_policies          = [vault_policy.engine.name]
  token_no_default_policy = true
  token_ttl               = 3600
}

resource "vault_policy" "engine" {
  name   = "jit-engine"
  policy = <<-EOT
    # Make grant tokens, through this one token role, and end them.
    path "auth/token/create/jit-grant"    { capabilities = ["create", "update"] }
    path "auth/token/revoke-accessor"     { capabilities = ["create", "update"] }
    path "auth/token/lookup-accessor"     { capabilities = ["create", "update"] }

    # Keep its own token alive.
    path "auth/token/renew-accessor"      { capabilities = ["create", "update"] }

    # End upstream's leases at once, and stretch them to the approved window.
    path "sys/leases/revoke" {
      capabilities       = ["create", "update"]
      allowed_parameters = { "lease_id" = ["${var.database_path}/*"], "sync" = [] }
    }
    path "sys/leases/renew" {
      capabilities       = ["create", "update"]
      allowed_parameters = { "lease_id" = ["${var.database_path}/*"], "increment" = [] }
    }

    # Tell you what it lacks.
    path "sys/capabilities-self"          { capabilities = ["create", "update"] }

    # Rotate its own secret_id, and know when it expires.
    path "auth/approle/role/jit-engine/secret-id"         { capabilities = ["create", "update"] }
    path "auth/approle/role/jit-engine/secret-id/destroy" { capabilities = ["create", "update"] }
    path "auth/approle/role/jit-engine/secret-id/lookup"  { capabilities = ["create", "update"] }

    # Optional: say who could still approve, and check the token role when the engine is configured.
    path "identity/group/id/*"            { capabilities = ["read"] }
    path "auth/token/roles/jit-grant"     { capabilities = ["read"] }
  EOT
}

# What any grant can get at most.
resource "vault_token_auth_backend_role" "grant" {
  role_name               = "jit-grant"
  allowed_policies        = [vault_policy.database.name]
  orphan                  = true
  renewable               = false
  token_type              = "service"
  token_no_default_policy = true
}

resource "vault_policy" "database" {
  name   = "jit-database"
  policy = "path \"${var.database_path}\" { capabilities = [\"read\"] }"
}
