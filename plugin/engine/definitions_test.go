package engine_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// badInput is a write that the engine must refuse, and words of the refusal.
type badInput struct {
	path string
	data map[string]any
	says []string
}

func TestWrongInputIsRefusedNamingTheFieldAndStoresNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{ExtraPolicy: `path "identity/group/id/*" { capabilities = ["read"] }`})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}, "reason_pattern": "INC-[0-9]+.*"})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	rules := func(list ...any) map[string]any { return map[string]any{"rules": list} }
	role := func(field string, value any) map[string]any {
		data := map[string]any{"policy": "one", "path": "ssh/creds/x", "grant_policies": "p", "operation": "write"}
		data[field] = value
		return data
	}
	long := strings.Repeat("x", 5000)
	makeBadRequest := func(field string, value any) badInput {
		data := map[string]any{"role": "otp", "reason": "INC-1"}
		data[field] = value
		return badInput{path: "request", data: data, says: []string{field}}
	}
	before, err := f.mount.Storage(t.Context())
	must(t, err)

	for _, in := range []badInput{
		{"approver-groups/g", map[string]any{}, []string{"entity_ids", "identity_group_ids", "empty"}},
		{"approver-groups/g", map[string]any{"entity_ids": "a,,b"}, []string{"entity_ids[1]", "it is empty"}},
		{"approver-groups/g", map[string]any{"entity_ids": []any{1}}, []string{"entity_ids"}},
		{"approver-groups/g", map[string]any{"entity_id": "a"}, []string{"entity_id: unknown field", "accepted", "entity_ids"}},
		{"policies/p", map[string]any{}, []string{"rules: it is empty"}},
		{"policies/p", map[string]any{"rules": []any{}}, []string{"rules: it is empty"}},
		{"policies/p", rules(rule("a", 0, "dba")), []string{`rule "a"`, "rules[0].approvals: it is 0", "at least 1"}},
		{"policies/p", rules(rule("a", -1, "dba")), []string{`rule "a"`, "rules[0].approvals: it is -1"}},
		{"policies/p", rules(map[string]any{"name": "a", "approver_groups": []string{"dba"}}), []string{"rules[0].approvals: it is 0"}},
		{"policies/p", rules(rule("a", 1)), []string{"rules[0].approver_groups", "null"}},
		{"policies/p", rules(rule("a", 1, "nobody")), []string{`rule "a"`, `no approver group "nobody"`}},
		{"policies/p", rules(rule("a", 3, "dba")), []string{"could never be met", `rule "a"`, "3 approvals"}},
		{"policies/p", rules(rule("a", 2, "dba"), rule("b", 1, "dba")), []string{"could never be met"}},
		{"policies/p", rules(rule("a", 1, "dba"), rule("a", 1, "dba")), []string{"rules[1].name", "two rules"}},
		{"policies/p", rules(map[string]any{"name": "a", "approver_groups": []string{"dba"}, "approvals": 1.9}), []string{"rules[0]"}},
		{"policies/p", rules(map[string]any{"name": "a", "approver_groups": []string{"dba"}, "approvals": 1, "quorum": 2}), []string{"quorum", "accepted"}},
		{"policies/p", map[string]any{"rules": "[{"}, []string{"rules", "JSON"}},
		{"policies/one", map[string]any{"deny_threshold": 0}, []string{"deny_threshold"}},
		{"policies/one", map[string]any{"max_ttl": "500ms"}, []string{"max_ttl", "whole seconds"}},
		{"policies/one", map[string]any{"max_ttl": 1.9}, []string{"max_ttl"}},
		{"policies/one", map[string]any{"max_ttl": -5}, []string{"max_ttl"}},
		{"policies/one", map[string]any{"claim_ttl": 0}, []string{"claim_ttl"}},
		{"policies/one", map[string]any{"default_ttl": "9h"}, []string{"default_ttl", "longer than max_ttl"}},
		{"policies/one", map[string]any{"reason_pattern": "("}, []string{"reason_pattern", "regular expression"}},
		{"policies/one", map[string]any{"allow_self_approval": "yes"}, []string{"allow_self_approval", "true or false"}},
		{"roles/r", role("policy", "none"), []string{`no policy "none"`}},
		{"roles/r", role("policy", ""), []string{"policy"}},
		{"roles/r", role("path", "../sys/raw"), []string{"path", "clean path"}},
		{"roles/r", role("path", "a//b"), []string{"path"}},
		{"roles/r", role("path", "x/{{.Parameters.host}}"), []string{"{{.Parameters.host}}", "does not have"}},
		{"roles/r", role("path", "x/{{printf .TTL}}"), []string{"accepted are"}},
		{"roles/r", role("operation", "delete"), []string{"operation", "delete"}},
		{"roles/r", role("grant_type", "token"), []string{"grant_type", "token", "secret"}},
		{"roles/r", role("grant_policies", ""), []string{"grant_policies"}},
		{"roles/r", role("grant_policies", "root"), []string{"grant_policies", "root"}},
		{"roles/r", role("grant_policies", "default"), []string{"grant_policies", "default"}},
		{"roles/r", role("data", map[string]any{"ip": "{{.Parameters.ip}}"}), []string{"data.ip"}},
		{"roles/r", role("parameters", map[string]any{"ip": map[string]any{}}), []string{"parameters.ip.pattern"}},
		{"roles/r", role("parameters", map[string]any{"ip": map[string]any{"pattern": "["}}), []string{"parameters.ip.pattern", "regular expression"}},
		{"roles/r", map[string]any{"name": "other", "policy": "one"}, []string{"name", "path"}},
		makeBadRequest("role", "nothing"), makeBadRequest("role", "../policy/one"), makeBadRequest("ttl", "9h"), makeBadRequest("ttl", "0"), makeBadRequest("ttl", "1.5"),
		makeBadRequest("reason", ""), makeBadRequest("reason", "because"), makeBadRequest("reason", "INC-1 "+long), makeBadRequest("reason", "INC-1 \x1b[2J"), makeBadRequest("reason", "INC-1 \u202e"),
		makeBadRequest("parameters", "host=web1"), makeBadRequest("parameters", "host"), makeBadRequest("why", "x"),
		{"request/otp", map[string]any{"role": "other", "reason": "INC-1"}, []string{"role", "path", "body"}},
		{"approve", map[string]any{"id": "1"}, []string{"id", "UUID"}},
		{"approve", map[string]any{}, []string{"id"}},
		{"approve", map[string]any{"id": id, "comment": long}, []string{"comment", "4096"}},
		{"claim/not-an-id", map[string]any{}, []string{"id"}},
	} {
		_, err := f.writeAs(f.bob, in.path, in.data)
		if strings.Contains(in.path, "/") && !strings.HasPrefix(in.path, "request") && !strings.HasPrefix(in.path, "claim") {
			_, err = f.mount.Write(t.Context(), in.path, in.data)
		}
		t.Run(fmt.Sprintf("%s %.60v", in.path, in.data), func(t *testing.T) { wantRefusal(t, err, in.says...) })
	}
	after, err := f.mount.Storage(t.Context())
	must(t, err)
	if !maps.Equal(before, after) {
		t.Error("something was stored")
	}
}

func TestDefinitionInUseCannotBeDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	wantRefusal(t, f.mount.Delete(t.Context(), "approver-groups/dba"), `policy "one"`)
	wantRefusal(t, f.mount.Delete(t.Context(), "policies/one"), `role "otp"`)
	for _, path := range []string{"roles/otp", "policies/one", "approver-groups/dba"} {
		must(t, f.mount.Delete(t.Context(), path))
		must(t, f.mount.Delete(t.Context(), path)) // deleting it again succeeds
	}
}

func TestWriteKeepsOtherFieldsAndRecordsTheWriter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.writeAsAdmin("policies/p", map[string]any{"rules": `[{"name":"a","approver_groups":["dba"],"approvals":1}]`, "max_ttl": "30m", "description": "first"})
	read := func() map[string]any {
		t.Helper()
		secret, err := f.mount.Read(t.Context(), "policies/p")
		must(t, err)
		return secret.Data
	}
	first := read()
	for field, want := range map[string]string{
		"max_ttl": "1800", "default_ttl": "1800", "claim_ttl": "3600", "request_ttl": "28800", "deny_threshold": "1", "version": "1",
		"require_reason": "true", "allow_self_approval": "false", "updated_by": "root",
	} {
		if got := fmt.Sprint(first[field]); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	f.writeAsAdmin("policies/p", map[string]any{"max_ttl": 7200})
	second := read()
	if fmt.Sprintf("%v %v %v %v", second["version"], second["max_ttl"], second["default_ttl"], second["description"]) != "2 7200 3600 first" {
		t.Errorf("after a second write it is %v", second)
	}
	if fmt.Sprint(second["rules"]) != fmt.Sprint(first["rules"]) {
		t.Errorf("the rules were %v and are %v", first["rules"], second["rules"])
	}
}

func TestClaimSendsTheParametersThatApproversSaw(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	f.writeAsAdmin("roles/otp", map[string]any{
		"data":       `{"ip": "127.0.0.{{.Parameters.host}}"}`,
		"parameters": `{"host": {"pattern": "[0-9]{1,3}", "required": true, "description": "last number"}}`,
	})
	for form, parameters := range map[string]any{"k=v": "host=7", "list": []string{"host=7"}, "object": map[string]any{"host": "7"}, "JSON": `{"host": "7"}`} {
		id := f.ask(f.alice, map[string]any{"role": "otp", "parameters": parameters})
		if data := f.readRequest(f.bob, id)["data"].(map[string]any); data["ip"] != "127.0.0.7" {
			t.Errorf("given as %s, approvers see %v", form, data)
		}
		f.approve(id, f.bob)
		if credential := f.claim(f.alice, id); credential.Data["ip"] != "127.0.0.7" {
			t.Errorf("given as %s, the claim made %v", form, credential.Data)
		}
	}
	for _, bad := range []string{"host=", "host=7/../8", "host={{.TTL}}", "host=7\n", "host=1234", "hosts=7"} {
		f.wantRefused(f.alice, "request", map[string]any{"role": "otp", "reason": "x", "parameters": bad}, "parameters")
	}
	// The engine shows a text unchanged.
	html := `<script>alert("x")</script> {{.TTL}} ../..` + "\nsecond line"
	id := f.ask(f.alice, map[string]any{"role": "otp", "reason": html, "parameters": "host=1"})
	if shown := f.readRequest(f.bob, id)["reason"]; shown != html {
		t.Errorf("the reason is shown as %q", shown)
	}
}

func TestTidyRemovesOnlyEndedRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"retention": "1s"}})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	kept := f.ask(f.alice, map[string]any{"role": "otp"})
	over := f.ask(f.alice, map[string]any{"role": "otp"})
	f.mustWriteAs(f.alice, "cancel", map[string]any{"id": over})
	vaulttest.Eventually(t, "the ended request to be removed", func(context.Context) error {
		f.writeAsAdmin("tidy", nil)
		if f.readRequest(f.alice, over) != nil {
			return fmt.Errorf("it is still there")
		}
		return nil
	})
	f.wantState(kept, "pending")
	stored, err := f.mount.Storage(t.Context())
	must(t, err)
	for key := range stored {
		if strings.Contains(key, over) {
			t.Errorf("%s is left", key)
		}
	}
}

func TestEveryPathAndFieldHasHelp(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	answer, err := f.Root().Logical().ReadWithDataWithContext(t.Context(), "sys/internal/specs/openapi", nil)
	must(t, err)
	paths := answer.Data["paths"].(map[string]any)
	operations, seen := 0, map[string]string{}
	for path, item := range paths {
		if !strings.HasPrefix(path, "/"+f.mount.Path+"/") {
			continue
		}
		for method, operation := range item.(map[string]any) {
			fields, ok := operation.(map[string]any)
			if !ok || (method != "get" && method != "post" && method != "delete") {
				continue
			}
			operations++
			if fields["summary"] == nil {
				t.Errorf("%s %s has no summary", method, path)
			}
			id := fmt.Sprint(fields["operationId"])
			if other, twice := seen[id]; twice {
				t.Errorf("%s %s and %s have the same operation id %s", method, path, other, id)
			}
			seen[id] = method + " " + path
		}
		help, err := f.Root().Logical().ReadWithDataWithContext(t.Context(), strings.NewReplacer("{name}", "x", "{id}", "x", "{role}", "x").Replace(strings.TrimPrefix(path, "/")),
			map[string][]string{"help": {"1"}})
		if err != nil || !strings.Contains(fmt.Sprint(help.Data["help"]), "## DESCRIPTION") {
			t.Errorf("%s has no help: %v", path, err)
		}
	}
	if operations < 30 {
		t.Errorf("the mount has only %d operations", operations)
	}
}

// Where the engine may look a name up, it warns at once. Otherwise the mistake would show only when a claim fails.
func TestWritesWarnOfUnknownGroupsAndPolicies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	must(t, f.Policy(t.Context(), f.mount.EnginePolicy, vaulttest.EnginePolicy(f.mount.TokenRole, f.mount.AppRole)+
		`path "identity/group/id/*" { capabilities = ["read"] }
		path "auth/token/roles/`+f.mount.TokenRole+`" { capabilities = ["read"] }`))
	upstream := f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	groups := []string{f.dba.ID, "database-admins"}
	for path, c := range map[string]struct {
		data  map[string]any
		warns string
	}{
		"approver-groups/other": {map[string]any{"identity_group_ids": groups}, `identity_group_ids: Vault knows no identity group with the id "database-admins"`},
		"config":                {map[string]any{"auditor_group_ids": groups}, `auditor_group_ids: Vault knows no identity group with the id "database-admins"`},
		"roles/other": {map[string]any{"policy": "one", "path": "a/b", "grant_policies": []string{upstream.Policy, "other"}, "requester_identity_group_ids": groups},
			`grant_policies: token role "` + f.mount.TokenRole + `" does not allow "other", so every claim will fail until its allowed_policies list it; ` +
				`requester_identity_group_ids: Vault knows no identity group with the id "database-admins"`},
	} {
		answer := f.writeAsAdmin(path, c.data)
		if answer == nil || !strings.HasPrefix(strings.Join(answer.Warnings, "; "), c.warns) {
			t.Errorf("%s is answered with %v, want a warning: %s", path, answer, c.warns)
		}
	}
	must(t, f.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": []string{}, "allowed_policies_glob": "oth*,ssh-*"}))
	answer := f.writeAsAdmin("roles/other", map[string]any{"requester_identity_group_ids": f.dba.ID})
	if answer != nil {
		t.Errorf("known groups and policies give the warnings %q", answer.Warnings)
	}
}
