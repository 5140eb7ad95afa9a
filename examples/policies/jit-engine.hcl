# Make grant tokens, through this one token role, and end them.
path "auth/token/create/jit-grant"    { capabilities = ["create", "update"] }
path "auth/token/revoke-accessor"     { capabilities = ["create", "update"] }
path "auth/token/lookup-accessor"     { capabilities = ["create", "update"] }

# Keep its own token alive.
path "auth/token/renew-accessor"      { capabilities = ["create", "update"] }

# End upstream's leases at once, and stretch them to the approved window.
path "sys/leases/revoke" {
  capabilities       = ["create", "update"]
  allowed_parameters = { "lease_id" = ["database/creds/readonly/*"], "sync" = [] }
}
path "sys/leases/renew" {
  capabilities       = ["create", "update"]
  allowed_parameters = { "lease_id" = ["database/creds/readonly/*"], "increment" = [] }
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
