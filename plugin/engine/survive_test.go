package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func (w *world) wantCounted(id string, approvals string) {
	w.t.Helper()
	rules := w.request(w.alice, id)["rules"].([]any)
	if got := fmt.Sprint(rules[0].(map[string]any)["approvals_counted"]); got != approvals {
		w.t.Errorf("request %s counts %s approvals, want %s", id, got, approvals)
	}
}

func TestRequestsAndGrantsSurviveARestart(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, Race: true})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := w.database()
	pending := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
	w.approve(pending, w.bob)
	approved := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
	w.approve(approved, w.bob, w.carol)
	active := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
	w.approve(active, w.bob, w.carol)
	credential := w.claim(w.alice, active)

	for name, restart := range map[string]func(){
		"stopped": cluster.Nodes[0].Stop,
		"killed":  cluster.Nodes[0].Kill,
	} {
		restart()
		must(t, cluster.Nodes[0].Start(t.Context()))
		for id, state := range map[string]string{pending: "pending", approved: "approved", active: "active"} {
			w.wantState(id, state)
		}
		w.wantCounted(pending, "1")
		w.wantCounted(approved, "2")
		w.wantLogin(pg, credential, true)
		if t.Failed() {
			t.Fatalf("after the server was %s", name)
		}
	}

	must(t, w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	w.wantLogin(pg, credential, false)
	w.wantState(active, "ended")
	w.approve(pending, w.carol)
	for _, id := range []string{pending, approved} {
		credential := w.claim(w.alice, id)
		w.wantLogin(pg, credential, true)
		w.does(w.bob, "revoke", map[string]any{"id": id})
		w.wantLogin(pg, credential, false)
	}
}

func TestStandbyGivesOneGrantAndItsEndOutlivesAStepDown(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 3})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t) // of its own, because its users are counted
	w.databaseOn(pg)
	standbys, err := cluster.Standbys(t.Context())
	must(t, err)
	if len(standbys) != 2 {
		t.Fatalf("%d standbys", len(standbys))
	}
	at := func(person *vaulttest.Person, node int, path string, data map[string]any) *api.Secret {
		t.Helper()
		client, err := person.At(standbys[node])
		must(t, err)
		secret, err := client.Logical().WriteWithContext(t.Context(), w.mount.Path+"/"+path, data)
		must(t, err)
		return secret
	}
	id := at(w.alice, 0, "request", map[string]any{"role": "db", "reason": "through a standby", "ttl": "10m"}).Data["id"].(string)
	at(w.bob, 0, "approve", map[string]any{"id": id})
	at(w.carol, 1, "approve", map[string]any{"id": id})
	credential := at(w.alice, 1, "claim", map[string]any{"id": id})
	w.wantLogin(pg, credential, true)
	wantLeft := func(want int) {
		t.Helper()
		users, err := pg.Users(t.Context())
		must(t, err)
		tokens, err := w.mount.GrantTokens(t.Context())
		must(t, err)
		leases, err := w.mount.Leases(t.Context())
		must(t, err)
		if len(users) != want || len(tokens) != want || len(leases) > 1 {
			t.Errorf("%d database users, %d grant tokens and %d leases, want %d of each", len(users), len(tokens), len(leases), want)
		}
	}
	wantLeft(1)

	_, err = cluster.StepDown(t.Context())
	must(t, err)
	w.wantState(id, "active")
	w.wantLogin(pg, credential, true)
	w.refuses(w.alice, "claim", map[string]any{"id": id}, "active")
	// A standby that has not found the new active node yet does not take the engine's calls; then the end is on record and
	// the periodic work completes it.
	w.does(w.bob, "revoke", map[string]any{"id": id})
	w.wantState(id, "ended")
	vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
		if end := w.end(id); end["revocation"] != "confirmed" {
			return fmt.Errorf("it is %v", end)
		}
		return nil
	})
	w.wantLogin(pg, credential, false)
	wantLeft(0)
}
