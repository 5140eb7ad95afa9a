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

// crowdSize is how many requests are open at the same time. Several people decide on and claim each of them at once.
const crowdSize = 200

func TestConcurrentCallsLoseNoDecisionAndGrantOnce(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{Config: map[string]any{"max_pending_per_requester": crowdSize}})
	dave, err := f.mount.Person(t.Context(), "dave")
	must(t, err)
	must(t, f.dba.SetMembers(t.Context(), f.bob, f.carol, dave))
	upstream, err := f.EnableSSHOTP(t.Context(), "ssh-"+f.mount.Path, "otp")
	must(t, err)
	must(t, f.mount.AllowGrants(t.Context(), upstream.Policy))
	f.writeAsAdmin("policies/two", map[string]any{"rules": []any{rule("dba", 2, "dba")}})
	const roles = 20
	for n := range roles {
		f.writeAsAdmin(fmt.Sprintf("roles/otp%d", n), map[string]any{
			"policy": "two", "path": upstream.Path, "operation": "write", "data": map[string]any{"ip": "127.0.0.1"},
			"grant_policies": []string{upstream.Policy},
		})
	}
	requesters := []*vaulttest.Person{f.alice, f.mallory}

	// tracked is one request and the number of accepted calls about it, by kind.
	type tracked struct {
		id       string
		mu       sync.Mutex
		accepted map[string]int
	}
	requests := make([]*tracked, crowdSize)
	// try makes a call. The engine must accept or refuse it; the test fails on any other error.
	try := func(l *tracked, name string, person *vaulttest.Person, path string) {
		_, err := person.Write(context.WithoutCancel(t.Context()), f.mount.Path+"/"+path, map[string]any{"id": l.id})
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
	for n := range requests {
		crowd.Go(func() {
			requester := requesters[n%len(requesters)]
			answer, err := requester.Write(t.Context(), f.mount.Path+"/request",
				map[string]any{"role": fmt.Sprintf("otp%d", n%roles), "reason": "crowd", "ttl": "10m"})
			if err != nil {
				t.Error(err)
				return
			}
			l := &tracked{id: answer.Data["id"].(string), accepted: map[string]int{}}
			requests[n] = l
			var calls sync.WaitGroup
			calls.Go(func() { try(l, "bob", f.bob, "approve") })
			calls.Go(func() { try(l, "carol", f.carol, "approve") })
			switch n % 4 {
			case 1:
				calls.Go(func() { try(l, "denial", dave, "deny") })
			case 2:
				calls.Go(func() { try(l, "dave", dave, "approve") })
			case 3:
				calls.Go(func() { try(l, "cancel", requester, "cancel") })
			}
			for range 2 {
				calls.Go(func() { try(l, "claim", requester, "claim/"+l.id) })
			}
			calls.Wait()
			try(l, "claim", requester, "claim/"+l.id)
		})
	}
	crowd.Wait()

	granted := 0
	for n, l := range requests {
		if l == nil {
			continue
		}
		shown := f.readRequest(requesters[n%len(requesters)], l.id)
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
			want = "active" // the last claim came after all other calls, so it must have succeeded
		}
		if shown["state"] != want {
			t.Errorf("request %s is %v after %v, want %s", l.id, shown["state"], l.accepted, want)
		}
	}
	tokens, err := f.mount.GrantTokens(t.Context())
	must(t, err)
	leases, err := upstream.Leases(t.Context())
	must(t, err)
	if granted == 0 || len(tokens) != granted || len(leases) != granted {
		t.Errorf("%d grants, %d grant tokens and %d one-time passwords", granted, len(tokens), len(leases))
	}
}
