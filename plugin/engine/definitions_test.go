package engine_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
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
	policy := newPolicy(1)
	policy.ReasonPattern = "INC-[0-9]+.*"
	f.addOTPRole("one", policy)
	id := f.ask(f.alice, wire.Ask{Role: "otp"})
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
		by := f.bob.Client
		if strings.Contains(in.path, "/") && !strings.HasPrefix(in.path, "request") && !strings.HasPrefix(in.path, "claim") {
			by = f.Root()
		}
		_, err := f.writeRaw(by, in.path, in.data)
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
	f.addOTPRole("one", newPolicy(1))
	wantRefusal(t, f.operated().ApproverGroups().Delete(t.Context(), "dba"), `policy "one"`)
	wantRefusal(t, f.operated().Policies().Delete(t.Context(), "one"), `role "otp"`)
	for range 2 { // deleting them again succeeds
		must(t, f.operated().Roles().Delete(t.Context(), "otp"))
		must(t, f.operated().Policies().Delete(t.Context(), "one"))
		must(t, f.operated().ApproverGroups().Delete(t.Context(), "dba"))
	}
}

func TestWriteKeepsOtherFieldsAndRecordsTheWriter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.must(f.operated().Policies().Change(t.Context(), "p", map[string]any{
		"rules": `[{"name":"a","approver_groups":["dba"],"approvals":1}]`, "max_ttl": "30m", "description": "first",
	}))
	first, err := f.operated().Policies().Read(t.Context(), "p")
	must(t, err)
	want := wire.Policy{
		Revision: wire.Revision{Version: 1, UpdatedAt: first.UpdatedAt, UpdatedBy: "root"}, Description: "first",
		Rules:         []wire.Rule{{Name: "a", ApproverGroups: []string{"dba"}, Approvals: 1}},
		DenyThreshold: 1, RequireReason: true, RequestTTL: 8 * hour, ClaimTTL: hour, DefaultTTL: 30 * minute, MaxTTL: 30 * minute,
	}
	wantEqual(t, first, want)
	f.must(f.operated().Policies().Change(t.Context(), "p", map[string]any{"max_ttl": 7200}))
	second, err := f.operated().Policies().Read(t.Context(), "p")
	must(t, err)
	want.Version, want.UpdatedAt, want.MaxTTL, want.DefaultTTL = 2, second.UpdatedAt, 2*hour, hour
	wantEqual(t, second, want)
}

func TestClaimSendsTheParametersThatApproversSaw(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	f.must(f.operated().Roles().Change(t.Context(), "otp", map[string]any{
		"data":       `{"ip": "127.0.0.{{.Parameters.host}}"}`,
		"parameters": `{"host": {"pattern": "[0-9]{1,3}", "required": true, "description": "last number"}}`,
	}))
	for form, parameters := range map[string]any{"k=v": "host=7", "list": []string{"host=7"}, "object": map[string]any{"host": "7"}, "JSON": `{"host": "7"}`} {
		asked, err := f.writeRaw(f.alice.Client, "request", map[string]any{"role": "otp", "reason": "x", "parameters": parameters})
		must(t, err)
		id := asked.Data["id"].(string)
		if data := f.readRequest(f.bob, id).Data; data["ip"] != "127.0.0.7" {
			t.Errorf("given as %s, approvers see %v", form, data)
		}
		f.approve(id, f.bob)
		if credential := f.claim(f.alice, id); credential.Data["ip"] != "127.0.0.7" {
			t.Errorf("given as %s, the claim made %v", form, credential.Data)
		}
	}
	for _, bad := range []string{"host=", "host=7/../8", "host={{.TTL}}", "host=7\n", "host=1234", "hosts=7"} {
		_, err := f.writeRaw(f.alice.Client, "request", map[string]any{"role": "otp", "reason": "x", "parameters": bad})
		wantRefusal(t, err, "parameters")
	}
	// The engine shows a text unchanged.
	html := `<script>alert("x")</script> {{.TTL}} ../..` + "\nsecond line"
	id := f.ask(f.alice, wire.Ask{Role: "otp", Reason: html, Parameters: map[string]string{"host": "1"}})
	if shown := f.readRequest(f.bob, id).Reason; shown != html {
		t.Errorf("the reason is shown as %q", shown)
	}
}

func TestTidyRemovesOnlyEndedRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"retention": "1s"}})
	f.addOTPRole("one", newPolicy(1))
	kept := f.ask(f.alice, wire.Ask{Role: "otp"})
	over := f.ask(f.alice, wire.Ask{Role: "otp"})
	f.must(f.as(f.alice).Cancel(t.Context(), over))
	vaulttest.Eventually(t, "the ended request to be removed", func(context.Context) error {
		f.must(f.operated().Tidy(t.Context()))
		if f.sees(f.alice, over) {
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
	upstream := f.addOTPRole("one", newPolicy(1))
	groups := []string{f.dba.ID, "database-admins"}
	const unknownGroup = `identity_group_ids: Vault knows no identity group with the id "database-admins"`
	role := newRole("one", &vaulttest.Upstream{Path: "a/b", Policy: upstream.Policy})
	role.GrantPolicies, role.RequesterIdentityGroupIDs = append(role.GrantPolicies, "other"), groups
	for warns, write := range map[string]func() ([]string, error){
		unknownGroup: func() ([]string, error) {
			return f.operated().ApproverGroups().Write(t.Context(), "other", wire.ApproverGroup{IdentityGroupIDs: groups})
		},
		strings.Replace(unknownGroup, "identity_group", "auditor_group", 1): func() ([]string, error) {
			return f.operated().ChangeConfig(t.Context(), map[string]any{"auditor_group_ids": groups})
		},
		`grant_policies: token role "` + f.mount.TokenRole + `" does not allow "other", so every claim will fail until its ` +
			`allowed_policies list it; requester_` + unknownGroup: func() ([]string, error) {
			return f.operated().Roles().Write(t.Context(), "other", role)
		},
	} {
		warnings, err := write()
		must(t, err)
		if !strings.HasPrefix(strings.Join(warnings, "; "), warns) {
			t.Errorf("the warnings are %q, want %s", warnings, warns)
		}
	}
	must(t, f.mount.WriteTokenRole(t.Context(), map[string]any{"allowed_policies": []string{}, "allowed_policies_glob": "oth*,ssh-*"}))
	warnings, err := f.operated().Roles().Change(t.Context(), "other", map[string]any{"requester_identity_group_ids": f.dba.ID})
	must(t, err)
	if len(warnings) > 0 {
		t.Errorf("known groups and policies give the warnings %q", warnings)
	}
}
