// Package vaulttest starts real Vault servers with the engine's plugin built from this source tree, and what
// goes with them: people, groups, a PostgreSQL, mounts of the engine whose own token may do exactly what the
// documentation says it needs. Tests, the demo and the benchmark are all built on it.
//
//	cluster, err := vaulttest.Start(ctx, vaulttest.Options{})
//	mount, err := cluster.Mount(ctx, vaulttest.MountOptions{})
//	alice, err := mount.Person(ctx, "alice")
//	alice.Client.Logical().WriteWithContext(ctx, mount.Path+"/request", …)
//
// A test calls [Shared] instead of [Start] where it can live with other tests on one server: every [Mount] is
// one of its own. A server of another build, or of OpenBao, is taken from VAULT_BINARY, another plugin from
// PLUGIN_BINARY.
//
// Nothing stays behind: not when a test fails, not on Ctrl-C and not when the test process is killed.
package vaulttest
