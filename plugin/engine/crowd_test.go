package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
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
	f.must(f.operated().Policies().Write(t.Context(), "two", newPolicy(2)))
	const roles = 20
	for n := range roles {
		f.must(f.operated().Roles().Write(t.Context(), fmt.Sprint("otp", n), newOTPRole("two", upstream)))
	}
	requesters := []*client.Client{f.as(f.alice), f.as(f.mallory)}
	asBob, asCarol, asDave := f.as(f.bob), f.as(f.carol), f.as(dave)

	// tracked is one request and the number of accepted calls about it, by kind.
	type tracked struct {
		id       string
		mu       sync.Mutex
		accepted map[string]int
	}
	requests := make([]*tracked, crowdSize)
	// note takes the error of a call. The engine must accept or refuse the call; the test fails on any other error.
	note := func(l *tracked, name string, err error) {
		switch {
		case err == nil:
			l.mu.Lock()
			l.accepted[name]++
			l.mu.Unlock()
		case !isRefusal(err):
			t.Errorf("request %s: %s: %v", l.id, name, err)
		}
	}
	var crowd sync.WaitGroup
	ctx := context.WithoutCancel(t.Context())
	for n := range requests {
		crowd.Go(func() {
			requester := requesters[n%len(requesters)]
			request, err := requester.Ask(t.Context(), wire.Ask{Role: fmt.Sprint("otp", n%roles), Reason: "crowd", TTL: 10 * minute})
			if err != nil {
				t.Error(err)
				return
			}
			l := &tracked{id: request.ID, accepted: map[string]int{}}
			requests[n] = l
			var calls sync.WaitGroup
			calls.Go(func() { note(l, "bob", errorOf(asBob.Approve(ctx, l.id, ""))) })
			calls.Go(func() { note(l, "carol", errorOf(asCarol.Approve(ctx, l.id, ""))) })
			switch n % 4 {
			case 1:
				calls.Go(func() { note(l, "denial", errorOf(asDave.Deny(ctx, l.id, ""))) })
			case 2:
				calls.Go(func() { note(l, "dave", errorOf(asDave.Approve(ctx, l.id, ""))) })
			case 3:
				calls.Go(func() { note(l, "cancel", errorOf(requester.Cancel(ctx, l.id))) })
			}
			for range 2 {
				calls.Go(func() { note(l, "claim", errorOf(requester.Claim(ctx, l.id))) })
			}
			calls.Wait()
			note(l, "claim", errorOf(requester.Claim(ctx, l.id)))
		})
	}
	crowd.Wait()

	granted := 0
	for n, l := range requests {
		if l == nil {
			continue
		}
		shown, err := requesters[n%len(requesters)].Request(t.Context(), l.id)
		must(t, err)
		decisions := l.accepted["bob"] + l.accepted["carol"] + l.accepted["dave"] + l.accepted["denial"]
		if recorded := len(shown.Decisions); recorded != decisions {
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
		if shown.State != want {
			t.Errorf("request %s is %v after %v, want %s", l.id, shown.State, l.accepted, want)
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
