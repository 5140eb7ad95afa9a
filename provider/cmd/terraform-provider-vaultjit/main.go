// Command terraform-provider-vaultjit is the Terraform provider for just-in-time access with Vault. Terraform starts it.
package main

import (
	"context"
	"flag"
	"log"

	"github.com/vault-jit/vault-jit/provider"
)

// version is the release, set by the linker.
var version = "0.0.0-dev"

func main() {
	debug := flag.Bool("debug", false, "wait for a debugger, and print what makes Terraform use this process")
	flag.Parse()
	if err := provider.Serve(context.Background(), version, *debug); err != nil {
		log.Fatal(err)
	}
}
