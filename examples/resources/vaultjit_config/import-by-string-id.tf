import {
  to = vaultjit_config.engine
  id = "config"
}
