package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

// newRequestsSource lists requests.
func newRequestsSource() datasource.DataSource {
	listed := wire.SummaryTable.With(wire.NameRequestTable.Fields...)
	arguments := wire.Table{Fields: wire.QueryTable.Fields}
	return &object.Source{
		Kind: object.Kind{Word: "requests",
			About: "The requests that the provider's login may see: those it made, can decide on, or sees as an auditor. Newest first.",
			Table: wire.Table{Fields: []wire.Field{{Name: "requests", Type: wire.Objects, Of: &listed, Computed: true, Description: "The requests."}}}},
		Arguments: arguments.Fields,
		Ask: func(ctx context.Context, c *client.Client, given map[string]any) (map[string]any, error) {
			query, err := readQuery(arguments, given)
			if err != nil {
				return nil, err
			}
			requests := []any{}
			for request, err := range c.AllRequests(ctx, query) {
				summary, err := object.ReadFields(request.Summary, err)
				if err != nil {
					return nil, err
				}
				summary["id"] = request.ID
				requests = append(requests, summary)
			}
			return map[string]any{"requests": requests}, nil
		},
	}
}

// readQuery takes as many requests at a time as the engine gives.
func readQuery(arguments wire.Table, given map[string]any) (wire.Query, error) {
	decoded, err := arguments.Decode(given)
	if err != nil {
		return wire.Query{}, err
	}
	query, err := wire.Read[wire.Query](decoded)
	query.Limit = 1000
	return query, err
}
