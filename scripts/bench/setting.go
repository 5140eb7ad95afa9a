package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
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
	// as is the engine with the token of each of them.
	as map[*vaulttest.Person]*client.Client
}

const extraPolicy = "bench-extra"

func prepare(ctx context.Context, o options) (_ *setting, err error) {
	cluster, err := vaulttest.Start(ctx, vaulttest.Options{Nodes: 1, LogLevel: "error"})
	if err != nil {
		return nil, err
	}
	s := &setting{Cluster: cluster, options: o, as: map[*vaulttest.Person]*client.Client{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, cluster.Close())
		}
	}()
	if s.upstream, err = cluster.EnableSSHOTP(ctx, "ssh", "otp"); err != nil {
		return nil, err
	}
	s.mount, err = cluster.Mount(ctx, vaulttest.MountOptions{
		Path: "jit", AllowedPolicies: []string{s.upstream.Policy},
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
	for _, person := range append(slices.Clone(s.requesters), s.approver, s.reader) {
		if s.as[person], err = s.mount.As(person); err != nil {
			return err
		}
	}
	jit, err := s.mount.Operated()
	if err != nil {
		return err
	}
	people := wire.ApproverGroup{EntityIDs: []string{s.approver.EntityID, s.reader.EntityID}}
	if _, err := jit.ApproverGroups().Write(ctx, "ops", people); err != nil {
		return err
	}
	policy := wire.NewPolicy()
	policy.Rules = []wire.Rule{{Name: "ops", ApproverGroups: []string{"ops"}, Approvals: 1}}
	policy.RequestTTL, policy.ClaimTTL = wire.ToSeconds(24*time.Hour), wire.ToSeconds(24*time.Hour)
	if _, err := jit.Policies().Write(ctx, "one", policy); err != nil {
		return err
	}
	_, err = jit.Roles().Write(ctx, "otp", s.role())
	return err
}

// role gives a one-time password.
func (s *setting) role() wire.Role {
	role := wire.NewRole()
	role.Policy, role.Path, role.Operation = "one", s.upstream.Path, "write"
	role.Data, role.GrantPolicies = map[string]any{"ip": "127.0.0.1"}, []string{s.upstream.Policy}
	return role
}

func (s *setting) ask(ctx context.Context, who *vaulttest.Person) (id string, err error) {
	request, err := s.as[who].Ask(ctx, wire.Ask{Role: "otp", Reason: "bench", TTL: wire.ToSeconds(time.Hour)})
	return request.ID, err
}

func (s *setting) approve(ctx context.Context, id string) error {
	_, err := s.as[s.approver].Approve(ctx, id, "")
	return err
}

func (s *setting) claim(ctx context.Context, who *vaulttest.Person, id string) (leaseID string, err error) {
	credential, err := s.as[who].Claim(ctx, id)
	return credential.LeaseID, err
}

func (s *setting) revoke(ctx context.Context, who *vaulttest.Person, leaseID string) error {
	_, err := who.Write(ctx, "sys/leases/revoke", map[string]any{"lease_id": leaseID, "sync": true})
	return err
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
