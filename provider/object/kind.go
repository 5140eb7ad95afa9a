package object

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/text"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// A Kind is a kind of object that the engine keeps.
type Kind struct {
	// Word is what it is called: "approver group".
	Word string
	// Type is what it is called in Terraform, if that is another word.
	Type string
	// Collection is where the API keeps those that have names; empty if there is one of them at a mount.
	Collection string
	// About says what it is, for the pages of the resource and of the data source, Markdown.
	About string
	Table wire.Table
}

// TypeName is that of the resource and the data source.
func (k Kind) TypeName() string {
	return "vaultjit_" + cmp.Or(k.Type, strings.ReplaceAll(k.Word, " ", "_"))
}

// named is the table with the name, if the object has one.
func (k Kind) named() wire.Table {
	if k.Collection == "" {
		return k.Table
	}
	return k.Table.With(wire.NameField(k.Word))
}

// describe says which object is meant.
func (k Kind) describe(name string) string {
	if name == "" {
		return "the engine's " + k.Word
	}
	return fmt.Sprintf("the %s %q", k.Word, name)
}

// definitions are those of this kind.
func (k Kind) definitions(c *client.Client) client.Definitions[map[string]any, map[string]any] {
	return client.DefinitionsAt[map[string]any, map[string]any](c, k.Table, k.Collection)
}

// Accept validates a string by a check of the engine's own.
type Accept struct {
	Summary string
	Check   func(string) error
}

var (
	// AcceptName takes what can be the name of a definition. Anything else might be another path.
	AcceptName = Accept{"Not a name", text.CheckName}
	// AcceptRequestID takes what can be the id of a request. Anything else might be another path.
	AcceptRequestID = Accept{"Not the id of a request", text.CheckRequestID}
)

var _ validator.String = Accept{}

// Description is empty: the attribute's says it.
func (Accept) Description(context.Context) string { return "" }

// MarkdownDescription is empty, too.
func (Accept) MarkdownDescription(context.Context) string { return "" }

// ValidateString validates a value that is known.
func (a Accept) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if err := a.Check(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, a.Summary, err.Error())
	}
}
