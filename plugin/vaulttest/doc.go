// Package vaulttest starts real Vault servers with the engine's plugin, built from this source tree. It adds people,
// groups, a PostgreSQL, and mounts of the engine whose own token has exactly the documented capabilities. Tests, the
// demo and the benchmark use it.
//
//	cluster, err := vaulttest.Start(ctx, vaulttest.Options{})
//	mount, err := cluster.Mount(ctx, vaulttest.MountOptions{})
//	alice, err := mount.Person(ctx, "alice")
//	jit, err := mount.As(alice)
//	request, err := jit.Ask(ctx, wire.Ask{Role: "db", Reason: "INC-1"})
//
// A test that can share a server with other tests calls [Shared] instead of [Start]; mounts of one server are
// independent. VAULT_BINARY names another server, for instance OpenBao, and PLUGIN_BINARY another plugin.
//
// All processes and folders are removed in the end, even when a test fails, on Ctrl-C and when the test process is killed.
package vaulttest
