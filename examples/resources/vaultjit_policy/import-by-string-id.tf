import {
  to = vaultjit_policy.production
  id = "production"
}
