package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/engine/enginetest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// calls is how many storage and HTTP calls one operation takes once the engine is warm.
type calls struct{ reads, writes, http int }

// step counts the calls of an engine, one at a time.
func (c *calls) step() enginetest.Step {
	var mu sync.Mutex
	return func(name string, do func() error) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasPrefix(name, "storage put"), strings.HasPrefix(name, "storage delete"):
			c.writes++
		case strings.HasPrefix(name, "storage"):
			c.reads++
		default:
			c.http++
		}
		return do()
	}
}

// countCalls runs each operation twice inside this process, where every call can be seen, and counts the second time.
func countCalls(ctx context.Context, s *setting) (map[string]calls, error) {
	var now calls
	engine, err := enginetest.New(ctx, s.Address(), now.step(), "asker", "approver", "reader")
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	write := func(who, path string, data map[string]any) *logical.Response {
		if err != nil {
			return &logical.Response{}
		}
		var answer *logical.Response
		if answer, err = engine.Call(ctx, logical.UpdateOperation, who, path, data); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return answer
	}
	secretID, secretErr := s.mount.NewSecretID(ctx)
	if secretErr != nil {
		return nil, secretErr
	}
	write("", "config", map[string]any{"address": engine.Address, "role_id": s.mount.RoleID, "secret_id": secretID, "token_role": s.mount.TokenRole})
	write("", "approver-groups/ops", map[string]any{"entity_ids": []any{"approver", "reader"}})
	write("", "policies/one", map[string]any{"rules": []any{map[string]any{"name": "ops", "approver_groups": []any{"ops"}, "approvals": 1}}})
	role, roleErr := wire.EncodeWhole(wire.RoleTable, s.role())
	if roleErr != nil {
		return nil, roleErr
	}
	write("", "roles/otp", role)
	counted := map[string]calls{}
	count := func(name string, operation func()) {
		now = calls{}
		operation()
		counted[name] = now
	}
	for range 2 {
		var id string
		var lease *logical.Secret
		count("request", func() {
			id, _ = write("asker", "request", map[string]any{"role": "otp", "reason": "bench"}).Data["id"].(string)
		})
		count("inbox", func() {
			if err == nil {
				_, err = engine.Call(ctx, logical.ListOperation, "reader", "inbox/", nil)
			}
		})
		count("approve", func() { write("approver", "approve", map[string]any{"id": id}) })
		count("claim", func() { lease = write("asker", "claim/"+id, nil).Secret })
		count("lease revoke", func() {
			if err == nil {
				err = engine.Revoke(ctx, lease)
			}
		})
	}
	return counted, err
}

// operations measures each operation beside writes to Vault's KV with the same token.
func (s *setting) operations(ctx context.Context, counted map[string]calls) error {
	asker := s.requesters[0]
	ids := make([]string, s.requests)
	leases := make([]string, s.requests)
	writeKV := func(ctx context.Context, n int) error {
		_, err := asker.Write(ctx, fmt.Sprintf("kv/%d", n), map[string]any{"role": "otp", "reason": "bench", "ttl": "1h"})
		return err
	}
	fmt.Printf("\n%d calls of each, %d callers, one-node Raft, in turns with as many KV writes by the same token:\n\n", s.requests, s.clients)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(out, "\tcalls/s\tKV writes/s\tratio\tp50 ms\tp99 ms\tKV p50 ms\tKV p99 ms\tstorage reads\tstorage writes\tHTTP calls\t")
	for _, measured := range []struct {
		name string
		call operation
	}{
		{"request", func(ctx context.Context, n int) (err error) {
			ids[n], err = s.ask(ctx, asker)
			return err
		}},
		{"inbox", func(ctx context.Context, _ int) error {
			_, err := s.as[s.reader].Inbox(ctx, wire.Page{Limit: 1})
			return err
		}},
		{"approve", func(ctx context.Context, n int) error { return s.approve(ctx, ids[n]) }},
		{"claim", func(ctx context.Context, n int) (err error) {
			leases[n], err = s.claim(ctx, asker, ids[n])
			return err
		}},
		{"lease revoke", func(ctx context.Context, n int) error { return s.revoke(ctx, asker, leases[n]) }},
	} {
		progress("%s", measured.name)
		kv, own, err := beside(ctx, s.clients, s.requests, writeKV, measured.call)
		if err != nil {
			return fmt.Errorf("%s: %w", measured.name, err)
		}
		c := counted[measured.name]
		_, _ = fmt.Fprintf(out, "%s\t%.0f\t%.0f\t%.2f\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t\n", measured.name,
			own.perSecond(), kv.perSecond(), own.perSecond()/kv.perSecond(),
			milliseconds(own.percentile(50)), milliseconds(own.percentile(99)), milliseconds(kv.percentile(50)), milliseconds(kv.percentile(99)),
			c.reads, c.writes, c.http)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Println("\nThe inbox shows one request of as many as there are calls. Calls to storage and HTTP are counted with a warm cache.")
	return nil
}
