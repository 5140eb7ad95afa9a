package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

// crowdSize is how many requests are alive at the same time, each of them decided on and claimed from several sides at once.
const crowdSize = 200

func TestCrowdLosesNoDecisionAndGetsNoGrantTwice(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{Config: map[string]any{"max_pending_per_requester": crowdSize}})
	dave, err := w.mount.Person(t.Context(), "dave")
	must(t, err)
	must(t, w.dba.SetMembers(t.Context(), w.bob, w.carol, dave))
	upstream, err := w.EnableSSHOTP(t.Context(), "ssh-"+w.mount.Path, "otp")
	must(t, err)
	must(t, w.mount.AllowGrants(t.Context(), upstream.Policy))
	w.set("policies/two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	const roles = 20
	for n := range roles {
		w.set(fmt.Sprintf("roles/otp%d", n), map[string]any{
			"policy": "two", "path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"},
			"grant_policies": []string{upstream.Policy},
		})
	}
	requesters := []*vaulttest.Person{w.alice, w.mallory}

	// life is one request and which of the calls about it were accepted.
	type life struct {
		id       string
		mu       sync.Mutex
		accepted map[string]int
	}
	lives := make([]*life, crowdSize)
	// try makes a call; anything but success or a refusal is a failure of the engine's.
	try := func(l *life, name string, person *vaulttest.Person, path string) {
		_, err := person.Write(context.WithoutCancel(t.Context()), w.mount.Path+"/"+path, map[string]any{"id": l.id})
		var response *api.ResponseError
		switch {
		case err == nil:
			l.mu.Lock()
			l.accepted[name]++
			l.mu.Unlock()
		case !errors.As(err, &response) || response.StatusCode != http.StatusBadRequest:
			t.Errorf("request %s: %s: %v", l.id, name, err)
		}
	}
	var crowd sync.WaitGroup
	for n := range lives {
		crowd.Go(func() {
			requester := requesters[n%len(requesters)]
			answer, err := requester.Write(t.Context(), w.mount.Path+"/request",
				map[string]any{"role": fmt.Sprintf("otp%d", n%roles), "reason": "crowd", "ttl": "10m"})
			if err != nil {
				t.Error(err)
				return
			}
			l := &life{id: answer.Data["id"].(string), accepted: map[string]int{}}
			lives[n] = l
			var calls sync.WaitGroup
			calls.Go(func() { try(l, "bob", w.bob, "approve") })
			calls.Go(func() { try(l, "carol", w.carol, "approve") })
			switch n % 4 {
			case 1:
				calls.Go(func() { try(l, "denial", dave, "deny") })
			case 2:
				calls.Go(func() { try(l, "dave", dave, "approve") })
			case 3:
				calls.Go(func() { try(l, "cancel", requester, "cancel") })
			}
			for range 2 {
				calls.Go(func() { try(l, "claim", requester, "claim") })
			}
			calls.Wait()
			try(l, "claim", requester, "claim")
		})
	}
	crowd.Wait()

	granted := 0
	for n, l := range lives {
		if l == nil {
			continue
		}
		shown := w.request(requesters[n%len(requesters)], l.id)
		decisions := l.accepted["bob"] + l.accepted["carol"] + l.accepted["dave"] + l.accepted["denial"]
		if recorded := len(shown["decisions"].([]any)); recorded != decisions {
			t.Errorf("request %s has %d decisions on record; %d were accepted", l.id, recorded, decisions)
		}
		approvals := l.accepted["bob"] + l.accepted["carol"] + l.accepted["dave"]
		want := "pending"
		switch {
		case l.accepted["claim"] == 1:
			want = "active"
			granted++
		case l.accepted["claim"] > 1:
			t.Errorf("request %s was granted %d times", l.id, l.accepted["claim"])
		case l.accepted["cancel"] > 0:
			want = "cancelled"
		case l.accepted["denial"] > 0:
			want = "denied"
		case approvals >= 2:
			want = "active" // the last claim came after everything else, so nothing stood in its way
		}
		if shown["state"] != want {
			t.Errorf("request %s is %v after %v, want %s", l.id, shown["state"], l.accepted, want)
		}
	}
	tokens, err := w.mount.GrantTokens(t.Context())
	must(t, err)
	leases, err := upstream.Leases(t.Context())
	must(t, err)
	if granted == 0 || len(tokens) != granted || len(leases) != granted {
		t.Errorf("%d grants, %d grant tokens and %d one-time passwords", granted, len(tokens), len(leases))
	}
}
