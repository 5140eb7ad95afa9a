package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// setting is the Vault that is measured, with people and a role whose credential is a leased SSH one-time password:
// the cheapest upstream there is, so that what is measured is the engine.
type setting struct {
	*vaulttest.Cluster
	options
	mount    *vaulttest.Mount
	upstream *vaulttest.Upstream
	// requesters ask and claim, the first of them in the table of operations; approver decides, reader looks at the inbox.
	requesters       []*vaulttest.Person
	approver, reader *vaulttest.Person
}

const extraPolicy = "bench-extra"

func prepare(ctx context.Context, o options) (_ *setting, err error) {
	cluster, err := vaulttest.Start(ctx, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	if err != nil {
		return nil, err
	}
	s := &setting{Cluster: cluster, options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, cluster.Close())
		}
	}()
	if s.upstream, err = cluster.EnableSSHOTP(ctx, "ssh", "otp"); err != nil {
		return nil, err
	}
	s.mount, err = cluster.Mount(ctx, vaulttest.MountOptions{
		Path: "jit", GrantPolicies: []string{s.upstream.Policy},
		Config: map[string]any{"max_pending_per_requester": 1_000_000_000},
	})
	if err != nil {
		return nil, err
	}
	if err := cluster.Root().Sys().MountWithContext(ctx, "kv", &api.MountInput{Type: "kv"}); err != nil {
		return nil, fmt.Errorf("mounting kv: %w", err)
	}
	rules := `path "kv/*" { capabilities = ["create", "update"] }
path "sys/leases/revoke" { capabilities = ["update"] }`
	if err := cluster.Policy(ctx, extraPolicy, rules); err != nil {
		return nil, err
	}
	return s, s.define(ctx)
}

// define makes the people, and what they ask for and decide by.
func (s *setting) define(ctx context.Context) (err error) {
	for n := range s.options.requesters {
		person, err := s.mount.Person(ctx, fmt.Sprintf("requester%d", n), extraPolicy, s.upstream.Policy)
		if err != nil {
			return err
		}
		s.requesters = append(s.requesters, person)
	}
	if s.approver, err = s.mount.Person(ctx, "approver"); err != nil {
		return err
	}
	if s.reader, err = s.mount.Person(ctx, "reader"); err != nil {
		return err
	}
	for _, write := range []struct {
		path string
		data map[string]any
	}{
		{"approver-groups/ops", map[string]any{"entity_ids": []string{s.approver.EntityID, s.reader.EntityID}}},
		{"policies/one", map[string]any{
			"rules":       []any{map[string]any{"name": "ops", "approver_groups": []string{"ops"}, "approvals": 1}},
			"request_ttl": "24h", "claim_ttl": "24h",
		}},
		{"roles/otp", map[string]any{
			"policy": "one", "path": s.upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"},
			"grant_policies": []string{s.upstream.Policy},
		}},
	} {
		if _, err := s.mount.Write(ctx, write.path, write.data); err != nil {
			return err
		}
	}
	return nil
}

func (s *setting) ask(ctx context.Context, who *vaulttest.Person) (id string, err error) {
	answer, err := who.Write(ctx, s.mount.Path+"/request", map[string]any{"role": "otp", "reason": "bench", "ttl": "1h"})
	if err != nil {
		return "", err
	}
	id, ok := answer.Data["id"].(string)
	if !ok {
		return "", errors.New("the answer to a request has no id")
	}
	return id, nil
}

func (s *setting) approve(ctx context.Context, id string) error {
	_, err := s.approver.Write(ctx, s.mount.Path+"/approve", map[string]any{"id": id})
	return err
}

func (s *setting) claim(ctx context.Context, who *vaulttest.Person, id string) (leaseID string, err error) {
	answer, err := who.Write(ctx, s.mount.Path+"/claim", map[string]any{"id": id})
	if err != nil {
		return "", err
	}
	return answer.LeaseID, nil
}

func (s *setting) revoke(ctx context.Context, who *vaulttest.Person, leaseID string) error {
	_, err := who.Write(ctx, "sys/leases/revoke", map[string]any{"lease_id": leaseID, "sync": true})
	return err
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
