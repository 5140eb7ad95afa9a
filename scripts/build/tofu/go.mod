// Terraform's open twin for the tests, built from its Go module where neither is on PATH.
// A module of its own, so that none of its requirements reach the product's.
module vault-jit.invalid/build/tofu

go 1.26.6

tool github.com/opentofu/opentofu/cmd/tofu

require github.com/opentofu/opentofu v1.12.6

// OpenTofu's own outside replacement; a replace directive counts in the main module only.
replace github.com/hashicorp/hcl/v2 v2.20.1 => github.com/opentofu/hcl/v2 v2.20.2-0.20251021132045-587d123c2828
