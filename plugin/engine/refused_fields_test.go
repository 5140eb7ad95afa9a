package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// refused is what the engine says in the body of a 400.
func (f *fixture) refused(vault *api.Client, method, path string, data map[string]any) refusal.Refusal {
	f.t.Helper()
	sent, err := json.Marshal(data)
	must(f.t, err)
	status, text := f.sendRaw(vault, method, path, string(sent), "")
	var body struct {
		Errors []string
		Data   refusal.Refusal
	}
	must(f.t, json.Unmarshal([]byte(text), &body))
	if status != http.StatusBadRequest || body.Data.Problem == "" || len(body.Errors) != 1 || !strings.Contains(body.Errors[0], body.Data.Problem) {
		f.t.Errorf("%s %v: answered with %d %s", path, data, status, text)
	}
	return body.Data
}

// a is an object of JSON.
type a = map[string]any

func TestRefusalOfADefinitionNamesItsField(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	f.must(f.operated().Policies().Write(t.Context(), "good", newPolicy(1)))
	many := make([]any, 33)
	for i := range many {
		many[i] = rule(fmt.Sprint("r", i), 1, "dba")
	}
	groups := make([]string, 33)
	for i := range groups {
		groups[i] = fmt.Sprint("g", i)
	}
	ruleWith := func(name string, value any) a {
		r := rule("dba", 1, "dba")
		r[name] = value
		return a{"rules": []any{r}}
	}
	policyWith := func(name string, value any) a { return a{"rules": []any{rule("dba", 1, "dba")}, name: value} }
	roleWith := func(fields ...any) a {
		r := a{"policy": "good", "path": "a/b", "grant_policies": "x"}
		for i := 0; i < len(fields); i += 2 {
			r[fields[i].(string)] = fields[i+1]
		}
		return r
	}
	parameterWith := func(fields ...any) a {
		p := a{"pattern": "[a-z]+"}
		for i := 0; i < len(fields); i += 2 {
			p[fields[i].(string)] = fields[i+1]
		}
		return roleWith("parameters", a{"db": p})
	}
	for _, c := range []struct {
		path  string
		data  a
		field string
	}{
		{"approver-groups/x", a{}, "entity_ids"},
		{"approver-groups/x", a{"entity_ids": []any{""}}, "entity_ids[0]"},
		{"approver-groups/x", a{"identity_group_ids": "a,b,a"}, "identity_group_ids[2]"},
		{"approver-groups/x", a{"entity_ids": 5}, "entity_ids"},
		{"approver-groups/x", a{"entity_ids": "a", "description": 5}, "description"},
		{"approver-groups/x", a{"entity_ids": "a", "colour": "red"}, "colour"},
		{"approver-groups/x", a{"entity_ids": "a", "version": 7}, "version"},
		{"approver-groups/x", a{"entity_ids": "a", "name": "y"}, "name"},
		{"approver-groups/x..y", a{"entity_ids": "a"}, "name"},

		{"policies/x", a{}, "rules"},
		{"policies/x", a{"rules": []any{}}, "rules"},
		{"policies/x", a{"rules": "x"}, "rules"},
		{"policies/x", a{"rules": many}, "rules"},
		{"policies/x", a{"rules": []any{"x"}}, "rules[0]"},
		{"policies/x", a{"rules": []any{rule("dba", 1, "dba"), rule("dba", 1, "dba")}}, "rules[1].name"},
		{"policies/x", ruleWith("name", ""), "rules[0].name"},
		{"policies/x", ruleWith("approvals", 0), "rules[0].approvals"},
		{"policies/x", ruleWith("approvals", -1), "rules[0].approvals"},
		{"policies/x", ruleWith("approvals", 101), "rules[0].approvals"},
		{"policies/x", ruleWith("approvals", "many"), "rules[0].approvals"},
		{"policies/x", ruleWith("approvals", 1.5), "rules[0].approvals"},
		{"policies/x", ruleWith("approver_groups", []any{}), "rules[0].approver_groups"},
		{"policies/x", ruleWith("approver_groups", groups), "rules[0].approver_groups"},
		{"policies/x", ruleWith("approver_groups", []any{""}), "rules[0].approver_groups[0]"},
		{"policies/x", ruleWith("approver_groups", []any{"dba", "dba"}), "rules[0].approver_groups[1]"},
		{"policies/x", ruleWith("approver_groups", []any{"dba", "absent"}), "rules[0].approver_groups[1]"},
		{"policies/x", ruleWith("quorum", 1), "rules[0].quorum"},
		{"policies/x", policyWith("deny_threshold", 0), "deny_threshold"},
		{"policies/x", policyWith("deny_threshold", "x"), "deny_threshold"},
		{"policies/x", policyWith("allow_self_approval", "yes"), "allow_self_approval"},
		{"policies/x", policyWith("require_reason", 1), "require_reason"},
		{"policies/x", policyWith("reason_pattern", "("), "reason_pattern"},
		{"policies/x", policyWith("request_ttl", 0), "request_ttl"},
		{"policies/x", policyWith("claim_ttl", "500ms"), "claim_ttl"},
		{"policies/x", policyWith("max_ttl", "-1h"), "max_ttl"},
		{"policies/x", policyWith("default_ttl", "1.5"), "default_ttl"},
		{"policies/x", policyWith("default_ttl", "9h"), "default_ttl"},

		{"roles/x", a{"path": "a/b", "grant_policies": "x"}, "policy"},
		{"roles/x", roleWith("policy", "absent"), "policy"},
		{"roles/x", roleWith("grant_type", "gift"), "grant_type"},
		{"roles/x", roleWith("path", ""), "path"},
		{"roles/x", roleWith("path", "a/../b"), "path"},
		{"roles/x", roleWith("path", "a b"), "path"},
		{"roles/x", roleWith("path", "a/{{.Unknown}}"), "path"},
		{"roles/x", roleWith("path", "a/{{.Parameters.db}}"), "path"},
		{"roles/x", roleWith("operation", "delete"), "operation"},
		{"roles/x", roleWith("data", a{"x": "y"}), "data"},
		{"roles/x", roleWith("data", "x"), "data"},
		{"roles/x", roleWith("operation", "write", "data", a{"x": a{"y": []any{"z", "{{.Unknown}}"}}}), "data.x.y[1]"},
		{"roles/x", roleWith("operation", "write", "data", `{"x": [1.0]}`), "data.x[0]"},
		{"roles/x", a{"policy": "good", "path": "a/b"}, "grant_policies"},
		{"roles/x", roleWith("grant_policies", []any{"x", "root"}), "grant_policies[1]"},
		{"roles/x", roleWith("grant_policies", []any{"Upper"}), "grant_policies[0]"},
		{"roles/x", roleWith("grant_policies", []any{"x", "x"}), "grant_policies[1]"},
		{"roles/x", roleWith("parameters", "x"), "parameters"},
		{"roles/x", roleWith("parameters", a{"db": "x"}), "parameters.db"},
		{"roles/x", roleWith("parameters", a{"a b": a{"pattern": "x"}}), `parameters["a b"]`},
		{"roles/x", roleWith("parameters", a{"db": a{}}), "parameters.db.pattern"},
		{"roles/x", parameterWith("pattern", "("), "parameters.db.pattern"},
		{"roles/x", parameterWith("default", "a", "required", true), "parameters.db.default"},
		{"roles/x", parameterWith("default", "5"), "parameters.db.default"},
		{"roles/x", parameterWith("default", "\x00"), "parameters.db.default"},
		{"roles/x", parameterWith("required", "yes"), "parameters.db.required"},
		{"roles/x", parameterWith("patern", "x"), "parameters.db.patern"},
		{"roles/x", roleWith("allow_unleased", "x"), "allow_unleased"},
		{"roles/x", roleWith("requester_entity_ids", []any{""}), "requester_entity_ids[0]"},
		{"roles/x", roleWith("requester_identity_group_ids", []any{5}), "requester_identity_group_ids[0]"},
	} {
		if got := f.refused(f.Root(), http.MethodPut, c.path, c.data); got.Field != c.field {
			t.Errorf("%s %v: the field is %q (%s; %s), want %q", c.path, c.data, got.Field, got.Problem, got.Advice, c.field)
		}
	}
	f.must(f.operated().ApproverGroups().Write(t.Context(), "one", wire.ApproverGroup{EntityIDs: []string{f.bob.EntityID}}))
	if got := f.refused(f.Root(), http.MethodPut, "policies/x", a{"rules": []any{rule("r", 2, "one")}}); got.Field != "rules" {
		t.Errorf("a policy that nobody could meet is refused for %q", got.Field)
	}
	for _, used := range []string{"approver-groups/dba", "policies/good"} {
		if used == "policies/good" {
			f.must(f.operated().Roles().Change(t.Context(), "good", roleWith()))
		}
		if got := f.refused(f.Root(), http.MethodDelete, used, nil); got.Field != "name" {
			t.Errorf("the deletion of %s is refused for %q", used, got.Field)
		}
	}
}

