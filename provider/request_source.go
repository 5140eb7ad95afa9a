package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

// newRequestSource is one request with everything that the engine shows of it.
func newRequestSource() datasource.DataSource {
	return &object.Source{
		Kind: object.Kind{Word: "request", Table: wire.RequestTable,
			About: "One request: what was asked, exactly what a claim executes, who decided what and why it counts, and how the grant ended."},
		Arguments: wire.NameRequestTable.Fields, Accept: object.AcceptRequestID,
		Ask: func(ctx context.Context, c *client.Client, given map[string]any) (map[string]any, error) {
			id, _ := given["id"].(string)
			return object.ReadFields(c.Request(ctx, id))
		},
	}
}
