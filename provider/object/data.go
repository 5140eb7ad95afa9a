// Package object makes Terraform resources and data sources out of the tables of package wire.
package object

import (
	"context"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/provider/run"
)

// Data is what a configured provider gives to its resources and data sources.
type Data struct {
	// Client is the engine, logged in and checked; an error says why nothing can be asked yet.
	Client func(ctx context.Context) (*client.Client, error)
	// Mount is the path of the engine's mount, for messages.
	Mount string
	// Place tells this mount from those of other provider blocks; empty while it is not known.
	Place string
	// Run is this run of Terraform.
	Run *run.Run
}
