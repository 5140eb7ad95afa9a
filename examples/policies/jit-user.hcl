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
