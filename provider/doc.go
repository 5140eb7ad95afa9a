// Package provider is the Terraform provider vaultjit: approver groups, policies and roles of the jit secrets engine as
// code, and requests whose credential lives no longer than one run.
//
// What the engine would refuse is refused at plan time by the same code: configurations are turned into values of
// package approval and validated there, with harmless values in place of those that are not known yet. Nothing secret
// reaches the state: secrets go in as write-only arguments and come out of an ephemeral resource.
//
//go:generate go run ../scripts/provider-docs
package provider
