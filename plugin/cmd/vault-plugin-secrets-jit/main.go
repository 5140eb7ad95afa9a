// Command vault-plugin-secrets-jit is the Vault and OpenBao plugin; the server starts it.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/plugin"

	"github.com/vault-jit/vault-jit/plugin/engine"
	"github.com/vault-jit/vault-jit/plugin/session"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		// The server collects what a plugin logs.
		hclog.New(&hclog.LoggerOptions{}).Error("the plugin ends", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	meta := &api.PluginAPIClientMeta{}
	if err := meta.FlagSet().Parse(args); err != nil {
		return fmt.Errorf("parsing the flags that the server passes: %w", err)
	}
	provider := api.VaultPluginTLSProvider(meta.GetTLSConfig())
	session.ForgetEnvironment()
	return plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: engine.Factory, TLSProviderFunc: provider})
}
