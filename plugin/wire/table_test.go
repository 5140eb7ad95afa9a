package wire

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
)

// visitFields calls see with every field of every table, those of inner tables too.
func visitFields(see func(where string, f Field)) {
	for _, table := range Tables {
		for _, f := range table.All() {
			see(table.Name+"."+f.Name, f)
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	visitFields(func(where string, f Field) {
		if f.Name == "" || f.Type == 0 || !strings.HasSuffix(f.Description, ".") {
			t.Errorf("%s: a name, a type and a description in whole sentences are needed: %+v", where, f)
		}
		if holds := f.Type == Object || f.Type == Objects || f.Type == ObjectsByName; holds != (f.Of != nil) {
			t.Errorf("%s: it says that it holds objects, or of which table, but not both", where)
		}
		if f.Computed && (f.Required || f.Default != nil || f.Sensitive || f.DefaultSaid != "") {
			t.Errorf("%s: what is only answered cannot be required, have a default or be hidden", where)
		}
		if f.Required && (f.Default != nil || f.DefaultSaid != "") {
			t.Errorf("%s: it is required and has a default", where)
		}
		if written, ok := f.Default.(string); ok && f.IsDuration() {
			if _, err := ParseSeconds(written); err != nil {
				t.Errorf("%s: its default: %v", where, err)
			}
		}
		if strings.Contains(f.Description, "Default:") {
			t.Errorf("%s: the description says a default, which has a column", where)
		}
	})
}

func TestDefaultsAreAcceptedAndOfTheFieldsType(t *testing.T) {
	visitFields(func(where string, f Field) {
		if f.Computed || f.Required || f.OneOf != nil && f.Default == nil {
			return
		}
		value := f.DefaultValue()
		if f.IsDuration() && value == int64(0) {
			return // the field says in words what holds
		}
		if decoded, err := f.decode(value); err != nil || !reflect.DeepEqual(decoded, value) {
			t.Errorf("%s: the default %#v is decoded to %#v (%v)", where, value, decoded, err)
		}
	})
}

// TestStructsHaveTheFieldsOfTheirTables compares types.go with the tables by what JSON has of them.
func TestStructsHaveTheFieldsOfTheirTables(t *testing.T) {
	structs := map[string]any{
		"Revision": Revision{}, "Person": Person{}, "ApproverGroup": ApproverGroup{}, "ApproverGroupSummary": ApproverGroupSummary{},
		"Rule": Rule{}, "Policy": Policy{}, "PolicySummary": PolicySummary{}, "RuleOutlook": RuleOutlook{}, "PolicyCheck": PolicyCheck{},
		"Specification": Specification{}, "Parameter": Parameter{}, "Role": Role{}, "RoleSummary": RoleSummary{}, "Config": Config{},
		"Status": Status{}, "Ask": Ask{}, "Summary": Summary{}, "Decision": Decision{}, "RuleCount": RuleCount{}, "Grant": Grant{},
		"Request": Request{}, "NameRequest": NameRequest{}, "Decide": Decide{}, "Revoked": Revoked{}, "Page": Page{}, "Query": Query{},
		"Tidied": Tidied{},
	}
	if len(structs) != len(Tables) {
		t.Errorf("there are %d tables; this test knows %d structs", len(Tables), len(structs))
	}
	for _, table := range Tables {
		object, err := Encode(structs[table.Name])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range table.All() {
			if _, there := object[f.Name]; !there {
				t.Errorf("%s has no %s", table.Name, f.Name)
			}
			delete(object, f.Name)
		}
		for name := range object {
			t.Errorf("%s has %s, which is not in its table", table.Name, name)
		}
	}
}

func TestNewDefinitionsHaveTheDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		table Table
		value any
	}{"policy": {PolicyTable, NewPolicy()}, "role": {RoleTable, NewRole()}, "config": {ConfigTable, NewConfig()}} {
		whole, err := EncodeWhole(c.table, c.value)
		if err != nil {
			t.Fatal(err)
		}
		for field, value := range c.table.Defaults() {
			f, _ := c.table.Find(field)
			sent, there := whole[field]
			if f.Sensitive {
				if there {
					t.Errorf("%s: an empty %s is sent", name, field)
				}
				continue
			}
			if encode(t, sent) != encode(t, value) {
				t.Errorf("%s: %s is %v, the default %v", name, field, sent, value)
			}
		}
	}
	policy, err := Define[approval.Policy](PolicyTable, "p", nil, map[string]any{})
	if err != nil || !reflect.DeepEqual(policy.Rules, []approval.Rule{}) {
		t.Fatalf("%+v %v", policy, err)
	}
	policy.Rules = nil
	if !reflect.DeepEqual(policy, approval.NewPolicy("p")) {
		t.Errorf("the table's defaults make %+v, the core's %+v", policy, approval.NewPolicy("p"))
	}
}

