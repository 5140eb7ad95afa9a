package engine_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
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
		if _, err := f.Root().Logical().ReadWithContext(ctx, f.mount.Path+"/roles/none"); err != nil {
			return err
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
		id := f.ask(f.alice, map[string]any{"role": "db", "ttl": "10m"})
		f.approve(id, people...)
		return id
	}
	forged, later, sound := ask(f.bob, f.carol), ask(f.bob, f.carol), ask(f.bob)
	active := ask(f.bob, f.carol)
	credential := f.claim(f.alice, active)
	f.forge("open/"+forged, func(s string) string { return strings.Replace(s, `"ttl":600000000000`, `"ttl":6000000000000`, 1) })
	f.forge("open/"+later, func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })
	f.forge("open/"+active, func(s string) string { return s[:len(s)/2] })
	f.restartPlugin()

	for id, says := range map[string]string{forged: "digest", later: "version 2", active: "damaged"} {
		for _, path := range []string{"claim/" + id, "approve", "revoke", "cancel"} {
			_, err := f.writeAs(f.alice, path, map[string]any{"id": id})
			wantFault(t, err, "it cannot be understood", says)
		}
		_, err := f.alice.Read(t.Context(), f.mount.Path+"/requests/"+id)
		wantFault(t, err, "it cannot be understood", says)
	}
	if tokens, err := f.mount.GrantTokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Errorf("%d grant tokens, %v", len(tokens), err)
	}

	// Other requests go on, and the status shows the unreadable ones.
	f.wantKeys(f.alice, "requests", nil, sound)
	f.wantKeys(f.carol, "inbox", nil, sound)
	f.approve(sound, f.carol)
	other := f.claim(f.alice, sound)
	f.wantLogin(pg, other, true)
	f.mustWriteAs(f.alice, "revoke", map[string]any{"id": sound})
	status, err := f.mount.Read(t.Context(), "status")
	must(t, err)
	var shown []string
	for _, id := range status.Data["unconfirmed_ids"].([]any) {
		shown = append(shown, fmt.Sprint(id))
	}
	if want := []string{forged, later, active}; !slices.Equal(shown, want) {
		t.Errorf("status shows %v, want %v", shown, want)
	}
	wantRefusal(t, f.mount.Delete(t.Context(), "config"), "not known to have ended")

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
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.ask(f.alice, map[string]any{"role": "otp"})
	f.approve(id, f.bob)
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
		_, err := f.writeAs(f.alice, "claim/"+id, nil)
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
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	makeCancelled := func() string {
		id := f.ask(f.alice, map[string]any{"role": "otp"})
		f.mustWriteAs(f.alice, "cancel", map[string]any{"id": id})
		return id
	}
	bad, sound := makeCancelled(), makeCancelled()
	f.forge(f.findStored("ended/", bad), func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })

	all := map[string][]string{"state": {"all"}}
	f.wantKeys(f.bob, "requests", all, sound)
	f.wantWarning(f.bob, "requests", all, "1 requests are left out")
	vaulttest.Eventually(t, "the other one to be removed", func(context.Context) error {
		f.writeAsAdmin("tidy", nil)
		if f.readRequest(f.alice, sound) != nil {
			return fmt.Errorf("it is still there")
		}
		return nil
	})
	f.findStored("ended/", bad)
}

func TestListsLeaveOutRecordsDamagedWhileTheEngineRuns(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"}) // its own cluster, because the test kills the plugin
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	bad, sound := f.ask(f.alice, map[string]any{"role": "otp"}), f.ask(f.alice, map[string]any{"role": "otp"})
	f.forge("open/"+bad, func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })
	for person, paths := range map[*vaulttest.Person][]string{f.bob: {"inbox", "requests"}, f.alice: {"requests"}} {
		for _, path := range paths {
			f.wantKeys(person, path, nil, sound)
			f.wantWarning(person, path, nil, "1 requests are left out")
		}
	}

	// Nobody counts as a member of an unreadable group, and its members can still use everything else.
	f.writeAsAdmin("approver-groups/other", map[string]any{"entity_ids": f.bob.EntityID})
	f.forge("group/other", func(s string) string { return s[:20] })
	f.restartPlugin()
	f.wantKeys(f.bob, "inbox", nil, sound)
	f.wantKeys(f.alice, "requests", nil, sound)
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

// wantWarning checks that a list warns with the text.
func (f *fixture) wantWarning(person *vaulttest.Person, path string, query map[string][]string, text string) {
	f.t.Helper()
	values := map[string][]string{"list": {"true"}}
	maps.Copy(values, query)
	listed, err := person.Client.Logical().ReadWithDataWithContext(f.t.Context(), f.mount.Path+"/"+path, values)
	must(f.t, err)
	if warnings := strings.Join(listed.Warnings, "; "); !strings.Contains(warnings, text) {
		f.t.Errorf("%s warns %q, want %q", path, warnings, text)
	}
}