func TestRefusalOfAConfigurationNamesItsField(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{Unconfigured: true})
	with := func(fields ...any) a {
		c := connectTo(f.Address(), f.mount)
		for i := 0; i < len(fields); i += 2 {
			if c[fields[i].(string)] = fields[i+1]; fields[i+1] == nil {
				delete(c, fields[i].(string))
			}
		}
		return c
	}
	for _, c := range []struct {
		data  a
		field string
	}{
		{a{}, "address"},
		{with("address", "x"), "address"},
		{with("address", "https://u:p@h"), "address"},
		{with("address", "https://h/path"), "address"},
		{with("address", "http://127.0.0.1:1"), "address"},
		{with("token_role", "a/b"), "token_role"},
		{with("token", "t"), "token"},
		{with("role_id", nil, "secret_id", nil), "role_id"},
		{with("secret_id", nil), "secret_id"},
		{with("secret_id", "wrong"), "secret_id"},
		{with("role_id", nil, "secret_id", nil, "token", "wrong"), "token"},
		{with("auth_mount", "a b"), "auth_mount"},
		{with("ca_cert", "x"), "ca_cert"},
		{with("client_cert", "x"), "client_key"},
		{with("client_cert", "x", "client_key", "y"), "client_cert"},
		{with("auditor_group_ids", []any{""}), "auditor_group_ids[0]"},
		{with("retention", 0), "retention"},
		{with("max_pending_per_requester", 0), "max_pending_per_requester"},
		{with("namespace", 5), "namespace"},
		{with("colour", "red"), "colour"},
	} {
		if got := f.refused(f.Root(), http.MethodPut, "config", c.data); got.Field != c.field {
			t.Errorf("%v: the field is %q (%s; %s), want %q", c.data, got.Field, got.Problem, got.Advice, c.field)
		}
	}
	f.must(f.operated().ChangeConfig(t.Context(), with()))
	if got := f.refused(f.Root(), http.MethodPut, "config", a{"tls_server_name": "x"}); got.Field != "secret_id" {
		t.Errorf("another connection without the secret is refused for %q", got.Field)
	}
}

