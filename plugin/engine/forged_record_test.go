package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// forge edits a stored entry without the engine's knowledge.
func (f *fixture) forge(key string, edit func(string) string) {
	f.t.Helper()
	stored, err := f.mount.Storage(f.t.Context())
	must(f.t, err)
	changed := edit(stored[key])
	if stored[key] == "" || changed == stored[key] {
		f.t.Fatalf("the edit changes nothing of %s, which holds %q", key, stored[key])
	}
	_, err = f.Root().Logical().WriteWithContext(f.t.Context(), "sys/raw/logical/"+f.mount.UUID+"/"+key, map[string]any{"value": changed})
	must(f.t, err)
}

// restartPlugin kills the plugin, so that the engine reads its storage again.
func (f *fixture) restartPlugin() {
	f.t.Helper()
	must(f.t, f.Nodes[0].KillPlugin())
	vaulttest.Eventually(f.t, "the plugin to be started again", func(ctx context.Context) error {
		if _, err := f.operated().Roles().Read(ctx, "none"); !errors.Is(err, client.ErrAbsent) {
			return fmt.Errorf("reading an absent role: %w", err)
		}
		_, err := f.Nodes[0].PluginPIDs()
		return err
	})
}

// wantFault checks that the error is a fault of the system and not a refusal.
func wantFault(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil || isRefusal(err) {
		t.Fatalf("got %v, want an error of the system that says %q", err, words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

// A record may have been forged, damaged or written by another release. It must not give anybody anything, and other
// requests must go on.
func TestUnreadableRecordGivesNothingAndBlocksNoOtherRequest(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"}) // its own cluster, because the test kills the plugin
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	f.addDatabaseRoleOn(pg)
	ask := func(people ...*vaulttest.Person) string {
		return f.askApproved(wire.Ask{Role: "db", TTL: 10 * minute}, people...)
	}
	forged, later, sound := ask(f.bob, f.carol), ask(f.bob, f.carol), ask(f.bob)
	active := ask(f.bob, f.carol)
	credential := f.claim(f.alice, active)
	f.forge("open/"+forged, func(s string) string { return strings.Replace(s, `"ttl":600000000000`, `"ttl":6000000000000`, 1) })
	f.forge("open/"+later, func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })
	f.forge("open/"+active, func(s string) string { return s[:len(s)/2] })
	f.restartPlugin()

	for id, says := range map[string]string{forged: "digest", later: "version 2", active: "damaged"} {
		alice := f.as(f.alice)
		_, _, revoking := alice.Revoke(t.Context(), id)
		for _, err := range []error{
			errorOf(alice.Claim(t.Context(), id)), errorOf(alice.Approve(t.Context(), id, "")), revoking,
			errorOf(alice.Cancel(t.Context(), id)), errorOf(alice.Request(t.Context(), id)),
		} {
			wantFault(t, err, "it cannot be understood", says)
		}
	}
	if tokens, err := f.mount.GrantTokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Errorf("%d grant tokens, %v", len(tokens), err)
	}

	// Other requests go on, and the status shows the unreadable ones.
	f.wantRequests(f.alice, wire.Query{}, sound)
	f.wantInbox(f.carol, wire.Page{}, sound)
	f.approve(sound, f.carol)
	other := f.claim(f.alice, sound)
	f.wantLogin(pg, other, true)
	f.revoke(f.alice, sound)
	wantEqual(t, f.readStatus().UnconfirmedIDs, []string{forged, later, active})
	wantRefusal(t, f.operated().DeleteConfig(t.Context()), "not known to have ended")

	// Revoking the lease ends a grant whose record cannot be understood, and Vault then forgets the lease.
	must(t, f.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	f.waitUntilGone(pg, credential)
	leases, err := f.mount.Leases(t.Context())
	must(t, err)
	if slices.Contains(leases, credential.LeaseID) {
		t.Error("Vault still has the lease")
	}
}

// The engine must not take a damaged policy for a valid one, nor a missing policy for one without rules.
func TestDamagedDefinitionStopsClaims(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp"}, f.bob)
	stored, err := f.mount.Storage(t.Context())
	must(t, err)
	for key, edit := range map[string]func(string) string{
		"policy/one": func(s string) string { return strings.Replace(s, `"rules"`, `"rule"`, 1) },
		"group/dba":  func(s string) string { return s[:20] },
		"role/otp":   func(s string) string { return strings.Replace(s, `"body":{`, `"body":{"approved":true,`, 1) },
		"config":     func(string) string { return `{"v":1}` },
	} {
		f.forge(key, edit)
		f.restartPlugin()
		_, err := f.as(f.alice).Claim(t.Context(), id)
		wantFault(t, err, "it cannot be understood", key)
		if strings.Contains(err.Error(), f.mount.SecretID) {
			t.Errorf("%s: the error shows the engine's secret", key)
		}
		f.wantNoGrantTokens()
		f.forge(key, func(string) string { return stored[key] })
		f.restartPlugin()
	}
	f.claim(f.alice, id)
}

func TestUnreadableEndedRecordIsKeptAndBlocksNoOtherRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"retention": "1s"}})
	f.addOTPRole("one", newPolicy(1))
	makeCancelled := func() string {
		id := f.ask(f.alice, wire.Ask{Role: "otp"})
		f.must(f.as(f.alice).Cancel(t.Context(), id))
		return id
	}
	bad, sound := makeCancelled(), makeCancelled()
	f.forge(f.findStored("ended/", bad), func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })

	all := wire.Query{State: []string{"all"}}
	wantWarning(t, f.wantRequests(f.bob, all, sound).Warnings, "1 requests are left out")
	vaulttest.Eventually(t, "the other one to be removed", func(context.Context) error {
		f.must(f.operated().Tidy(t.Context()))
		if f.sees(f.alice, sound) {
			return fmt.Errorf("it is still there")
		}
		return nil
	})
	f.findStored("ended/", bad)
}

func TestListsLeaveOutRecordsDamagedWhileTheEngineRuns(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"}) // its own cluster, because the test kills the plugin
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	bad, sound := f.ask(f.alice, wire.Ask{Role: "otp"}), f.ask(f.alice, wire.Ask{Role: "otp"})
	f.forge("open/"+bad, func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })
	for _, page := range []client.Page{
		f.wantInbox(f.bob, wire.Page{}, sound), f.wantRequests(f.bob, wire.Query{}, sound), f.wantRequests(f.alice, wire.Query{}, sound),
	} {
		wantWarning(t, page.Warnings, "1 requests are left out")
	}

	// Nobody counts as a member of an unreadable group, and its members can still use everything else.
	f.must(f.operated().ApproverGroups().Change(t.Context(), "other", map[string]any{"entity_ids": f.bob.EntityID}))
	f.forge("group/other", func(s string) string { return s[:20] })
	f.restartPlugin()
	f.wantInbox(f.bob, wire.Page{}, sound)
	f.wantRequests(f.alice, wire.Query{}, sound)
}

// findStored returns the key below the prefix at which the request is stored.
func (f *fixture) findStored(prefix, id string) string {
	f.t.Helper()
	stored, err := f.mount.Storage(f.t.Context())
	must(f.t, err)
	for key := range stored {
		if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, id) {
			return key
		}
	}
	f.t.Fatalf("request %s is not stored below %s", id, prefix)
	return ""
}
