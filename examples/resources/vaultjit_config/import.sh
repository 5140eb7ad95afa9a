# There is one configuration per mount.
terraform import vaultjit_config.engine config

# The engine shows no secret. The one it has is taken to be version 1, or the version that is given.
terraform import vaultjit_config.engine config/3
