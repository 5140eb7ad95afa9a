package approval

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// The scene of these tests: alice asks for role "dba", which policy "prod" guards, at the time start; bob, carol and
// the others may approve. Everybody logs in at the same mount, where a login is a name.

const (
	loginMount = "auth_userpass_1"
	requestID  = "01929d3e-7c4b-7e2a-9f10-3b5c7d9e1f20"
)

var start = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return start.Add(d) }

// person is somebody with the login of his name, and more logins if entities were merged into his.
func person(name string, logins ...string) Person {
	p := Person{EntityID: "entity-" + name, Name: name}
	for _, login := range append([]string{name}, logins...) {
		p.Aliases = append(p.Aliases, Alias{MountAccessor: loginMount, Name: login})
	}
	return p
}

func standing(name string, groups ...string) Standing {
	return Standing{Person: person(name), Exists: true, Groups: groups}
}

// merged is the standing after the entities with the given logins were merged into it.
func merged(s Standing, logins ...string) Standing {
	s.Person = person(s.Name, logins...)
	return s
}

func rosterOf(standings ...Standing) Roster {
	roster := Roster{}
	for _, s := range standings {
		roster[s.EntityID] = s
	}
	return roster
}

func rule(name string, approvals int, groups ...string) Rule {
	return Rule{Name: name, ApproverGroups: groups, Approvals: approvals}
}

func prod(rules ...Rule) Policy {
	return Policy{
		Name:          "prod",
		Rules:         rules,
		DenyThreshold: 1,
		RequestTTL:    8 * time.Hour,
		ClaimTTL:      time.Hour,
		MaxTTL:        8 * time.Hour,
		Revision:      Revision{Version: 1, UpdatedAt: after(-time.Hour), UpdatedBy: "root"},
	}
}

func dba() Role {
	return Role{
		Name:   "dba",
		Policy: "prod",
		GrantSpec: GrantSpec{
			GrantType:     Secret,
			Path:          "database/creds/dba",
			Operation:     Read,
			GrantPolicies: []string{"jit-dba"},
		},
		Revision: Revision{Version: 1, UpdatedAt: after(-time.Hour), UpdatedBy: "root"},
	}
}

func asking(policy Policy) Question {
	return Question{
		Role:      dba(),
		Policy:    policy,
		Requester: standing("alice"),
		Reason:    "restore the orders table",
		TTL:       time.Hour,
		MaxWindow: 24 * time.Hour,
	}
}

// asked is alice's request under the policy.
func asked(t rapid.TB, policy Policy) Request {
	t.Helper()
	r, err := NewRequest(requestID, asking(policy), start)
	if err != nil {
		t.Fatalf("the scene's request is refused: %v", err)
	}
	return r
}

func approve(who Standing) Decide {
	return Decide{Approver: who, Requester: standing("alice"), Verdict: Approve}
}

func deny(who Standing) Decide {
	return Decide{Approver: who, Requester: standing("alice"), Verdict: Deny}
}

// applied is the request after events that must not be refused.
func applied(t rapid.TB, r Request, at time.Time, events ...Event) Request {
	t.Helper()
	for _, event := range events {
		next, err := Apply(r, event, at)
		if err != nil {
			t.Fatalf("%T at %s is refused: %v", event, at.Sub(start), err)
		}
		r = next
	}
	return r
}

// factsOf are the facts for a claim by alice while nothing changed but what the standings say.
func factsOf(r Request, standings ...Standing) ClaimFacts {
	role, policy := dba(), r.Ask.Policy
	return ClaimFacts{
		Requester: standing("alice"),
		Role:      &role,
		Policy:    &policy,
		Roster:    rosterOf(standings...),
		MaxWindow: 24 * time.Hour,
	}
}

func grantUntil(end time.Time) Grant {
	return Grant{ClaimedAt: end.Add(-time.Hour), ExpiresAt: end, Accessor: "accessor-1", LeaseID: "database/creds/dba/1"}
}

// decided is a decision as a record holds it.
func decided(who Standing, verdict DecisionVerdict, at time.Time) Decision {
	return Decision{Approver: who.Person, Groups: who.Groups, Verdict: verdict, At: at}
}

// asText is the whole value as JSON, to compare records by.
func asText(t rapid.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantRefusal fails unless the error's text holds the fragment.
func wantRefusal(t rapid.TB, err error, fragment string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; it must be refused with %q", fragment)
	}
	if !strings.Contains(err.Error(), fragment) {
		t.Fatalf("refused with %q; it must say %q", err, fragment)
	}
}

// wantObstacle fails unless exactly one obstacle holds the fragment; no fragment stands for no obstacles at all.
func wantObstacle(t rapid.TB, c Claimability, fragment string) {
	t.Helper()
	text := strings.Join(c.Obstacles, "\n")
	switch {
	case fragment == "" && text != "":
		t.Fatalf("not claimable: %s", text)
	case fragment != "" && strings.Count(text, fragment) != 1:
		t.Fatalf("obstacles are %q; %q must be there once", text, fragment)
	}
}

func wantState(t rapid.TB, r Request, at time.Time, want State) {
	t.Helper()
	if got := r.State(at); got != want {
		t.Fatalf("state at %s is %q; it must be %q", at.Sub(start), got, want)
	}
}

func wantEqual[T any](t rapid.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is %+v; it must be %+v", what, got, want)
	}
}

// with is a copy of the map with one more entry.
func with[K comparable, V any](m map[K]V, key K, value V) map[K]V {
	more := map[K]V{key: value}
	for k, v := range m {
		if k != key {
			more[k] = v
		}
	}
	return more
}