func TestRefusalOfARequestNamesItsField(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	policy := newPolicy(1)
	policy.ReasonPattern, policy.MaxTTL = "INC-[0-9]+.*", hour
	f.must(f.operated().Policies().Write(t.Context(), "p", policy))
	role := newRole("p", &vaulttest.Upstream{Path: "a/{{.Parameters.db}}", Policy: "x"})
	role.Parameters = map[string]wire.Parameter{"db": {Pattern: "[a-z]+", Required: true}}
	f.must(f.operated().Roles().Write(t.Context(), "r", role))
	role.RequesterEntityIDs = []string{f.bob.EntityID}
	f.must(f.operated().Roles().Write(t.Context(), "bobs", role))
	with := func(fields ...any) a {
		c := a{"role": "r", "reason": "INC-1", "parameters": a{"db": "a"}}
		for i := 0; i < len(fields); i += 2 {
			c[fields[i].(string)] = fields[i+1]
		}
		return c
	}
	for _, c := range []struct {
		path  string
		data  a
		field string
	}{
		{"request", a{"reason": "INC-1"}, "role"},
		{"request", with("role", "absent"), "role"},
		{"request", with("role", "a/b"), "role"},
		{"request", with("role", "bobs"), "role"},
		{"request/r", with("role", "bobs"), "role"},
		{"request", with("reason", ""), "reason"},
		{"request", with("reason", "because"), "reason"},
		{"request", with("reason", "INC-1\x00"), "reason"},
		{"request", with("reason", "INC-1 "+strings.Repeat("x", 5000)), "reason"},
		{"request", with("ttl", "2h"), "ttl"},
		{"request", with("ttl", 0), "ttl"},
		{"request", with("ttl", "soon"), "ttl"},
		{"request", with("parameters", a{}), "parameters.db"},
		{"request", with("parameters", a{"db": "5"}), "parameters.db"},
		{"request", with("parameters", a{"db": 5}), "parameters.db"},
		{"request", with("parameters", a{"db": "a", "other": "b"}), "parameters.other"},
		{"request", with("parameters", a{"db": "a", "an other": "b"}), `parameters["an other"]`},
		{"request", with("parameters", a{"db": strings.Repeat("a", 17<<10)}), "parameters"},
		{"request", with("parameters", "db"), "parameters"},
		{"request", with("colour", "red"), "colour"},
		{"request", with("id", "x"), "id"},
	} {
		if got := f.refused(f.alice.Client, http.MethodPut, c.path, c.data); got.Field != c.field {
			t.Errorf("%s %v: the field is %q (%.200s; %s), want %q", c.path, c.data, got.Field, got.Problem, got.Advice, c.field)
		}
	}
}
