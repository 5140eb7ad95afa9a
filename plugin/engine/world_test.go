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

// world is one mount with people around it: alice asks, bob and carol are the approver group dba, and mallory is
// nobody in particular.
type world struct {
	*vaulttest.Cluster
	t                          testing.TB
	mount                      *vaulttest.Mount
	alice, bob, carol, mallory *vaulttest.Person
	dba                        *vaulttest.Group
}

func newWorld(t testing.TB, o vaulttest.MountOptions) *world {
	t.Helper()
	return worldOn(t, vaulttest.Shared(t), o)
}

func worldOn(t testing.TB, cluster *vaulttest.Cluster, o vaulttest.MountOptions) *world {
	t.Helper()
	ctx := t.Context()
	mount, err := cluster.Mount(ctx, o)
	must(t, err)
	w := &world{Cluster: cluster, t: t, mount: mount}
	for name, person := range map[string]**vaulttest.Person{"alice": &w.alice, "bob": &w.bob, "carol": &w.carol, "mallory": &w.mallory} {
		*person, err = mount.Person(ctx, name)
		must(t, err)
	}
	w.dba, err = cluster.Group(ctx, "dba", w.bob, w.carol)
	must(t, err)
	w.set("approver-groups/dba", map[string]any{"identity_group_ids": []string{w.dba.ID}})
	return w
}

// set writes below the mount as its administrator.
func (w *world) set(path string, data map[string]any) *api.Secret {
	w.t.Helper()
	secret, err := w.mount.Write(w.t.Context(), path, data)
	must(w.t, err)
	return secret
}

// refusesSet is a write by the administrator that has to be refused with a 400 that says all of the given words.
func (w *world) refusesSet(path string, data map[string]any, words ...string) {
	w.t.Helper()
	_, err := w.mount.Write(w.t.Context(), path, data)
	wantRefusal(w.t, err, words...)
}

func (w *world) as(person *vaulttest.Person, path string, data map[string]any) (*api.Secret, error) {
	return person.Client.Logical().WriteWithContext(w.t.Context(), w.mount.Path+"/"+path, data)
}

// does is a write of somebody's that has to succeed.
func (w *world) does(person *vaulttest.Person, path string, data map[string]any) *api.Secret {
	w.t.Helper()
	secret, err := w.as(person, path, data)
	must(w.t, err)
	return secret
}

// refuses is a write of somebody's that has to be refused with a 400 that says all of the given words.
func (w *world) refuses(person *vaulttest.Person, path string, data map[string]any, words ...string) {
	w.t.Helper()
	_, err := w.as(person, path, data)
	wantRefusal(w.t, err, words...)
}

func wantRefusal(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it was not refused; the refusal should say %q", words)
	}
	var response *api.ResponseError
	if !errors.As(err, &response) || response.StatusCode != http.StatusBadRequest {
		t.Fatalf("it failed with something else than a 400: %v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the refusal does not say %q: %v", word, err)
		}
	}
}

func (w *world) ask(person *vaulttest.Person, data map[string]any) string {
	w.t.Helper()
	if data["reason"] == nil {
		data["reason"] = "INC-1"
	}
	return w.does(person, "request", data).Data["id"].(string)
}

func (w *world) approve(id string, people ...*vaulttest.Person) {
	w.t.Helper()
	for _, person := range people {
		w.does(person, "approve", map[string]any{"id": id})
	}
}

func (w *world) claim(person *vaulttest.Person, id string) *api.Secret {
	w.t.Helper()
	return w.does(person, "claim", map[string]any{"id": id})
}

// request is what somebody reads of a request; nil for one they may not see.
func (w *world) request(person *vaulttest.Person, id string) map[string]any {
	w.t.Helper()
	secret, err := person.Client.Logical().ReadWithContext(w.t.Context(), w.mount.Path+"/requests/"+id)
	must(w.t, err)
	if secret == nil {
		return nil
	}
	return secret.Data
}

func (w *world) wantState(id, state string) {
	w.t.Helper()
	if got := w.request(w.alice, id)["state"]; got != state {
		w.t.Errorf("request %s is %v, want %s", id, got, state)
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

// database gives the world a role "db" for PostgreSQL users, guarded by a quorum of two.
func (w *world) database() *vaulttest.Postgres {
	w.t.Helper()
	pg := vaulttest.SharedPostgres(w.t)
	w.databaseOn(pg)
	return pg
}

func (w *world) databaseOn(pg *vaulttest.Postgres) {
	w.t.Helper()
	upstream, err := w.EnableDatabase(w.t.Context(), "database-"+w.mount.Path, pg, "app", time.Hour, 24*time.Hour)
	must(w.t, err)
	must(w.t, w.mount.AllowGrants(w.t.Context(), upstream.Policy))
	w.set("policies/two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	w.set("roles/db", map[string]any{"policy": "two", "path": upstream.Path, "grant_policies": []string{upstream.Policy}})
}

func (w *world) wantLogin(pg *vaulttest.Postgres, secret *api.Secret, works bool) {
	w.t.Helper()
	user, password := secret.Data["username"].(string), secret.Data["password"].(string)
	err := pg.CanLogin(w.t.Context(), user, password)
	if works != (err == nil) {
		w.t.Errorf("logging in to PostgreSQL as %s: %v, but it should work: %v", user, err, works)
	}
}
