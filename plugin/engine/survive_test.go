package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func (f *fixture) wantApprovals(id string, approvals string) {
	f.t.Helper()
	rules := f.readRequest(f.alice, id)["rules"].([]any)
	if got := fmt.Sprint(rules[0].(map[string]any)["approvals_counted"]); got != approvals {
		f.t.Errorf("request %s counts %s approvals, want %s", id, got, approvals)
	}
}

func TestRequestsAndGrantsSurviveARestart(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 1, Race: true})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := f.addDatabaseRole()
	pending := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(pending, f.bob)
	approved := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(approved, f.bob, f.carol)
	active := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
	f.approve(active, f.bob, f.carol)
	credential := f.claim(f.alice, active)

	for name, restart := range map[string]func(){
		"stopped": cluster.Nodes[0].Stop,
		"killed":  cluster.Nodes[0].Kill,
	} {
		restart()
		must(t, cluster.Nodes[0].Start(t.Context()))
		for id, state := range map[string]string{pending: "pending", approved: "approved", active: "active"} {
			f.wantState(id, state)
		}
		f.wantApprovals(pending, "1")
		f.wantApprovals(approved, "2")
		f.wantLogin(pg, credential, true)
		if t.Failed() {
			t.Fatalf("after the server was %s", name)
		}
	}

	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	f.wantLogin(pg, credential, false)
	f.wantState(active, "ended")
	f.approve(pending, f.carol)
	for _, id := range []string{pending, approved} {
		credential := f.claim(f.alice, id)
		f.wantLogin(pg, credential, true)
		f.mustWriteAs(f.bob, "revoke", map[string]any{"id": id})
		f.wantLogin(pg, credential, false)
	}
}

func TestGrantClaimedThroughAStandbyCanBeEndedAfterAStepDown(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{Nodes: 3})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t) // its own PostgreSQL, because the test counts its users
	f.addDatabaseRoleOn(pg)
	standbys, err := cluster.Standbys(t.Context())
	must(t, err)
	if len(standbys) != 2 {
		t.Fatalf("%d standbys", len(standbys))
	}
	writeAt := func(person *vaulttest.Person, node int, path string, data map[string]any) *api.Secret {
		t.Helper()
		client, err := person.At(standbys[node])
		must(t, err)
		secret, err := client.Logical().WriteWithContext(t.Context(), f.mount.Path+"/"+path, data)
		must(t, err)
		return secret
	}
	id := writeAt(f.alice, 0, "request", map[string]any{"role": "db", "reason": "through a standby", "ttl": "10m"}).Data["id"].(string)
	writeAt(f.bob, 0, "approve", map[string]any{"id": id})
	writeAt(f.carol, 1, "approve", map[string]any{"id": id})
	credential := writeAt(f.alice, 1, "claim/"+id, nil)
	f.wantLogin(pg, credential, true)
	wantLeft := func(want int) {
		t.Helper()
		users, err := pg.Users(t.Context())
		must(t, err)
		tokens, err := f.mount.GrantTokens(t.Context())
		must(t, err)
		leases, err := f.mount.Leases(t.Context())
		must(t, err)
		if len(users) != want || len(tokens) != want || len(leases) > 1 {
			t.Errorf("%d database users, %d grant tokens and %d leases, want %d of each", len(users), len(tokens), len(leases), want)
		}
	}
	wantLeft(1)

	_, err = cluster.StepDown(t.Context())
	must(t, err)
	f.wantState(id, "active")
	f.wantLogin(pg, credential, true)
	f.wantRefused(f.alice, "claim/"+id, nil, "active")
	// A standby that does not know the new active node yet refuses the engine's calls. Then the engine records the end, and
	// the periodic work completes it.
	f.mustWriteAs(f.bob, "revoke", map[string]any{"id": id})
	f.wantState(id, "ended")
	vaulttest.Eventually(t, "the end to be confirmed", func(context.Context) error {
		if end := f.readEnd(id); end["revocation"] != "confirmed" {
			return fmt.Errorf("it is %v", end)
		}
		return nil
	})
	f.wantLogin(pg, credential, false)
	wantLeft(0)
}