func encode(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDefinitionsComeBackAsTheyWereGiven(t *testing.T) {
	given, err := RoleTable.Decode(map[string]any{
		"policy": "p", "path": "ssh/creds/otp", "operation": "write", "data": `{"ip": "{{.Parameters.ip}}", "n": 9007199254740991}`,
		"parameters": map[string]any{"ip": map[string]any{"pattern": "a", "required": true}}, "grant_policies": "x,y",
		"requester_entity_ids": []any{"e"},
	})
	if err != nil {
		t.Fatal(err)
	}
	role, err := DefineRole("r", nil, given)
	if err != nil {
		t.Fatal(err)
	}
	spec, _ := role.Gives.Spec.(grant.Secret)
	if role.Name != "r" || role.Policy != "p" || spec.Operation != grant.Write || !slices.Equal(spec.GrantPolicies, []string{"x", "y"}) ||
		spec.Data["n"] != json.Number("9007199254740991") || !spec.Parameters["ip"].Required {
		t.Errorf("the role is %+v", role)
	}
	// What is not given stays.
	role, err = DefineRole("r", &role, map[string]any{"allow_unleased": true, "description": "d"})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := ShowRole(role)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"grant_type": `"secret"`, "path": `"ssh/creds/otp"`, "data": `{"ip":"{{.Parameters.ip}}","n":9007199254740991}`, "grant_policies": `["x","y"]`,
		"parameters":     `{"ip":{"default":"","description":"","pattern":"a","required":true}}`,
		"allow_unleased": "true", "description": `"d"`, "version": "0", "updated_at": `""`, "requester_identity_group_ids": "[]",
	} {
		if got := encode(t, shown[field]); got != want {
			t.Errorf("%s is shown as %s, want %s", field, got, want)
		}
	}
	if len(shown) != len(RoleTable.Answered()) {
		t.Errorf("a role is shown with %d fields, the table has %d", len(shown), len(RoleTable.Answered()))
	}
}

func TestDurationsAreSecondsOnTheWireAndTimesAreText(t *testing.T) {
	policy, err := Define[approval.Policy](PolicyTable, "p", nil, map[string]any{"max_ttl": int64(90), "rules": []any{map[string]any{
		"name": "r", "approver_groups": []string{"g"}, "approvals": int64(2)}}})
	if err != nil || policy.MaxTTL != 90*time.Second || policy.Rules[0].Approvals != 2 {
		t.Fatalf("%+v %v", policy, err)
	}
	policy.Revise(time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600)), "somebody")
	shown, err := Show(PolicyTable, policy)
	if err != nil || shown["max_ttl"] != int64(90) || shown["updated_at"] != "2026-01-02T02:04:05.678Z" || shown["version"] != int64(1) {
		t.Errorf("%v %v", shown, err)
	}
	read, err := Read[Policy](shown)
	if err != nil || read.MaxTTL.Duration() != 90*time.Second || read.UpdatedAt.UnixMilli() != policy.UpdatedAt.UnixMilli() || read.UpdatedBy != "somebody" {
		t.Errorf("%+v %v", read, err)
	}
	for d, want := range map[Seconds]string{0: "0s", 90: "1m30s", 3600: "1h", 5400: "1h30m", 720 * 3600: "720h"} {
		if d.String() != want {
			t.Errorf("%d seconds are written %s, want %s", int64(d), d, want)
		}
	}
}

func TestAnswersHideWhatIsSensitive(t *testing.T) {
	shown, err := Show(ConfigTable, map[string]any{"secret_id": "s", "token": "t", "client_key": "k", "address": "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"secret_id", "token", "client_key"} {
		if _, there := shown[field]; there {
			t.Errorf("%s is shown", field)
		}
	}
	if shown["address"] != "a" || shown["retention"] != int64(0) {
		t.Errorf("shown is %v", shown)
	}
}

func TestClientsSendOnlyWhatIsAccepted(t *testing.T) {
	policy := NewPolicy()
	policy.Version = 7
	policy.Rules = []Rule{{Name: "r", ApproverGroups: []string{"g"}, Approvals: 1}}
	whole, err := EncodeWhole(PolicyTable, policy)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := PolicyTable.Decode(whole)
	if err != nil || len(decoded) != len(PolicyTable.Accepted()) {
		t.Errorf("the engine accepts %v of it (%v)", decoded, err)
	}
}

func TestHelpSaysWhatObjectsHave(t *testing.T) {
	for name, c := range map[string]struct {
		table Table
		want  string
	}{
		"rules":      {PolicyTable, " A JSON list of objects with name, approver_groups and approvals. Required."},
		"parameters": {RoleTable, " A JSON object of objects with pattern, required, default and description."},
	} {
		if f, _ := c.table.Find(name); !strings.HasSuffix(f.Help(), c.want) {
			t.Errorf("%s: the help is %q, want at its end %q", name, f.Help(), c.want)
		}
	}
}
