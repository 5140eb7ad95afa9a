package engine_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestMain(m *testing.M) { vaulttest.Main(m, vaulttest.Options{Race: true}) }

// fixture is one mount and its people: alice makes requests, bob and carol are the approver group "dba", and mallory is
// a stranger.
type fixture struct {
	*vaulttest.Cluster
	t                          testing.TB
	mount                      *vaulttest.Mount
	alice, bob, carol, mallory *vaulttest.Person
	dba                        *vaulttest.Group
}

func newFixture(t testing.TB, o vaulttest.MountOptions) *fixture {
	t.Helper()
	return newFixtureOn(t, vaulttest.Shared(t), o)
}

func newFixtureOn(t testing.TB, cluster *vaulttest.Cluster, o vaulttest.MountOptions) *fixture {
	t.Helper()
	ctx := t.Context()
	mount, err := cluster.Mount(ctx, o)
	must(t, err)
	f := &fixture{Cluster: cluster, t: t, mount: mount}
	for name, person := range map[string]**vaulttest.Person{"alice": &f.alice, "bob": &f.bob, "carol": &f.carol, "mallory": &f.mallory} {
		*person, err = mount.Person(ctx, name)
		must(t, err)
	}
	f.dba, err = cluster.Group(ctx, "dba", f.bob, f.carol)
	must(t, err)
	f.writeAsAdmin("approver-groups/dba", map[string]any{"identity_group_ids": []string{f.dba.ID}})
	return f
}

// writeAsAdmin writes below the mount as its administrator.
func (f *fixture) writeAsAdmin(path string, data map[string]any) *api.Secret {
	f.t.Helper()
	secret, err := f.mount.Write(f.t.Context(), path, data)
	must(f.t, err)
	return secret
}

// wantAdminRefused writes as the administrator. The engine must refuse that with a 400 that contains all the words.
func (f *fixture) wantAdminRefused(path string, data map[string]any, words ...string) {
	f.t.Helper()
	_, err := f.mount.Write(f.t.Context(), path, data)
	wantRefusal(f.t, err, words...)
}

// writeAs writes below the mount as the person.
func (f *fixture) writeAs(person *vaulttest.Person, path string, data map[string]any) (*api.Secret, error) {
	return person.Client.Logical().WriteWithContext(f.t.Context(), f.mount.Path+"/"+path, data)
}

// mustWriteAs writes as the person and fails the test unless it succeeds.
func (f *fixture) mustWriteAs(person *vaulttest.Person, path string, data map[string]any) *api.Secret {
	f.t.Helper()
	secret, err := f.writeAs(person, path, data)
	must(f.t, err)
	return secret
}

// wantRefused writes as the person. The engine must refuse that with a 400 that contains all the words.
func (f *fixture) wantRefused(person *vaulttest.Person, path string, data map[string]any, words ...string) {
	f.t.Helper()
	_, err := f.writeAs(person, path, data)
	wantRefusal(f.t, err, words...)
}

func wantRefusal(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("the engine did not refuse; the refusal should say %q", words)
	}
	var response *api.ResponseError
	if !errors.As(err, &response) || response.StatusCode != http.StatusBadRequest {
		t.Fatalf("the engine answered something else than a 400: %v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the refusal does not say %q: %v", word, err)
		}
	}
}

func (f *fixture) ask(person *vaulttest.Person, data map[string]any) string {
	f.t.Helper()
	if data["reason"] == nil {
		data["reason"] = "INC-1"
	}
	return f.mustWriteAs(person, "request", data).Data["id"].(string)
}

func (f *fixture) approve(id string, people ...*vaulttest.Person) {
	f.t.Helper()
	for _, person := range people {
		f.mustWriteAs(person, "approve", map[string]any{"id": id})
	}
}

func (f *fixture) claim(person *vaulttest.Person, id string) *api.Secret {
	f.t.Helper()
	return f.mustWriteAs(person, "claim/"+id, nil)
}

// readRequest reads a request as the person. It returns nil for one that they may not see.
func (f *fixture) readRequest(person *vaulttest.Person, id string) map[string]any {
	f.t.Helper()
	secret, err := person.Client.Logical().ReadWithContext(f.t.Context(), f.mount.Path+"/requests/"+id)
	must(f.t, err)
	if secret == nil {
		return nil
	}
	return secret.Data
}

func (f *fixture) wantState(id, state string) {
	f.t.Helper()
	if got := f.readRequest(f.alice, id)["state"]; got != state {
		f.t.Errorf("request %s is %v, want %s", id, got, state)
	}
}

func rule(name string, approvals int, groups ...string) map[string]any {
	return map[string]any{"name": name, "approvals": approvals, "approver_groups": groups}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// addDatabaseRole adds the role "db" for PostgreSQL users. Two people of dba must approve.
func (f *fixture) addDatabaseRole() *vaulttest.Postgres {
	f.t.Helper()
	pg := vaulttest.SharedPostgres(f.t)
	f.addDatabaseRoleOn(pg)
	return pg
}

func (f *fixture) addDatabaseRoleOn(pg *vaulttest.Postgres) {
	f.t.Helper()
	upstream, err := f.EnableDatabase(f.t.Context(), "database-"+f.mount.Path, pg, "app", time.Hour, 24*time.Hour)
	must(f.t, err)
	must(f.t, f.mount.AllowGrants(f.t.Context(), upstream.Policy))
	f.writeAsAdmin("policies/two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	f.writeAsAdmin("roles/db", map[string]any{"policy": "two", "path": upstream.Path, "grant_policies": []string{upstream.Policy}})
}

func (f *fixture) wantLogin(pg *vaulttest.Postgres, secret *api.Secret, works bool) {
	f.t.Helper()
	user, password := secret.Data["username"].(string), secret.Data["password"].(string)
	err := pg.CanLogin(f.t.Context(), user, password)
	if works != (err == nil) {
		f.t.Errorf("logging in to PostgreSQL as %s: %v, want success: %v", user, err, works)
	}
}
