package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Alice asks for a role, bob approves, and alice gets a one-time password that ends when she gives it back.
func Example() {
	ctx := context.Background()
	alice, bob := actAs(theFixture.alice), actAs(theFixture.bob)

	request, err := alice.Ask(ctx, wire.Ask{Role: "otp", Reason: "INC-42", TTL: wire.ToSeconds(15 * time.Minute)})
	must(err)
	fmt.Println(request.State)
	_, err = bob.Approve(ctx, request.ID, "by the book")
	must(err)

	request, err = alice.Wait(ctx, request.ID, nil)
	must(err)
	fmt.Println(request.State, request.Claimable, request.Decisions[0].Comment)
	credential, err := alice.Claim(ctx, request.ID)
	must(err)
	fmt.Println(credential.Data["username"], credential.LeaseDuration)

	revoked, warnings, err := alice.Revoke(ctx, request.ID)
	must(err)
	fmt.Println(revoked.State, revoked.Grant.Revocation, len(warnings))
	// Output:
	// pending
	// approved true by the book
	// ubuntu 15m0s
	// ended confirmed 0
}

// An administrator declares who approves and what can be asked for. What is not set has the defaults.
func Example_definitions() {
	ctx := context.Background()
	admin, err := theFixture.mount.Operated()
	must(err)

	policy := wire.NewPolicy()
	policy.Rules = []wire.Rule{{Name: "dba", ApproverGroups: []string{"dba"}, Approvals: 1}}
	_, err = admin.Policies().Write(ctx, "one-hour", policy)
	must(err)
	_, err = admin.Policies().Change(ctx, "one-hour", map[string]any{"max_ttl": "1h"})
	must(err)

	policy, err = admin.Policies().Read(ctx, "one-hour")
	must(err)
	fmt.Println(policy.MaxTTL, policy.RequestTTL, policy.Version)
	check, err := admin.CheckPolicy(ctx, "one-hour")
	must(err)
	fmt.Println(check.Satisfiable)
	must(admin.Policies().Delete(ctx, "one-hour"))
	_, err = admin.Policies().Read(ctx, "one-hour")
	fmt.Println(errors.Is(err, client.ErrAbsent))
	// Output:
	// 1h 8h 2
	// true
	// true
}

// What the engine refuses says the field at fault, what is wrong with it and what to do.
func Example_refusal() {
	admin, err := theFixture.mount.Operated()
	must(err)
	policy := wire.NewPolicy()
	policy.Rules = []wire.Rule{{Name: "dba", ApproverGroups: []string{"dba"}, Approvals: 0}}
	_, err = admin.Policies().Write(context.Background(), "none", policy)
	if refused := refusal.Of(err); refused != nil {
		fmt.Println(refused.Field)
	}
	// Output: rules[0].approvals
}

// A wait ends with its context, and tells what it saw last.
func ExampleClient_Wait() {
	ctx := context.Background()
	alice := actAs(theFixture.alice)
	request, err := alice.Ask(ctx, wire.Ask{Role: "otp", Reason: "INC-42"})
	must(err)

	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	last, err := alice.Wait(short, request.ID, func(seen wire.Request, err error) {
		if err == nil && len(seen.Rules) > 0 && seen.Rules[0].ApprovalsCounted < seen.Rules[0].ApprovalsRequired {
			cancel() // somebody who has seen enough
		}
	})
	fmt.Println(last.State, err)
	_, err = alice.Cancel(ctx, request.ID)
	must(err)
	// Output: pending context canceled
}

// A program whose token may end logs in again.
func ExampleClient_relogin() {
	ctx := context.Background()
	alice := theFixture.alice
	must(alice.Login(ctx))
	jit := actAs(alice)
	jit.Relogin = func(ctx context.Context, _ string) (string, error) {
		fmt.Println("logging in again")
		err := alice.Login(ctx)
		return alice.Client.Token(), err
	}
	must(alice.Client.Auth().Token().RevokeSelfWithContext(ctx, ""))
	page, err := jit.Inbox(ctx, wire.Page{})
	must(err)
	fmt.Println(len(page.Requests))
	// Output:
	// logging in again
	// 0
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
