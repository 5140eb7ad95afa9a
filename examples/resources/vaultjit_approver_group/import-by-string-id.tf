import {
  to = vaultjit_approver_group.dba
  id = "dba"
}
