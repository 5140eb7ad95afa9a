package object

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// typeOf is the type of what a table describes, as a resource or a data source has it.
func typeOf(t *testing.T, table wire.Table, inResource bool) tftypes.Object {
	t.Helper()
	attributes := map[string]tftypes.Type{}
	for name, attribute := range MakeAttributes(table, inResource) {
		attributes[name] = attribute.GetType().TerraformType(t.Context())
	}
	return tftypes.Object{AttributeTypes: attributes}
}

func TestFieldOfATableIsAnAttributeWithoutAnotherLine(t *testing.T) {
	colour := wire.Field{Name: "colour", Type: wire.String, Default: "red", OneOf: []string{"red", "blue"}, Description: "What it looks like."}
	shades := wire.Field{Name: "shades", Type: wire.Objects, Of: &wire.Table{Fields: []wire.Field{{Name: "depth", Type: wire.Int, Unit: wire.InSeconds, Required: true,
		Description: "How deep."}}}, Description: "How dark."}
	answer := map[string]any{"colour": "blue", "shades": []any{map[string]any{"depth": json.Number("90")}}}
	for _, table := range []wire.Table{wire.RoleTable, wire.RequestTable} {
		kind := Kind{Word: "thing", Collection: "things", Table: table.With(colour, shades)}
		var made resource.SchemaResponse
		(&Resource{Kind: kind}).Schema(t.Context(), resource.SchemaRequest{}, &made)
		argument, there := made.Schema.Attributes["colour"]
		if !there || !argument.IsOptional() || !argument.IsComputed() || argument.GetMarkdownDescription() != "What it looks like. Default: `red`." {
			t.Errorf("%s: the resource has %+v", table.Name, argument)
		}
		var read datasource.SchemaResponse
		NewSource(kind).Schema(t.Context(), datasource.SchemaRequest{}, &read)
		shown, there := read.Schema.Attributes["colour"]
		if !there || shown.IsOptional() || !shown.IsComputed() || shown.GetMarkdownDescription() != "What it looks like." {
			t.Errorf("%s: the data source has %+v", table.Name, shown)
		}
		for _, of := range []tftypes.Object{findType(t.Context(), made.Schema.Type()), findType(t.Context(), read.Schema.Type())} {
			values := showFields(kind.Table, of, answer)
			given, err := kind.Table.Decode(values.Give(wire.Table{Fields: []wire.Field{colour, shades}}))
			want := map[string]any{"colour": "blue", "shades": []any{map[string]any{"depth": int64(90)}}}
			if err != nil || !reflect.DeepEqual(given, want) {
				t.Errorf("%s: %v came back as %v (%v)", table.Name, answer, given, err)
			}
		}
	}
}

func TestValuesComeBackAsTheyWereShown(t *testing.T) {
	for _, c := range []struct {
		table wire.Table
		json  string
	}{
		{wire.ApproverGroupTable, `{"entity_ids":["b","a"],"identity_group_ids":[],"description":"x"}`},
		{wire.PolicyTable, `{"rules":[{"name":"dba","approver_groups":["a"],"approvals":2}],"deny_threshold":2,"allow_self_approval":true,"require_reason":false,
			"reason_pattern":"[a-z]+","request_ttl":5400,"claim_ttl":1,"default_ttl":60,"max_ttl":86400,"description":""}`},
		{wire.RoleTable, `{"grant_type":"secret","path":"a/b","operation":"write","data":{"a":{"b":[1,"x",true,null]}},"grant_policies":["p"],"policy":"one",
			"parameters":{"p":{"pattern":"x","required":true,"default":"","description":"d"}},"allow_unleased":true,"requester_entity_ids":[],
			"requester_identity_group_ids":["g"],"description":""}`},
		{wire.AskTable, `{"role":"r","reason":"x","ttl":60,"parameters":{"a":"b"}}`},
	} {
		var answer map[string]any
		if err := json.Unmarshal([]byte(c.json), &answer); err != nil {
			t.Fatal(err)
		}
		want, err := c.table.Decode(answer)
		if err != nil {
			t.Fatal(err)
		}
		for _, inResource := range []bool{true, false} {
			got, err := c.table.Decode(showFields(c.table, typeOf(t, c.table, inResource), answer).Give(c.table))
			if err != nil || !reflect.DeepEqual(plain(t, got), plain(t, want)) {
				t.Errorf("%s: %v came back as %v (%v)", c.table.Name, want, got, err)
			}
		}
	}
}

// plain makes values comparable: numbers in JSON keep their digits on one way, and are floats on another.
func plain(t *testing.T, value any) any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnswerWithoutAFieldShowsItsZeroValue(t *testing.T) {
	table := wire.RequestTable.ReadOnly()
	shown := showFields(table, typeOf(t, table, false), map[string]any{})
	for name, value := range shown {
		if f, _ := table.Find(name); value.IsNull() != (f.Type == wire.Object) {
			t.Errorf("%s is %s", name, value)
		}
	}
	if data := shown.Text("data"); data != "{}" {
		t.Errorf("no data is shown as %q", data)
	}
	if len(shown) != len(table.All()) {
		t.Errorf("%d of %d fields are shown", len(shown), len(table.All()))
	}
}

func TestStandInsPassForWhatIsNotKnown(t *testing.T) {
	for _, table := range []wire.Table{wire.ApproverGroupTable, wire.PolicyTable, wire.RoleTable, wire.ConfigTable, wire.RuleTable} {
		unknown := Values{}
		for name, of := range typeOf(t, table, true).AttributeTypes {
			unknown[name] = tftypes.NewValue(of, tftypes.UnknownValue)
		}
		if _, err := table.Decode(unknown.give(table, true, "")); err != nil {
			t.Errorf("%s: %v", table.Name, err)
		}
		if given := unknown.Give(table); len(given) > 0 {
			t.Errorf("%s: what is not known is given: %v", table.Name, given)
		}
	}
}

