package provider_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// instructions are attributes of a resource that say what to do and are no part of the object.
var instructions = map[string][]string{"vaultjit_request": {"keepers", "claim_id"}}

// TestDataSourceHasWhatItsResourceHas compares their names and types.
func TestDataSourceHasWhatItsResourceHas(t *testing.T) {
	server, err := factories()["vaultjit"]()
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	typesOf := func(schema *tfprotov6.Schema) map[string]string {
		types := map[string]string{}
		for _, attribute := range schema.Block.Attributes {
			types[attribute.Name] = attribute.ValueType().String()
		}
		return types
	}
	pairs := 0
	for name, resource := range schemas.ResourceSchemas {
		source, there := schemas.DataSourceSchemas[name]
		if !there {
			continue
		}
		pairs++
		has, shows := typesOf(resource), typesOf(source)
		for _, instruction := range instructions[name] {
			delete(has, instruction)
		}
		if !maps.Equal(has, shows) {
			t.Errorf("%s: the resource has %v, the data source %v", name, has, shows)
		}
	}
	if pairs < 4 {
		t.Errorf("only %d pairs were compared", pairs)
	}
}

// with is a configuration with some arguments changed; nil takes one away.
func with(base map[string]any, changes map[string]any) map[string]any {
	whole := maps.Clone(base)
	maps.Copy(whole, changes)
	maps.DeleteFunc(whole, func(_ string, value any) bool { return value == nil })
	return whole
}

