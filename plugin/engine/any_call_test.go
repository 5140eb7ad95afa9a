package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
)

// anyCalls are valid calls to every path, and some invalid ones.
var anyCalls = []struct {
	op         logical.Operation
	path, body string
}{
	{logical.UpdateOperation, "config", `{"address":"http://127.0.0.1:1","role_id":"r","secret_id":"s","token_role":"t"}`},
	{logical.CreateOperation, "config", `{"retention":1.5,"auditor_group_ids":[[]]}`},
	{logical.UpdateOperation, "config/rotate-root", `{}`},
	{logical.DeleteOperation, "config", `{}`},
	{logical.ReadOperation, "status", `{}`},
	{logical.CreateOperation, "approver-groups/x", `{"entity_ids":["a","b"],"identity_group_ids":"g"}`},
	{logical.UpdateOperation, "approver-groups/dba", `{"entity_ids":"[\"alice\"]"}`},
	{logical.DeleteOperation, "approver-groups/dba", `{}`},
	{logical.ListOperation, "approver-groups/", `{}`},
	{logical.CreateOperation, "policies/x", `{"rules":[{"name":"a","approver_groups":["dba"],"approvals":1}],"max_ttl":"1h"}`},
	{logical.UpdateOperation, "policies/one", `{"rules":"[null]","deny_threshold":-1,"reason_pattern":"(?i)\\Q"}`},
	{logical.ReadOperation, "policies/one/check", `{}`},
	{logical.DeleteOperation, "policies/one", `{}`},
	{logical.CreateOperation, "roles/x", `{"policy":"one","path":"a/{{.Parameters.p}}","parameters":{"p":{"pattern":".*","required":true}},"grant_policies":["p"]}`},
	{logical.UpdateOperation, "roles/r", `{"data":{"a":{"b":["{{.TTL}}",1e308,null]}},"operation":"write"}`},
	{logical.DeleteOperation, "roles/r", `{}`},
	{logical.UpdateOperation, "request", `{"role":"r","reason":"x","ttl":"10m","parameters":{"host":"a"}}`},
	{logical.UpdateOperation, "request/r", `{"reason":"x","parameters":"host=../../b"}`},
	{logical.UpdateOperation, "approve", `{"id":"ID","comment":"ok"}`},
	{logical.UpdateOperation, "deny", `{"id":"ID"}`},
	{logical.UpdateOperation, "withdraw", `{"id":"ID"}`},
	{logical.UpdateOperation, "cancel", `{"id":"ID"}`},
	{logical.UpdateOperation, "claim", `{"id":"ID"}`},
	{logical.UpdateOperation, "claim/ID", `{}`},
	{logical.UpdateOperation, "revoke", `{"id":"ID"}`},
	{logical.ListOperation, "inbox/", `{"limit":"5"}`},
	{logical.ListOperation, "requests/", `{"state":"all","role":"r","after":"ID"}`},
	{logical.ReadOperation, "requests/ID", `{}`},
	{logical.UpdateOperation, "tidy", `{}`},
	{logical.RenewOperation, "claim/ID", `{}`},
	{logical.RollbackOperation, "", `{}`},
	{logical.PatchOperation, "roles/r", `{"policy":null}`},
	{logical.ReadOperation, "../config", `{}`},
}

// FuzzAnyCall makes arbitrary calls as different people. The engine must answer or refuse each call. It must not panic,
// because its process serves all mounts; it must not report a fault of the system; and a read must not write.
func FuzzAnyCall(f *testing.F) {
	for i, c := range anyCalls {
		f.Add(string(c.op), i%4, c.path, c.body)
	}
	f.Fuzz(func(t *testing.T, op string, who int, path, body string) {
		var data map[string]any
		if json.Unmarshal([]byte(body), &data) != nil {
			return
		}
		var stored map[string]bool
		engine, err := enginetest.New(t.Context(), "http://127.0.0.1:1", func(name string, do func() error) error {
			if stored != nil && (strings.HasPrefix(name, "storage put") || strings.HasPrefix(name, "storage delete")) {
				stored[name] = true
			}
			return do()
		}, "alice", "bob")
		must(t, err)
		defer engine.Close()
		write := func(who, path string, data map[string]any) string {
			t.Helper()
			answer, err := engine.Call(t.Context(), logical.UpdateOperation, who, path, data)
			must(t, err)
			if answer == nil {
				return ""
			}
			id, _ := answer.Data["id"].(string)
			return id
		}
		write("", "approver-groups/dba", map[string]any{"entity_ids": "bob"})
		write("", "policies/one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
		write("", "roles/r", map[string]any{
			"policy": "one", "path": "db/creds/{{.Parameters.host}}", "grant_policies": "p",
			"parameters": map[string]any{"host": map[string]any{"pattern": "[a-z]*", "default": "x"}},
		})
		id := write("alice", "request", map[string]any{"role": "r", "reason": "x"})
		if who%3 == 0 {
			write("bob", "approve", map[string]any{"id": id})
		}
		var filled map[string]any
		must(t, json.Unmarshal([]byte(strings.ReplaceAll(body, "ID", id)), &filled))

		stored = map[string]bool{}
		person := []string{"alice", "bob", "nobody", ""}[uint(who)%4]
		answer, err := engine.Call(t.Context(), logical.Operation(op), person, strings.ReplaceAll(path, "ID", id), filled)
		unsupported := errors.Is(err, logical.ErrUnsupportedOperation) || errors.Is(err, logical.ErrUnsupportedPath)
		if err != nil && !answer.IsError() && !unsupported {
			switch logical.Operation(op) {
			case logical.RenewOperation, logical.RevokeOperation, logical.RollbackOperation: // only Vault makes these calls, and there is no lease
			default:
				t.Errorf("%s %q by %q with %s fails: %v", op, path, person, body, err)
			}
		}
		if (op == string(logical.ReadOperation) || op == string(logical.ListOperation)) && len(stored) > 0 {
			t.Errorf("%s %q with %s changed what is stored: %v", op, path, body, stored)
		}
		if answer != nil && answer.Secret != nil {
			t.Errorf("%s %q with %s gave a credential", op, path, body)
		}
		if text := fmt.Sprint(answer, err); len(text) > 4*len(body)+100_000 {
			t.Errorf("%s %q with %d bytes is answered with %d", op, path, len(body), len(text))
		}
	})
}
