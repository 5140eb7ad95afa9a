// A Vault server for the tests, built from its Go module where none is on PATH.
// A module of its own, so that none of Vault's requirements reach the product's.
module vault-jit.invalid/build/vault

go 1.25.3

tool github.com/hashicorp/vault

require github.com/hashicorp/vault v1.21.4

// Vault's own outside replacements; a replace directive counts in the main module only.
replace github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3

replace github.com/ma314smith/signedxml v1.1.1 => github.com/moov-io/signedxml v1.1.1

// Made by scripts/obtain: vault/sdk v0.21.0 with the two signatures that Vault 1.21.4 was released with.
replace github.com/hashicorp/vault/sdk => ./sdk
