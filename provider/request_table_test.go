package provider

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestNewRowOfTheRequestsTableIsAnAttribute(t *testing.T) {
	request, ok := newRequestResource().(*requestResource)
	if !ok {
		t.Fatal("the resource is of another type")
	}
	request.Table = request.Table.With(
		wire.Field{Name: "colour", Type: wire.String, Default: "red", Replaces: true, Description: "Made up."},
		wire.Field{Name: "weight", Type: wire.Int, Computed: true, Description: "Made up, too."},
	)
	var made resource.SchemaResponse
	request.Schema(t.Context(), resource.SchemaRequest{}, &made)
	if colour := made.Schema.Attributes["colour"]; colour == nil || !colour.IsOptional() || colour.GetMarkdownDescription() != "Made up. Default: `red`." {
		t.Errorf("colour is %+v", colour)
	}
	if weight := made.Schema.Attributes["weight"]; weight == nil || !weight.IsComputed() || weight.IsOptional() {
		t.Errorf("weight is %+v", weight)
	}
}
