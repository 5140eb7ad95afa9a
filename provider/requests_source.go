package provider

import (
	"context"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

var _ datasource.DataSourceWithConfigure = (*requestsSource)(nil)

// requestsSource lists requests.
type requestsSource struct{ engine *engine }

func newRequestsSource() datasource.DataSource { return &requestsSource{} }

type requestsModel struct {
	States   types.Set        `tfsdk:"state"`
	Role     types.String     `tfsdk:"role"`
	Requests []requestSummary `tfsdk:"requests"`
}

// requestSummary is one entry of the list.
type requestSummary struct {
	ID        string `json:"-" tfsdk:"id"`
	Role      string `json:"role" tfsdk:"role"`
	State     string `json:"state" tfsdk:"state"`
	Requester string `json:"requester" tfsdk:"requester"`
	Reason    string `json:"reason" tfsdk:"reason"`
	TTL       int64  `json:"ttl" tfsdk:"ttl"`
	CreatedAt string `json:"created_at" tfsdk:"created_at"`
	ExpiresAt string `json:"expires_at" tfsdk:"expires_at"`
}

func (s *requestsSource) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = typeName("requests")
}

func (s *requestsSource) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	s.engine, _ = req.ProviderData.(*engine)
}

func (s *requestsSource) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	states := []string{"open", "all"}
	for _, state := range approval.States() {
		states = append(states, string(state))
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "The requests that the provider's login may see: those it made, can decide on, or sees as an auditor. Newest first.",
		Attributes: map[string]schema.Attribute{
			"state": schema.SetAttribute{Optional: true, ElementType: types.StringType,
				MarkdownDescription: "List only requests in these states: `pending`, `approved`, `claiming`, `active`, `denied`, `cancelled`, `expired`, " +
					"`ended`, `open` for the first four, or `all`. Default: `open`.",
				Validators: []validator.Set{setvalidator.ValueStringsAre(stringvalidator.OneOf(states...))}},
			"role": schema.StringAttribute{Optional: true, MarkdownDescription: "List only requests for this role."},
			"requests": schema.ListNestedAttribute{Computed: true, MarkdownDescription: "The requests.",
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"id":         readText("The request's id."),
					"role":       readText("The role that was asked for."),
					"state":      readText("What the request amounts to now."),
					"requester":  readText("Login name of the requester."),
					"reason":     readText("Why."),
					"ttl":        readNumber("For how long, in seconds from the claim on."),
					"created_at": readText("When it was made, RFC 3339."),
					"expires_at": readText("When it expires unless something happens, RFC 3339."),
				}}},
		},
	}
}

func (s *requestsSource) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var m requestsModel
	if resp.Diagnostics.Append(req.Config.Get(ctx, &m)...); resp.Diagnostics.HasError() {
		return
	}
	query := map[string][]string{"limit": {"1000"}}
	if role := m.Role.ValueString(); role != "" {
		query["role"] = []string{role}
	}
	if states := texts(m.States); len(states) > 0 {
		slices.Sort(states)
		query["state"] = states
	}
	var err error
	if m.Requests, err = s.engine.requests(ctx, query); err != nil {
		resp.Diagnostics.AddError("Cannot list requests", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

// requests lists all pages.
func (e *engine) requests(ctx context.Context, query map[string][]string) ([]requestSummary, error) {
	all := []requestSummary{}
	for {
		page, err := e.list(ctx, "requests", query)
		if err != nil {
			return nil, err
		}
		if page == nil {
			return all, nil
		}
		listed, err := decode[struct {
			Keys []string                  `json:"keys"`
			Info map[string]requestSummary `json:"key_info"`
			// Next is what to go on after; empty at the end of the list.
			Next string `json:"next"`
		}](page.Data)
		if err != nil {
			return nil, err
		}
		for _, id := range listed.Keys {
			summary := listed.Info[id]
			summary.ID = id
			all = append(all, summary)
		}
		if listed.Next == "" {
			return all, nil
		}
		query["after"] = []string{listed.Next}
	}
}
