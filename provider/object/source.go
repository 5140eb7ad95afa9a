package object

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	resourceschema "github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

var _ datasource.DataSourceWithConfigure = (*Source)(nil)

// A Source is a Terraform data source.
type Source struct {
	Kind
	// Arguments say what to read. A required one is the key.
	Arguments []wire.Field
	// Accept validates the key.
	Accept Accept
	// Ask asks the engine, with the arguments that are given.
	Ask func(ctx context.Context, c *client.Client, given map[string]any) (map[string]any, error)

	data *Data
}

// NewSource is the data source for a kind of definition: it has what the resource has.
func NewSource(k Kind) *Source {
	return &Source{Kind: k, Arguments: []wire.Field{wire.NameField(k.Word)}, Accept: AcceptName,
		Ask: func(ctx context.Context, c *client.Client, given map[string]any) (map[string]any, error) {
			name, _ := given["name"].(string)
			return k.definitions(c).Read(ctx, name)
		}}
}

// Metadata says what the data source is called.
func (s *Source) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = s.TypeName()
}

// Configure takes over what the provider gives.
func (s *Source) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	s.data, _ = req.ProviderData.(*Data)
}

// Schema describes the arguments and what is answered.
func (s *Source) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	attributes := map[string]schema.Attribute{}
	for name, attribute := range MakeAttributes(s.Table.ReadOnly(), false) {
		attributes[name] = attribute // the attributes of a resource and of a data source are alike
	}
	for _, f := range s.Arguments {
		attribute := makeAttribute(f, false)
		if f.Required {
			attribute = resourceschema.StringAttribute{Required: true, MarkdownDescription: f.Markdown(), Validators: []validator.String{s.Accept}}
		}
		attributes[f.Name] = attribute
	}
	resp.Schema = schema.Schema{MarkdownDescription: s.About, Attributes: attributes}
}

// Read asks the engine and shows its answer.
func (s *Source) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	config := ReadValues(req.Config.Raw)
	arguments := wire.Table{Fields: s.Arguments}
	c, err := s.data.Client(ctx)
	var answer map[string]any
	if err == nil {
		answer, err = s.Ask(ctx, c, config.Give(arguments))
	}
	key := s.Arguments[0].Name
	failed := "Cannot read " + s.describe(config.Text(key))
	switch {
	case errors.Is(err, client.ErrAbsent):
		resp.Diagnostics.AddAttributeError(path.Root(key), failed, fmt.Sprintf("%s at the mount %q.", capitalise(err.Error()), s.data.Mount))
	case err != nil:
		Refuse(&resp.Diagnostics, arguments, failed, err)
	default:
		of := findType(ctx, resp.State.Schema.Type())
		shown := showFields(s.Table, of, answer)
		for _, f := range s.Arguments {
			shown[f.Name] = config[f.Name]
		}
		resp.State.Raw = tftypes.NewValue(of, map[string]tftypes.Value(shown))
	}
}

// ReadFields takes the fields out of what a call of the client answered.
func ReadFields(answer any, err error) (map[string]any, error) {
	if err != nil {
		return nil, err
	}
	return wire.Encode(answer)
}

func findType(ctx context.Context, of attr.Type) tftypes.Object {
	object, _ := of.TerraformType(ctx).(tftypes.Object)
	return object
}
