# Whoever may write these decides who has to agree.
path "jit/status"             { capabilities = ["read"] }
path "jit/config"             { capabilities = ["create", "read", "update", "delete"] }
path "jit/config/rotate-root" { capabilities = ["create", "update"] }
path "jit/approver-groups/*"  { capabilities = ["create", "read", "update", "delete"] }
path "jit/policies/*"         { capabilities = ["create", "read", "update", "delete"] }
path "jit/roles/*"            { capabilities = ["create", "read", "update", "delete"] }
