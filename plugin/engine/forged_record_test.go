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

// forge changes what is stored behind the engine's back.
func (w *world) forge(key string, edit func(string) string) {
	w.t.Helper()
	stored, err := w.mount.Storage(w.t.Context())
	must(w.t, err)
	changed := edit(stored[key])
	if stored[key] == "" || changed == stored[key] {
		w.t.Fatalf("the edit changes nothing of %s, which holds %q", key, stored[key])
	}
	_, err = w.Root().Logical().WriteWithContext(w.t.Context(), "sys/raw/logical/"+w.mount.UUID+"/"+key, map[string]any{"value": changed})
	must(w.t, err)
}

// forgets makes the engine read everything anew.
func (w *world) forgets() {
	w.t.Helper()
	must(w.t, w.Nodes[0].KillPlugin())
	vaulttest.Eventually(w.t, "the plugin to be started again", func(ctx context.Context) error {
		if _, err := w.Root().Logical().ReadWithContext(ctx, w.mount.Path+"/roles/none"); err != nil {
			return err
		}
		_, err := w.Nodes[0].PluginPIDs()
		return err
	})
}

// wantFault is an error of the system, not a refusal.
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

// One record that was changed, that is damaged or that another release wrote, gives nothing to anybody, and is in
// nobody's way.
func TestARecordThatIsNotUnderstoodGivesNothingAndBlocksNothing(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"}) // of its own, because its plugin is killed
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	pg := vaulttest.NewPostgres(t)
	w.databaseOn(pg)
	ask := func(people ...*vaulttest.Person) string {
		id := w.ask(w.alice, map[string]any{"role": "db", "ttl": "10m"})
		w.approve(id, people...)
		return id
	}
	forged, later, sound := ask(w.bob, w.carol), ask(w.bob, w.carol), ask(w.bob)
	active := ask(w.bob, w.carol)
	credential := w.claim(w.alice, active)
	w.forge("open/"+forged, func(s string) string { return strings.Replace(s, `"ttl":600000000000`, `"ttl":6000000000000`, 1) })
	w.forge("open/"+later, func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })
	w.forge("open/"+active, func(s string) string { return s[:len(s)/2] })
	w.forgets()

	for id, says := range map[string]string{forged: "digest", later: "version 2", active: "damaged"} {
		for _, path := range []string{"claim", "approve", "revoke", "cancel"} {
			_, err := w.as(w.alice, path, map[string]any{"id": id})
			wantFault(t, err, "unreadable record", says)
		}
		_, err := w.alice.Read(t.Context(), w.mount.Path+"/requests/"+id)
		wantFault(t, err, "unreadable record", says)
	}
	if tokens, err := w.mount.GrantTokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Errorf("%d grant tokens, %v", len(tokens), err)
	}

	// All else goes on, and whoever looks is told.
	w.wantKeys(w.alice, "requests", nil, sound)
	w.wantKeys(w.carol, "inbox", nil, sound)
	w.approve(sound, w.carol)
	other := w.claim(w.alice, sound)
	w.wantLogin(pg, other, true)
	w.does(w.alice, "revoke", map[string]any{"id": sound})
	status, err := w.mount.Read(t.Context(), "status")
	must(t, err)
	var shown []string
	for _, id := range status.Data["unconfirmed_ids"].([]any) {
		shown = append(shown, fmt.Sprint(id))
	}
	if want := []string{forged, later, active}; !slices.Equal(shown, want) {
		t.Errorf("status shows %v, want %v", shown, want)
	}
	wantRefusal(t, w.mount.Delete(t.Context(), "config"), "not known to have ended")

	// The grant behind an unreadable record ends with its lease, which stays behind no more than the credential does.
	must(t, w.Root().Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: credential.LeaseID, Sync: true}))
	w.gone(pg, credential)
	leases, err := w.mount.Leases(t.Context())
	must(t, err)
	if slices.Contains(leases, credential.LeaseID) {
		t.Error("the lease is left")
	}
}

