package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/terraformtest"
)

// parallelism is terraform's default.
const parallelism = 10

// shown is how much of terraform's output an error shows, in bytes.
const shown = 2000

// scene is a Vault with a mount, and terraform with the provider installed.
type scene struct {
	each     int
	dir      string
	cluster  *vaulttest.Cluster
	mount    *vaulttest.Mount
	cli      terraformtest.CLI
	mirror   terraformtest.Mirror
	official string
}

type contender struct {
	name    string
	measure func(context.Context) (times, error)
}

func newScene(ctx context.Context, each int) (_ *scene, err error) {
	s := &scene{each: each, official: os.Getenv("TERRAFORM_PROVIDER_VAULT")}
	if s.dir, err = os.MkdirTemp("", "bench-provider-"); err != nil {
		return nil, fmt.Errorf("making a place to work: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.cli, err = terraformtest.Find(ctx); err != nil {
		return nil, err
	}
	providers := []terraformtest.Provider{terraformtest.Vaultjit}
	if s.official != "" {
		providers = append(providers, terraformtest.Provider{Source: "hashicorp/vault", Version: "5.7.0", Binary: s.official})
	}
	if s.mirror, err = terraformtest.Build(ctx, filepath.Join(s.dir, "mirror"), providers...); err != nil {
		return nil, err
	}
	if s.cluster, err = vaulttest.Start(ctx, vaulttest.Options{Nodes: 1, LogLevel: "warn"}); err != nil {
		return nil, err
	}
	if s.mount, err = s.cluster.Mount(ctx, vaulttest.MountOptions{}); err != nil {
		return nil, err
	}
	person, err := s.mount.Person(ctx, "bob")
	if err != nil {
		return nil, err
	}
	jit, err := s.mount.Operated()
	if err != nil {
		return nil, err
	}
	_, err = jit.ApproverGroups().Write(ctx, "dba", wire.ApproverGroup{EntityIDs: []string{person.EntityID}})
	return s, err
}

func (s *scene) close() error {
	var err error
	if s.cluster != nil {
		err = s.cluster.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *scene) contenders() []contender {
	all := []contender{
		{fmt.Sprintf("%d vaultjit_policy and %[1]d vaultjit_role", s.each), func(ctx context.Context) (times, error) {
			return s.terraform(ctx, "vaultjit", s.definitions())
		}},
		{fmt.Sprintf("%d policies of Vault's own by its API", 2*s.each), s.plain},
	}
	if s.official != "" {
		all = append(all, contender{fmt.Sprintf("%d vault_policy of HashiCorp's provider", 2*s.each), func(ctx context.Context) (times, error) {
			return s.terraform(ctx, "vault", s.officialPolicies())
		}})
	}
	return all
}

// definitions are blocks of their own rather than one with a count: terraform looks at all instances of a block for
// each reference to one, and would measure itself.
func (s *scene) definitions() string {
	var text strings.Builder
	fmt.Fprintf(&text, `
terraform {
  required_providers {
    vaultjit = { source = "vault-jit/vaultjit" }
  }
}
provider "vaultjit" {
  mount = %q
}
`, s.mount.Path)
	for i := range s.each {
		fmt.Fprintf(&text, `
resource "vaultjit_policy" "p%[1]d" {
  name           = "p%[1]d"
  rules          = [{ name = "dba", approver_groups = ["dba"], approvals = 1 }]
  reason_pattern = "(INC|CHG)-[0-9]+"
  max_ttl        = "1h"
}
resource "vaultjit_role" "r%[1]d" {
  name                 = "r%[1]d"
  policy               = vaultjit_policy.p%[1]d.name
  path                 = "database/creds/r%[1]d"
  grant_policies       = ["database"]
  requester_entity_ids = ["somebody"]
}
`, i)
	}
	return text.String()
}

func (s *scene) officialPolicies() string {
	var text strings.Builder
	for i := range 2 * s.each {
		fmt.Fprintf(&text, `
resource "vault_policy" "p%[1]d" {
  name   = "p%[1]d"
  policy = "path \"database/creds/p%[1]d\" { capabilities = [\"read\"] }"
}
`, i)
	}
	return text.String()
}

func (s *scene) terraform(ctx context.Context, name, configuration string) (took times, err error) {
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return took, fmt.Errorf("making a workspace: %w", err)
	}
	workspace, err := terraformtest.New(dir, s.cli, s.mirror)
	if err != nil {
		return took, err
	}
	workspace.Env = append(workspace.Env, "VAULT_ADDR="+s.cluster.Address(), "VAULT_TOKEN="+s.cluster.Root().Token())
	if err := workspace.Write("main.tf", configuration); err != nil {
		return took, err
	}
	if err := workspace.Init(ctx); err != nil {
		return took, err
	}
	for _, step := range []struct {
		took *time.Duration
		args []string
	}{
		{&took.apply, []string{"apply", "-auto-approve"}},
		{&took.refresh, []string{"plan", "-refresh-only"}},
		{&took.destroy, []string{"destroy", "-auto-approve"}},
	} {
		began := time.Now()
		if output, err := workspace.Run(ctx, append(step.args, "-no-color")...); err != nil {
			return took, fmt.Errorf("terraform %s failed; the end of what it printed: %s", step.args[0], output[max(0, len(output)-shown):])
		}
		*step.took = time.Since(began)
	}
	return took, nil
}

// plain is what Vault takes without terraform.
func (s *scene) plain(ctx context.Context) (took times, err error) {
	root := s.cluster.Root().Logical()
	path := func(i int) string { return fmt.Sprintf("sys/policies/acl/plain%d", i) }
	for _, step := range []struct {
		took *time.Duration
		do   func(context.Context, int) error
	}{
		{&took.apply, func(ctx context.Context, i int) error {
			_, err := root.WriteWithContext(ctx, path(i), map[string]any{"policy": fmt.Sprintf("path \"database/creds/p%d\" { capabilities = [\"read\"] }", i)})
			return err
		}},
		{&took.refresh, func(ctx context.Context, i int) error {
			_, err := root.ReadWithContext(ctx, path(i))
			return err
		}},
		{&took.destroy, func(ctx context.Context, i int) error {
			_, err := root.DeleteWithContext(ctx, path(i))
			return err
		}},
	} {
		began := time.Now()
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(parallelism)
		for i := range 2 * s.each {
			group.Go(func() error { return step.do(ctx, i) })
		}
		if err := group.Wait(); err != nil {
			return took, fmt.Errorf("asking Vault: %w", err)
		}
		*step.took = time.Since(began)
	}
	return took, nil
}
