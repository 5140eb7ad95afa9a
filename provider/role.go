package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework-jsontypes/jsontypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/mapdefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/approval"
	plugingrant "github.com/vault-jit/vault-jit/plugin/grant"
)

const (
	roleKind       = "role"
	roleCollection = "roles"
)

type role struct {
	Name                      types.String         `tfsdk:"name"`
	Policy                    types.String         `tfsdk:"policy"`
	GrantType                 types.String         `tfsdk:"grant_type"`
	Path                      types.String         `tfsdk:"path"`
	Operation                 types.String         `tfsdk:"operation"`
	Data                      jsontypes.Normalized `tfsdk:"data"`
	Parameters                types.Map            `tfsdk:"parameters"`
	GrantPolicies             types.Set            `tfsdk:"grant_policies"`
	AllowUnleased             types.Bool           `tfsdk:"allow_unleased"`
	RequesterEntityIDs        types.Set            `tfsdk:"requester_entity_ids"`
	RequesterIdentityGroupIDs types.Set            `tfsdk:"requester_identity_group_ids"`
	Description               types.String         `tfsdk:"description"`
}

func newRoleResource() resource.Resource {
	return &definition[role, *role]{kind: roleKind, collection: roleCollection, shape: roleSchema()}
}

func newRoleSource() datasource.DataSource {
	return &definitionSource[role, *role]{kind: roleKind, collection: roleCollection, shape: roleSchema()}
}

func roleSchema() schema.Schema {
	return schema.Schema{
		MarkdownDescription: "A role: something one can ask for. It names a Vault path that makes a credential, the policies that a grant may use " +
			"for it, and the approval policy that guards it.\n\n`path` and the strings in `data` are templates: they know `{{.Parameters.NAME}}`, " +
			"`{{.TTL}}` (seconds), `{{.Requester.EntityID}}`, `{{.Requester.Name}}`, `{{.Requester.Metadata.KEY}}` and " +
			"`{{.Requester.Alias.MOUNT_ACCESSOR}}`. If what a role gives, or which policy it names, changes, requests that are not claimed yet have to be made again.",
		Attributes: map[string]schema.Attribute{
			"name":       nameAttribute(roleKind),
			"policy":     schema.StringAttribute{Required: true, MarkdownDescription: "Name of the approval policy that guards the role."},
			"grant_type": choiceAttribute(string(plugingrant.KindSecret), "What the role gives: `secret`, the data that a Vault path returns. Default: `secret`."),
			"path": schema.StringAttribute{Required: true, MarkdownDescription: "The Vault path that makes the credential, for example " +
				"`database/creds/readonly`. A template."},
			"operation": choiceAttribute(string(plugingrant.Read), "How `path` is asked: `read` or `write`. Default: `read`."),
			"data": schema.StringAttribute{Optional: true, Computed: true, CustomType: jsontypes.NormalizedType{},
				Default:             stringdefault.StaticString("{}"),
				PlanModifiers:       []planmodifier.String{sameJSON{}},
				MarkdownDescription: "What is written to `path`: a JSON object, as `jsonencode` makes it, whose strings are templates. Default: `{}`."},
			"parameters": schema.MapNestedAttribute{
				Optional: true, Computed: true, MarkdownDescription: "What a requester fills in, by name. Default: nothing.",
				Default: mapdefault.StaticValue(parametersMap(nil)),
				NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
					"pattern":     schema.StringAttribute{Required: true, MarkdownDescription: "Regular expression (RE2) that the whole value must match."},
					"required":    truthAttribute(false, "Whether a request must give it. Default: `false`."),
					"default":     textAttribute("Its value where a request gives none. Default: none."),
					"description": descriptionAttribute("What it is, for requesters."),
				}},
			},
			"grant_policies": schema.SetAttribute{Required: true, ElementType: types.StringType,
				MarkdownDescription: "Vault policies of the grant token: exactly these, at least one, not `root` and not `default`."},
			"allow_unleased": truthAttribute(false, "Whether an answer without a lease is given out although it cannot be taken back. Default: `false`."),
			"requester_entity_ids": idsAttribute("Entities that may ask for the role. A role without requesters may be asked for by anyone whose " +
				"Vault policies reach `request`."),
			"requester_identity_group_ids": idsAttribute("Identity groups whose members may ask for the role."),
			"description":                  descriptionAttribute("What the role is for."),
		},
	}
}

func choiceAttribute(otherwise, description string) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, Computed: true, Default: stringdefault.StaticString(otherwise), MarkdownDescription: description,
		Validators: []validator.String{stringvalidator.LengthAtLeast(1)}}
}

func (r *role) key() string { return r.Name.ValueString() }

// value is the role as the engine knows it, but for its data, with stand-ins for what is absent or unknown.
func (r *role) value() (approval.Role, plugingrant.Secret) {
	return approval.Role{
			Name: text(r.Name), Policy: text(r.Policy), Description: text(r.Description),
			RequesterEntityIDs: texts(r.RequesterEntityIDs), RequesterIdentityGroupIDs: texts(r.RequesterIdentityGroupIDs),
		}, plugingrant.Secret{
			Path: text(r.Path), Operation: plugingrant.Operation(textOr(r.Operation, string(plugingrant.Read))), Parameters: parametersOf(r.Parameters),
			GrantPolicies: texts(r.GrantPolicies), AllowUnleased: truth(r.AllowUnleased, false),
		}
}