// Half a policy must not pass for a policy, and no policy not for one without rules.
func TestADamagedDefinitionStopsWhatItGuards(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.ask(w.alice, map[string]any{"role": "otp"})
	w.approve(id, w.bob)
	stored, err := w.mount.Storage(t.Context())
	must(t, err)
	for key, edit := range map[string]func(string) string{
		"policy/one": func(s string) string { return strings.Replace(s, `"rules"`, `"rule"`, 1) },
		"group/dba":  func(s string) string { return s[:20] },
		"role/otp":   func(s string) string { return strings.Replace(s, `"body":{`, `"body":{"approved":true,`, 1) },
		"config":     func(string) string { return `{"v":1}` },
	} {
		w.forge(key, edit)
		w.forgets()
		_, err := w.as(w.alice, "claim", map[string]any{"id": id})
		wantFault(t, err, "unreadable record", key)
		if strings.Contains(err.Error(), w.mount.SecretID) {
			t.Errorf("%s: the error shows the engine's secret", key)
		}
		w.wantNoTokens()
		w.forge(key, func(string) string { return stored[key] })
		w.forgets()
	}
	w.claim(w.alice, id)
}

func TestAnEndedRecordThatIsNotUnderstoodIsKeptAndInNobodysWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{Config: map[string]any{"retention": "1s"}})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	over := func() string {
		id := w.ask(w.alice, map[string]any{"role": "otp"})
		w.does(w.alice, "cancel", map[string]any{"id": id})
		return id
	}
	bad, sound := over(), over()
	w.forge(w.storedAt("ended/", bad), func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })

	all := map[string][]string{"state": {"all"}}
	w.wantKeys(w.bob, "requests", all, sound)
	w.wantWarning(w.bob, "requests", all, "1 requests are left out")
	vaulttest.Eventually(t, "the other one to be removed", func(context.Context) error {
		w.set("tidy", nil)
		if w.request(w.alice, sound) != nil {
			return fmt.Errorf("it is still there")
		}
		return nil
	})
	w.storedAt("ended/", bad)
}

func TestWhatIsDamagedWhileTheEngineRunsIsLeftOutOfLists(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{LogLevel: "error"}) // of its own, because its plugin is killed
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	bad, sound := w.ask(w.alice, map[string]any{"role": "otp"}), w.ask(w.alice, map[string]any{"role": "otp"})
	w.forge("open/"+bad, func(s string) string { return strings.Replace(s, `"v":1`, `"v":2`, 1) })
	for person, paths := range map[*vaulttest.Person][]string{w.bob: {"inbox", "requests"}, w.alice: {"requests"}} {
		for _, path := range paths {
			w.wantKeys(person, path, nil, sound)
			w.wantWarning(person, path, nil, "1 requests are left out")
		}
	}

	// Of a group that cannot be read nobody is known to be a member, and that keeps nobody from all else.
	w.set("approver-groups/other", map[string]any{"entity_ids": w.bob.EntityID})
	w.forge("group/other", func(s string) string { return s[:20] })
	w.forgets()
	w.wantKeys(w.bob, "inbox", nil, sound)
	w.wantKeys(w.alice, "requests", nil, sound)
}

// storedAt is the key below a prefix at which a request is stored.
func (w *world) storedAt(prefix, id string) string {
	w.t.Helper()
	stored, err := w.mount.Storage(w.t.Context())
	must(w.t, err)
	for key := range stored {
		if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, id) {
			return key
		}
	}
	w.t.Fatalf("request %s is not stored below %s", id, prefix)
	return ""
}

// wantWarning checks what a list warns of.
func (w *world) wantWarning(person *vaulttest.Person, path string, query map[string][]string, text string) {
	w.t.Helper()
	asked := map[string][]string{"list": {"true"}}
	maps.Copy(asked, query)
	listed, err := person.Client.Logical().ReadWithDataWithContext(w.t.Context(), w.mount.Path+"/"+path, asked)
	must(w.t, err)
	if warnings := strings.Join(listed.Warnings, "; "); !strings.Contains(warnings, text) {
		w.t.Errorf("%s warns %q, want %q", path, warnings, text)
	}
}
