package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// The active node may step down while upstream makes the credential. The claim then gives the credential, or an error
// after which everything that the claim made ends. The first claim goes to the active node, later ones go through a
// standby. The last one fails, because upstream takes longer than a claim may.
func TestStepDownDuringAClaimGivesOneCredentialOrNone(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 3})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t) // its own PostgreSQL, because the test counts its users
	f.addDatabaseRoleOn(pg)
	for round, delay := range []time.Duration{3 * time.Second, 3 * time.Second, 15 * time.Second} {
		f.setDatabaseDelay(delay)
		id := f.askApproved(wire.Ask{Role: "db", TTL: minute}, f.bob, f.carol)
		credential, err := f.claimDuringStepDown(pg, id)
		if err != nil {
			t.Logf("round %d: the claim failed: %v", round, err)
			f.waitUntilNothingIsLeft(pg, id)
			state := f.readRequest(f.alice, id).State
			if state == "ended" {
				f.wantClaimRefused(id, "ended")
				continue
			}
			if state != "approved" {
				t.Fatalf("round %d: after the failed claim the request is %v", round, state)
			}
			f.setDatabaseDelay(0)
			credential = f.claim(f.alice, id)
		} else {
			t.Logf("round %d: the claim gave a credential", round)
		}
		f.wantClaimRefused(id, "active")
		f.wantLogin(pg, credential, true)
		f.revoke(f.bob, id)
		f.waitUntilNothingIsLeft(pg, id)
		f.wantLogin(pg, credential, false)
		f.wantState(id, "ended")
	}
}

// claimDuringStepDown claims as alice, and makes the active node step down while upstream works on the claim.
func (f *fixture) claimDuringStepDown(pg *vaulttest.Postgres, id string) (credential client.Credential, err error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Minute)
	defer cancel()
	alice, done := f.as(f.alice), make(chan struct{})
	go func() {
		defer close(done)
		credential, err = alice.Claim(ctx, id)
	}()
	vaulttest.Eventually(f.t, "upstream to work on the claim", func(ctx context.Context) error { return checkPostgresSleeps(ctx, pg) })
	f.must(f.StepDown(ctx))
	<-done
	return credential, err
}

// setDatabaseDelay sets how long the database role "app" of this mount takes to make a user.
func (f *fixture) setDatabaseDelay(delay time.Duration) {
	f.t.Helper()
	path := "database-" + f.mount.Path + "/roles/app"
	role, err := f.Root().Logical().ReadWithContext(f.t.Context(), path)
	must(f.t, err)
	statements := []any{fmt.Sprintf("SELECT pg_sleep(%g);", delay.Seconds())}
	for _, statement := range role.Data["creation_statements"].([]any) {
		if !strings.Contains(fmt.Sprint(statement), "pg_sleep") {
			statements = append(statements, statement)
		}
	}
	role.Data["creation_statements"] = statements
	_, err = f.Root().Logical().WriteWithContext(f.t.Context(), path, role.Data)
	must(f.t, err)
}

// checkPostgresSleeps fails unless a session of PostgreSQL is in the delay.
func checkPostgresSleeps(ctx context.Context, pg *vaulttest.Postgres) error {
	return pg.Exec(ctx, `DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep') THEN RAISE EXCEPTION 'no session sleeps'; END IF;
END $$`)
}

// waitUntilNothingIsLeft waits until no database user and no grant token exists and the request is neither claiming nor active.
func (f *fixture) waitUntilNothingIsLeft(pg *vaulttest.Postgres, id string) {
	f.t.Helper()
	vaulttest.Eventually(f.t, "everything of the claim to end", func(ctx context.Context) error {
		users, err := pg.Users(ctx)
		if err != nil {
			return err
		}
		tokens, err := f.mount.GrantTokens(ctx)
		if err != nil {
			return err
		}
		request, err := f.as(f.alice).Request(ctx, id)
		if err != nil {
			return err
		}
		if len(users) > 0 || len(tokens) > 0 || request.State == "active" || request.State == "claiming" {
			return fmt.Errorf("%d database users and %d grant tokens are left, and the request is %s", len(users), len(tokens), request.State)
		}
		return nil
	})
}