func (r *role) validate() error {
	v, gives := r.value()
	if kind := textOr(r.GrantType, string(plugingrant.KindSecret)); kind != string(plugingrant.KindSecret) {
		return fmt.Errorf("grant_type is %q; accepted is %q", kind, string(plugingrant.KindSecret))
	}
	if given := r.Data.ValueString(); given != "" {
		if err := json.Unmarshal([]byte(given), &gives.Data); err != nil {
			return fmt.Errorf("data is not a JSON object: %w", err)
		}
		if gives.Data == nil {
			return errors.New("data is null, which is not a JSON object")
		}
	}
	if r.Operation.IsUnknown() && len(gives.Data) > 0 {
		gives.Operation = plugingrant.Write
	}
	if !wholeParameters(r.Parameters) {
		// Which parameters a template may name is not known yet.
		gives.Path, gives.Data, gives.Parameters = "unknown", nil, nil
	}
	v.Gives = plugingrant.Stored{Spec: gives}
	return v.Validate()
}

func (r *role) payload() map[string]any {
	v, gives := r.value()
	return map[string]any{
		"policy": v.Policy, "grant_type": textOr(r.GrantType, string(plugingrant.KindSecret)), "path": gives.Path, "operation": string(gives.Operation), "data": r.Data.ValueString(),
		"parameters": gives.Parameters, "grant_policies": gives.GrantPolicies, "allow_unleased": gives.AllowUnleased,
		"requester_entity_ids": v.RequesterEntityIDs, "requester_identity_group_ids": v.RequesterIdentityGroupIDs, "description": v.Description,
	}
}

// roleAnswer is what a read of a role answers.
type roleAnswer struct {
	Policy    string `json:"policy"`
	GrantType string `json:"grant_type"`
	plugingrant.Secret
	RequesterEntityIDs        []string `json:"requester_entity_ids"`
	RequesterIdentityGroupIDs []string `json:"requester_identity_group_ids"`
	Description               string   `json:"description"`
}

func (r *role) fill(name string, answer map[string]any) error {
	v, err := decode[roleAnswer](answer)
	if err != nil {
		return err
	}
	data, err := json.Marshal(answer["data"])
	if err != nil {
		return fmt.Errorf("the engine's answer is not understood: data: %w", err)
	}
	*r = role{
		Name: types.StringValue(name), Policy: types.StringValue(v.Policy), GrantType: types.StringValue(v.GrantType),
		Path: types.StringValue(v.Path), Operation: types.StringValue(string(v.Operation)), Data: jsontypes.NewNormalizedValue(string(data)),
		Parameters: parametersMap(v.Parameters), GrantPolicies: set(v.GrantPolicies), AllowUnleased: types.BoolValue(v.AllowUnleased),
		RequesterEntityIDs: set(v.RequesterEntityIDs), RequesterIdentityGroupIDs: set(v.RequesterIdentityGroupIDs),
		Description: types.StringValue(v.Description),
	}
	return nil
}

func (r *role) references() []reference {
	return []reference{{kind: policyKind, collection: policyCollection, name: r.Policy.ValueString(), at: path.Root("policy")}}
}

func (r *role) settle(*role) {}

var parameterTypes = map[string]attr.Type{
	"pattern": types.StringType, "required": types.BoolType, "default": types.StringType, "description": types.StringType,
}

func parametersMap(parameters plugingrant.Parameters) types.Map {
	elements := make(map[string]attr.Value, len(parameters))
	for name, p := range parameters {
		elements[name] = types.ObjectValueMust(parameterTypes, map[string]attr.Value{
			"pattern": types.StringValue(p.Pattern), "required": types.BoolValue(p.Required),
			"default": types.StringValue(p.Default), "description": types.StringValue(p.Description),
		})
	}
	return types.MapValueMust(types.ObjectType{AttrTypes: parameterTypes}, elements)
}

func parametersOf(m types.Map) plugingrant.Parameters {
	parameters := plugingrant.Parameters{}
	for name, element := range m.Elements() {
		object, ok := element.(types.Object)
		if !ok {
			continue
		}
		var p plugingrant.Parameter
		attributes := object.Attributes()
		p.Pattern, p.Default, p.Description = textIn(attributes, "pattern"), textIn(attributes, "default"), textIn(attributes, "description")
		if required, ok := attributes["required"].(types.Bool); ok {
			p.Required = required.ValueBool()
		}
		parameters[name] = p
	}
	return parameters
}

func textIn(attributes map[string]attr.Value, name string) string {
	value, _ := attributes[name].(types.String)
	return value.ValueString()
}

// wholeParameters reports whether all of the parameters are known.
func wholeParameters(m types.Map) bool {
	return !m.IsUnknown() && !slices.ContainsFunc(slices.Collect(maps.Values(m.Elements())), func(element attr.Value) bool {
		object, ok := element.(types.Object)
		return element.IsUnknown() || !ok || slices.ContainsFunc(slices.Collect(maps.Values(object.Attributes())), attr.Value.IsUnknown)
	})
}
