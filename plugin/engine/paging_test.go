package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// An approver who looks at the first page of the inbox must see an urgent request, however many older ones wait.
func TestNewestRequestIsFirstAmongManyWaitingOnes(t *testing.T) {
	t.Parallel()
	const waiting, page = 140, 100
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"max_pending_per_requester": 2 * waiting}})
	f.addOTPRole("one", newPolicy(1))
	var newestFirst []string
	for n := range waiting {
		newestFirst = append(newestFirst, f.ask(f.alice, wire.Ask{Role: "otp", Reason: fmt.Sprint("routine ", n)}))
	}
	newestFirst = append(newestFirst, f.ask(f.alice, wire.Ask{Role: "otp", Reason: "urgent"}))
	slices.Reverse(newestFirst)
	for name, read := range map[string]func(wire.Page) (client.Page, error){
		"inbox": func(page wire.Page) (client.Page, error) { return f.as(f.bob).Inbox(t.Context(), page) },
		"requests": func(page wire.Page) (client.Page, error) {
			return f.as(f.alice).Requests(t.Context(), wire.Query{Page: page})
		},
	} {
		first, err := read(wire.Page{})
		must(t, err)
		rest, err := read(wire.Page{After: first.Next})
		must(t, err)
		if shown := first.Requests[0]; shown.ID != newestFirst[0] || shown.Reason != "urgent" {
			t.Errorf("%s shows %+v first", name, shown)
		}
		wantEqual(t, listIDs(first), newestFirst[:page])
		wantEqual(t, listIDs(rest), newestFirst[page:])
	}
}
