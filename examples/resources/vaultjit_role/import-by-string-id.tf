import {
  to = vaultjit_role.database
  id = "database"
}
