terraform import vaultjit_request.deploy 01999d3c-7c38-7d2a-b4a0-5c33b9a6d3d1
