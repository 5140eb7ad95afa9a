package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// An approver who looks at the first page of the inbox must see an urgent request, however many older ones wait.
func TestNewestRequestIsFirstAmongManyWaitingOnes(t *testing.T) {
	t.Parallel()
	const waiting, page = 140, 100
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"max_pending_per_requester": 2 * waiting}})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	var newestFirst []string
	for n := range waiting {
		newestFirst = append(newestFirst, f.ask(f.alice, map[string]any{"role": "otp", "reason": fmt.Sprint("routine ", n)}))
	}
	newestFirst = append(newestFirst, f.ask(f.alice, map[string]any{"role": "otp", "reason": "urgent"}))
	slices.Reverse(newestFirst)
	for path, person := range map[string]*vaulttest.Person{"inbox": f.bob, "requests": f.alice} {
		first, err := person.List(t.Context(), f.mount.Path+"/"+path)
		must(t, err)
		keys, _ := first.Data["keys"].([]any)
		if len(keys) != page || keys[0] != newestFirst[0] {
			t.Fatalf("the first page of %s has %d requests and begins with %.40v, want %d and %s", path, len(keys), keys, page, newestFirst[0])
		}
		shown := first.Data["key_info"].(map[string]any)[newestFirst[0]].(map[string]any)
		if shown["reason"] != "urgent" || first.Data["next"] != newestFirst[page-1] {
			t.Errorf("%s shows the reason %v first and has the next %v", path, shown["reason"], first.Data["next"])
		}
		f.wantKeys(person, path, nil, newestFirst[:page]...)
		f.wantKeys(person, path, map[string][]string{"after": {newestFirst[page-1]}}, newestFirst[page:]...)
	}
}
