package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// A scene is everything that the story needs: the servers, the people, and the engine set up for them.
type scene struct {
	*screen

	cluster  *vaulttest.Cluster
	postgres *vaulttest.Postgres
	database *vaulttest.Upstream
	mount    *vaulttest.Mount
	people   map[string]*vaulttest.Person
}

// names in order of appearance.
var names = []string{"alice", "bob", "carol"}

// setUp starts the servers and does what an operator would.
func setUp(ctx context.Context, screen *screen) (_ *scene, err error) {
	s := &scene{screen: screen, people: map[string]*vaulttest.Person{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.title("A Vault and a PostgreSQL of our own")
	err = s.working("Building the plugin, starting Vault with it", func() (err error) {
		s.cluster, err = vaulttest.Start(ctx, vaulttest.Options{Nodes: 1, LogLevel: "info"})
		return err
	})
	if err != nil {
		return nil, err
	}
	err = s.working("Starting PostgreSQL", func() (err error) {
		s.postgres, err = vaulttest.StartPostgres(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.found("The plugin is in Vault's catalogue, with SHA-256 %s…", s.cluster.PluginSHA256[:16])
	s.database, err = s.cluster.EnableDatabase(ctx, "database", s.postgres, "prod", time.Hour, 8*time.Hour)
	if err != nil {
		return nil, err
	}
	s.found("Vault's own database engine makes users in it: %s", s.database.Path)

	s.title("The engine, mounted at jit/")
	s.mount, err = s.cluster.Mount(ctx, vaulttest.MountOptions{
		Path: "jit", AllowedPolicies: []string{s.database.Policy},
		// Without these it works as well, but cannot tell who could still approve.
		ExtraPolicy: `path "identity/group/id/*"      { capabilities = ["read"] }
path "auth/token/roles/jit-grant" { capabilities = ["read"] }
`,
	})
	if err != nil {
		return nil, err
	}
	s.found("It logs in to Vault with an AppRole of its own, as %s.", s.mount.AppRole)
	s.found("It may make tokens of token role %s, which can have policy %s only.", s.mount.TokenRole, s.database.Policy)

	group, err := s.makePeople(ctx)
	if err != nil {
		return nil, err
	}
	return s, s.writeRules(ctx, group)
}

// makePeople makes three people, who are database administrators all.
func (s *scene) makePeople(ctx context.Context) (*vaulttest.Group, error) {
	s.title("People: alice, bob and carol")
	for _, name := range names {
		p, err := s.mount.Person(ctx, name)
		if err != nil {
			return nil, err
		}
		s.people[name] = p
	}
	group, err := s.cluster.Group(ctx, "database-admins", s.people["alice"], s.people["bob"], s.people["carol"])
	if err != nil {
		return nil, err
	}
	s.found("They are in Vault's identity group %s.", group.Name)
	s.found("Not one of them may read %s.", s.database.Path)
	return group, nil
}

// writeRules says who must agree to what, as an operator types it.
func (s *scene) writeRules(ctx context.Context, group *vaulttest.Group) error {
	s.title("Who must agree: an approver group, a policy, a role")
	for _, words := range [][]string{
		{"write", "jit/approver-groups/dba", "identity_group_ids=" + group.ID},
		{
			"write", "jit/policies/two-dbas", "max_ttl=1h",
			`rules=[{"name": "dba", "approver_groups": ["dba"], "approvals": 2}]`,
		},
		{
			"write", "jit/roles/prod-db", "policy=two-dbas", "grant_type=secret",
			"path=" + s.database.Path, "operation=read", "grant_policies=" + s.database.Policy,
			"requester_identity_group_ids=" + group.ID,
		},
	} {
		if _, err := s.vault(ctx, "operator", words...); err != nil {
			return err
		}
	}
	return nil
}

// token of somebody; the operator has the root token.
func (s *scene) token(who string) string {
	if p, ok := s.people[who]; ok {
		return p.Client.Token()
	}
	return s.cluster.Root().Token()
}

// vault runs Vault's command line as somebody, shows the command and what it prints, and gives the latter.
func (s *scene) vault(ctx context.Context, who string, words ...string) (string, error) {
	s.prompt(who, append([]string{"vault"}, words...))
	return s.command(ctx, s.cluster.Binary(), words, "VAULT_ADDR="+s.cluster.Address(), "VAULT_TOKEN="+s.token(who))
}

// refused is vault for what must fail, which it fails for if it does not.
func (s *scene) refused(ctx context.Context, who string, words ...string) error {
	out, err := s.vault(ctx, who, words...)
	var status *exec.ExitError
	switch {
	case err == nil:
		return fmt.Errorf("%s was not refused: vault %s", who, strings.Join(words, " "))
	case !errors.As(err, &status) || !strings.Contains(out, "Code: 4"):
		return err // not Vault's refusal, but something else gone wrong
	default:
		return nil
	}
}

// command runs a program with no environment but what it is given, shows what it prints and gives that, too.
func (s *scene) command(ctx context.Context, program string, words []string, env ...string) (string, error) {
	out := &lines{to: s.out}
	cmd := exec.CommandContext(ctx, program, words...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	home := s.cluster.Dir() // where the people's command line finds no settings of the developer's
	cmd.Env = append([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TERM=" + os.Getenv("TERM"), "LC_ALL=C.UTF-8"}, env...)
	cmd.Dir = home
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if !strings.HasSuffix(out.String(), "\n") { // vault -field ends without one
		s.print("\n")
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return out.String(), nil
}

// invite says what to type, for those who want to play all parts themselves.
func (s *scene) invite() {
	s.title("Yours")
	if _, err := exec.LookPath("vault"); err != nil {
		s.say("There is no vault on your PATH, so first, in each terminal:")
		s.print("  alias vault=%s\n", shellQuote(s.cluster.Binary()))
	}
	s.say("A terminal each for alice, bob and carol, and one for the operator:")
	for _, name := range append(names, "operator") {
		s.print("  %s\n", s.paint(dim, "# "+name))
		s.print("  export VAULT_ADDR=%s VAULT_TOKEN=%s\n", s.cluster.Address(), s.token(name))
	}
	psql := "psql"
	if _, err := exec.LookPath(psql); err != nil {
		psql = shellQuote(s.postgres.Program("psql"))
	}
	s.say("alice asks, bob and carol look and approve, alice claims:")
	s.print(`  vault write jit/request role=prod-db reason='INC-4711: orders are stuck' ttl=10m
  vault list -detailed jit/inbox
  vault read jit/requests/ID
  vault write jit/approve id=ID comment='go ahead'
  vault write -f jit/claim/ID
  PGPASSWORD=PASSWORD %s -h 127.0.0.1 -p %s -U USERNAME %s
  vault write jit/revoke id=ID
`, psql, s.postgres.Port(), s.postgres.Database)
	s.say("Vault's log is %s.", s.cluster.Nodes[0].LogPath())
	s.say("%s", s.paint(bold, "Ctrl-C ends everything and removes it."))
}

// close ends the servers and removes all that was stored.
func (s *scene) close() error {
	var err error
	if s.cluster != nil {
		err = s.cluster.Close()
	}
	if s.postgres != nil {
		err = errors.Join(err, s.postgres.Close())
	}
	return err
}