// TestFaultsAreReportedAtTheirAttribute validates configurations of everything that can be written, without a Vault.
func TestFaultsAreReportedAtTheirAttribute(t *testing.T) {
	server, err := factories()["vaultjit"]()
	if err != nil {
		t.Fatal(err)
	}
	words := func(n int) []any {
		all := []any{}
		for i := range n {
			all = append(all, fmt.Sprintf("w%d", i))
		}
		return all
	}
	type object = map[string]any
	rule := func(changes object) object {
		return with(object{"name": "r", "approver_groups": []any{"g"}, "approvals": 1}, changes)
	}
	rules := func(changes object) object {
		return object{"rules": []any{rule(object{"name": "first"}), rule(changes)}}
	}
	manyRules := []any{}
	for i := range 33 {
		manyRules = append(manyRules, rule(object{"name": fmt.Sprint(i)}))
	}
	parameter := func(name string, changes object) object {
		return object{"parameters": object{name: with(object{"pattern": "[a-z]+"}, changes)}}
	}
	writes := func(data string) object { return object{"operation": "write", "data": data} }
	certificate, key := keyPair(t)
	bases := map[string]object{
		"approver_group": {"name": "g", "entity_ids": []any{"e"}},
		"policy":         {"name": "p", "rules": []any{rule(nil)}},
		"role":           {"name": "r", "policy": "p", "path": "a/b", "grant_policies": []any{"x"}},
		"config":         {"address": "https://v", "token_role": "t", "role_id": "i", "secret_id_wo": "s", "secret_id_wo_version": 1},
	}
	byToken := object{"role_id": nil, "secret_id_wo": nil, "secret_id_wo_version": nil, "token_wo": "t", "token_wo_version": 1}
	for _, c := range []struct {
		kind    string
		changes object
		at      string
	}{
		{"approver_group", nil, ""},
		{"approver_group", object{"entity_ids": nil}, "entity_ids"},
		{"approver_group", object{"entity_ids": []any{""}}, "entity_ids"},
		{"approver_group", object{"identity_group_ids": []any{" x"}}, "identity_group_ids"},
		{"approver_group", object{"name": "a/b"}, "name"},

		{"policy", nil, ""},
		{"policy", object{"default_ttl": "8h", "max_ttl": 28800, "reason_pattern": "INC-[0-9]+"}, ""},
		{"policy", object{"name": "../x"}, "name"},
		{"policy", object{"rules": []any{}}, "rules"},
		{"policy", object{"rules": manyRules}, "rules"},
		{"policy", rules(object{"name": ""}), "rules.1.name"},
		{"policy", rules(object{"name": "first"}), "rules.1.name"},
		{"policy", rules(object{"approvals": 0}), "rules.1.approvals"},
		{"policy", rules(object{"approvals": 101}), "rules.1.approvals"},
		{"policy", rules(object{"approver_groups": []any{}}), "rules.1.approver_groups"},
		{"policy", rules(object{"approver_groups": words(33)}), "rules.1.approver_groups"},
		{"policy", rules(object{"approver_groups": []any{""}}), "rules.1.approver_groups"},
		{"policy", object{"deny_threshold": 0}, "deny_threshold"},
		{"policy", object{"request_ttl": "0"}, "request_ttl"},
		{"policy", object{"claim_ttl": "1500ms"}, "claim_ttl"},
		{"policy", object{"max_ttl": "soon"}, "max_ttl"},
		{"policy", object{"default_ttl": "0"}, "default_ttl"},
		{"policy", object{"default_ttl": "9h"}, "default_ttl"},
		{"policy", object{"reason_pattern": "("}, "reason_pattern"},

		{"role", nil, ""},
		{"role", with(parameter("p", nil), object{"path": "a/{{.Parameters.p}}", "parameters": object{"p": object{"pattern": "x", "required": true}}}), ""},
		{"role", object{"policy": ""}, "policy"},
		{"role", object{"grant_type": "token"}, "grant_type"},
		{"role", object{"operation": "delete"}, "operation"},
		{"role", object{"path": "a/../b"}, "path"},
		{"role", object{"path": "a b"}, "path"},
		{"role", object{"path": "{{.Nobody}}"}, "path"},
		{"role", object{"path": "a/{{.Parameters.x}}"}, "path"},
		{"role", with(parameter("x", nil), object{"path": "a/{{.Parameters.x}}"}), "path"},
		{"role", object{"data": `{"a":1}`}, "data"},
		{"role", writes(`[1]`), "data"},
		{"role", writes(`null`), "data"},
		{"role", writes(`{`), "data"},
		{"role", writes(`{"a":1e3}`), "data"},
		{"role", writes(`{"a":{"b":["{{.Nobody}}"]}}`), "data"},
		{"role", object{"grant_policies": []any{}}, "grant_policies"},
		{"role", object{"grant_policies": []any{"X"}}, "grant_policies"},
		{"role", object{"grant_policies": []any{"root"}}, "grant_policies"},
		{"role", parameter("a b", nil), "parameters.a b"},
		{"role", parameter("p", object{"pattern": ""}), "parameters.p.pattern"},
		{"role", parameter("p", object{"pattern": "("}), "parameters.p.pattern"},
		{"role", parameter("p", object{"default": "1"}), "parameters.p.default"},
		{"role", parameter("p", object{"default": "\u202e"}), "parameters.p.default"},
		{"role", parameter("p", object{"default": "a", "required": true}), "parameters.p.default"},
		{"role", object{"requester_entity_ids": []any{""}}, "requester_entity_ids"},
		{"role", object{"requester_identity_group_ids": []any{"x "}}, "requester_identity_group_ids"},

		{"config", nil, ""},
		{"config", byToken, ""},
		{"config", object{"client_cert": certificate, "client_key_wo": key, "client_key_wo_version": 1}, ""},
		{"config", object{"address": "vault:8200"}, "address"},
		{"config", object{"address": "https://user@vault"}, "address"},
		{"config", object{"address": "https://vault/ui"}, "address"},
		{"config", object{"token_role": "a/b"}, "token_role"},
		{"config", object{"auth_mount": "/"}, "auth_mount"},
		{"config", object{"role_id": nil}, "role_id"},
		{"config", object{"secret_id_wo_version": nil}, "secret_id_wo"},
		{"config", object{"token_wo_version": 1}, "token_wo_version"},
		{"config", object{"ca_cert": "nonsense"}, "ca_cert"},
		{"config", object{"client_cert": "nonsense", "client_key_wo": "nonsense", "client_key_wo_version": 1}, "client_cert"},
		{"config", object{"client_cert": certificate, "client_key_wo": "nonsense", "client_key_wo_version": 1}, "client_cert"},
		{"config", object{"retention": "0"}, "retention"},
		{"config", object{"max_pending_per_requester": 0}, "max_pending_per_requester"},
		{"config", object{"auditor_group_ids": []any{""}}, "auditor_group_ids"},
	} {
		text, err := json.Marshal(with(bases[c.kind], c.changes))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.ValidateResourceConfig(t.Context(), &tfprotov6.ValidateResourceConfigRequest{
			TypeName: "vaultjit_" + c.kind, Config: &tfprotov6.DynamicValue{JSON: text},
			ClientCapabilities: &tfprotov6.ValidateResourceConfigClientCapabilities{WriteOnlyAttributesAllowed: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		var at []string
		for _, diagnostic := range answer.Diagnostics {
			at = append(at, spellPath(diagnostic))
		}
		if want := strings.Fields(strings.ReplaceAll(c.at, " ", "_")); !slices.Equal(at, want) {
			t.Errorf("%s with %v: reported at %q, want %q: %v", c.kind, c.changes, at, want, said(answer.Diagnostics))
		}
	}
}

// spellPath is the path of a diagnostic as far as there are attributes, such as rules.1.name.
func spellPath(diagnostic *tfprotov6.Diagnostic) string {
	var steps []string
	for _, step := range diagnostic.Attribute.Steps() {
		if _, inSet := step.(tftypes.ElementKeyValue); inSet {
			break
		}
		steps = append(steps, strings.ReplaceAll(fmt.Sprint(step), " ", "_"))
	}
	return strings.Join(steps, ".")
}

func said(diagnostics []*tfprotov6.Diagnostic) string {
	var all []string
	for _, diagnostic := range diagnostics {
		all = append(all, diagnostic.Summary+": "+diagnostic.Detail)
	}
	return strings.Join(all, "\n")
}

func TestComputedDefaultWindowFollowsTheLongestOne(t *testing.T) {
	w := newFixture(t, vaulttest.MountOptions{})
	config := w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, ""))
	followed := func(maxTTL int) map[string]any {
		return map[string]any{"max_ttl": maxTTL, "default_ttl": min(maxTTL, 3600)}
	}
	resource.Test(t, resource.TestCase{ProtoV6ProviderFactories: factories(), Steps: []resource.TestStep{
		{Config: config, ConfigPlanChecks: emptyAfter, Check: func(*terraform.State) error {
			// Whoever shortens the longest window by hand is not stopped by a default that nobody chose.
			w.must(w.operated().Policies().Change(t.Context(), "prod", map[string]any{"max_ttl": "10m"}))
			return w.checkPolicy("prod", followed(600))(nil)
		}, ExpectNonEmptyPlan: true},
		{Config: config, ConfigPlanChecks: emptyAfter, Check: w.checkPolicy("prod", followed(28800))},
		// What is configured stays, and what is configured no more follows again, even if both are the same for now.
		{Config: w.hcl(w.groupHCL() + fmt.Sprintf(smallPolicy, "default_ttl = \"1h\"\n")), ConfigPlanChecks: emptyAfter, Check: func(*terraform.State) error {
			if _, err := w.operated().Policies().Change(t.Context(), "prod", map[string]any{"max_ttl": "10m"}); refusal.Of(err) == nil {
				return fmt.Errorf("a window shorter than the default that somebody chose is not refused (%w)", err)
			}
			return nil
		}},
		{Config: config, ConfigPlanChecks: emptyAfter, Check: func(*terraform.State) error {
			w.must(w.operated().Policies().Change(t.Context(), "prod", map[string]any{"max_ttl": "10m"}))
			return w.checkPolicy("prod", followed(600))(nil)
		}, ExpectNonEmptyPlan: true},
	}})
}