func TestStandInsInAListAreDistinct(t *testing.T) {
	of := typeOf(t, wire.PolicyTable, true)
	rules, _ := of.AttributeTypes["rules"].(tftypes.List)
	rule, _ := rules.ElementType.(tftypes.Object)
	inside := map[string]tftypes.Value{}
	for name, inner := range rule.AttributeTypes {
		inside[name] = tftypes.NewValue(inner, tftypes.UnknownValue)
	}
	values := Values{"rules": tftypes.NewValue(rules, []tftypes.Value{
		tftypes.NewValue(rule, inside), tftypes.NewValue(rule, inside), tftypes.NewValue(rule, tftypes.UnknownValue),
	})}
	given, err := wire.PolicyTable.Decode(values.give(wire.PolicyTable, true, ""))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := wire.Define[approval.Policy](wire.PolicyTable, "p", nil, given)
	if err == nil {
		err = policy.Validate()
	}
	if err != nil || len(policy.Rules) != 3 {
		t.Errorf("%+v: %v", policy.Rules, err)
	}
}

func TestRefusalsLandOnTheAttributeOfTheirField(t *testing.T) {
	for _, c := range []struct {
		table       wire.Table
		field, want string
	}{
		{wire.PolicyTable, "rules", "rules"},
		{wire.PolicyTable, "rules[1].approvals", "rules[1].approvals"},
		{wire.PolicyTable, "rules[1].approver_groups[2]", "rules[1].approver_groups"},
		{wire.PolicyTable, "rules[1].shade", "rules[1]"},
		{wire.PolicyTable, "rules.shade", "rules"},
		{wire.PolicyTable, "max_ttl", "max_ttl"},
		{wire.PolicyTable, "shade", ""},
		{wire.PolicyTable, "", ""},
		{wire.RoleTable, "parameters.db", `parameters["db"]`},
		{wire.RoleTable, "parameters.db.pattern", `parameters["db"].pattern`},
		{wire.RoleTable, `parameters["a.b[0]"].pattern`, `parameters["a.b[0]"].pattern`},
		{wire.RoleTable, "data.a.b[0]", "data"},
		{wire.RoleTable, "grant_policies[1]", "grant_policies"},
		{wire.AskTable, "parameters.db", `parameters["db"]`},
		{wire.ConfigTable, "secret_id", "secret_id_wo"},
		{wire.PolicyCheckTable, "depends_on[0].name", "depends_on_people[0].name"},
	} {
		var diags diag.Diagnostics
		Refuse(&diags, c.table, "refused", refusal.New(c.field, "it is wrong", ""))
		got := ""
		if at, ok := diags[0].(diag.DiagnosticWithPath); ok {
			got = at.Path().String()
		}
		if got != c.want {
			t.Errorf("%s: %q is reported at %q, want %q", c.table.Name, c.field, got, c.want)
		}
	}
}

func TestEverySecretHasAVersion(t *testing.T) {
	attributes := MakeAttributes(wire.ConfigTable, true)
	names := slices.Sorted(maps.Keys(attributes))
	for _, name := range []string{"secret_id", "token", "client_key"} {
		if slices.Contains(names, name) || !slices.Contains(names, name+"_wo_version") || !attributes[name+"_wo"].IsWriteOnly() || !attributes[name+"_wo"].IsSensitive() {
			t.Errorf("%s can be in a state", name)
		}
	}
}

func TestSpellingsOfOneDurationAreEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := wire.Seconds(rapid.Int64Range(1, 36600*24*60*60).Draw(t, "seconds"))
		number := Duration{types.StringValue(strconv.FormatInt(int64(seconds), 10))}
		if same, _ := Spell(seconds).StringSemanticEquals(t.Context(), number); !same {
			t.Fatalf("%s is not %s", Spell(seconds), number)
		}
		for _, another := range []wire.Seconds{seconds - 1, seconds + 1} {
			if same, _ := Spell(seconds).StringSemanticEquals(t.Context(), Spell(another)); same {
				t.Fatalf("%s is %s", Spell(seconds), Spell(another))
			}
		}
	})
}

func TestStateWithoutADefaultIsNoChange(t *testing.T) {
	of := typeOf(t, wire.RequestTable, true)
	state := showFields(wire.RequestTable, of, map[string]any{"role": "r", "ttl": "3600", "id": "x"})
	plan := Values{}
	for name, value := range state {
		plan[name] = value
	}
	for _, name := range []string{"reason", "parameters"} {
		state[name] = tftypes.NewValue(state[name].Type(), nil)
	}
	change := Change{Plan: plan, State: state}
	var replaced path.Paths
	if Settle(wire.RequestTable, change, &replaced) || len(replaced) > 0 || !change.Plan["parameters"].IsNull() || !change.Plan["id"].Equal(state["id"]) {
		t.Errorf("a state that an earlier provider wrote is changed: %v, %v", replaced, change.Plan)
	}
	change.Plan["reason"] = tftypes.NewValue(tftypes.String, "because")
	if !Settle(wire.RequestTable, change, &replaced) || len(replaced) != 1 || change.Plan["id"].IsKnown() {
		t.Errorf("a reason that is given makes %v, and the id %v", replaced, change.Plan["id"])
	}
}
