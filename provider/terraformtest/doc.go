// Package terraformtest runs the real terraform, or tofu, with the provider built from this source tree, as a user
// would: out of a folder, with an installed provider, by its command line.
//
//	cli, err := terraformtest.Find(ctx)
//	mirror, err := terraformtest.Build(ctx, dir, terraformtest.Vaultjit)
//	workspace, err := terraformtest.New(dir, cli, mirror)
//	output, err := workspace.Run(ctx, "apply", "-auto-approve")
package terraformtest
