package vaulttest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestDatabaseUsersLiveAsLongAsTheirLease(t *testing.T) {
	c, pg := vaulttest.Shared(t), vaulttest.SharedPostgres(t)
	db, err := c.EnableDatabase(t.Context(), "database", pg, "app", time.Hour, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := c.Root().Logical().ReadWithContext(t.Context(), db.Path)
	if err != nil {
		t.Fatal(err)
	}
	name, password := secret.Data["username"].(string), secret.Data["password"].(string)
	if who, err := pg.CurrentUser(t.Context(), name, password); err != nil || who != name {
		t.Errorf("logged in as %q (%v)", who, err)
	}
	if err := pg.CanLogin(t.Context(), name, password+"x"); err == nil {
		t.Error("a wrong password logs in")
	}
	if users, err := pg.Users(t.Context()); err != nil || !slices.Equal(users, []string{name}) {
		t.Errorf("the users are %q (%v)", users, err)
	}
	err = c.Root().Sys().RevokeWithContext(t.Context(), secret.LeaseID)
	if err != nil {
		t.Fatal(err)
	}
	if err := pg.CanLogin(t.Context(), name, password); err == nil {
		t.Error("it still logs in after its lease was revoked")
	}
	if users, err := pg.Users(t.Context()); err != nil || len(users) > 0 {
		t.Errorf("the users are %q (%v)", users, err)
	}
}

func TestPostgresCanBeDownForAWhile(t *testing.T) {
	pg := vaulttest.NewPostgres(t)
	if err := pg.Exec(t.Context(), "CREATE ROLE kept LOGIN PASSWORD 'kept'"); err != nil {
		t.Fatal(err)
	}
	pg.Stop()
	if err := pg.CanLogin(t.Context(), "kept", "kept"); err == nil {
		t.Error("it can be logged in to while it is down")
	}
	if err := pg.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := pg.CanLogin(t.Context(), "kept", "kept"); err != nil {
		t.Error(err)
	}
}
