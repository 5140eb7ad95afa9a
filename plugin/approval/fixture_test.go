package approval

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// The fixture of these tests: alice asks for role "dba", which policy "prod" guards, at the time start; bob, carol and
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

func disabled(name string, groups ...string) Standing {
	s := standing(name, groups...)
	s.Disabled = true
	return s
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
		Gives: grant.Stored{Spec: grant.Secret{
			Path:          "database/creds/dba",
			Operation:     grant.Read,
			GrantPolicies: []string{"jit-dba"},
		}},
		Revision: Revision{Version: 1, UpdatedAt: after(-time.Hour), UpdatedBy: "root"},
	}
}

// changeSecret changes what a role gives.
func changeSecret(r *Role, change func(*grant.Secret)) {
	secret := r.Gives.Spec.(grant.Secret)
	change(&secret)
	r.Gives.Spec = secret
}

func asking(policy Policy) Question {
	return Question{
		Role:       dba(),
		Policy:     policy,
		Requester:  standing("alice"),
		Reason:     "restore the orders table",
		TTL:        time.Hour,
		MaxWindow:  24 * time.Hour,
		MaxWaiting: 20,
	}
}

// ask is the request that a question gives.
func ask(id string, q Question, now time.Time) (Request, error) {
	record, err := New(id, q, now)
	if err != nil {
		return Request{}, err
	}
	return Replay(record)
}

// newRequest is alice's request under the policy.
func newRequest(t rapid.TB, policy Policy) Request {
	t.Helper()
	return askedWith(t, asking(policy))
}

func askedWith(t rapid.TB, q Question) Request {
	t.Helper()
	r, err := ask(requestID, q, start)
	if err != nil {
		t.Fatalf("the fixture's request is refused: %v", err)
	}
	return r
}

// unleased is alice's question for something that cannot be taken back.
func unleased(policy Policy) Question {
	q := asking(policy)
	changeSecret(&q.Role, func(s *grant.Secret) { s.AllowUnleased = true })
	return q
}

func approve(who Standing) Decide {
	return Decide{Approver: who, Requester: standing("alice"), Verdict: Approve}
}

func deny(who Standing) Decide {
	return Decide{Approver: who, Requester: standing("alice"), Verdict: Deny}
}

var theToken = grant.Token{Accessor: "accessor-1"}

func claim(w World) BeginClaim {
	return BeginClaim{Claimer: standing("alice"), World: w, Token: theToken}
}

func give(w World, until time.Time) GiveGrant {
	return GiveGrant{World: w, Handles: grant.Handles{theToken, grant.Lease{ID: "database/creds/dba/1"}}, Until: until}
}

// do is the request after a command, or the request itself and the refusal.
func do(r Request, c Command, now time.Time) (Request, error) {
	events, err := Do(r, c, now)
	if err != nil {
		return r, err
	}
	return r.With(events...)
}

// mustDo is the request after commands that must not be refused.
func mustDo(t rapid.TB, r Request, at time.Time, commands ...Command) Request {
	t.Helper()
	for _, c := range commands {
		next, err := do(r, c, at)
		if err != nil {
			t.Fatalf("%T at %s is refused: %v", c, at.Sub(start), err)
		}
		r = next
	}
	return r
}

// mustAdd is the request after events that must be possible.
func mustAdd(t rapid.TB, r Request, events ...Event) Request {
	t.Helper()
	r, err := r.With(events...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// worldOf is the world for a claim by alice while nothing changed but what the standings say.
func worldOf(r Request, standings ...Standing) World {
	policy := r.Ask.Policy
	return World{
		Requester: standing("alice"),
		Role:      &RoleNow{Policy: policy.Name, Fingerprint: r.Ask.RoleFingerprint, MayAsk: true},
		Policy:    &policy,
		Roster:    rosterOf(standings...),
		MaxWindow: 24 * time.Hour,
	}
}

// quorate is alice's request with the approvals of bob and carol, which its policy needs, and a world in which nothing changed.
func quorate(t rapid.TB, policy Policy) (Request, World) {
	t.Helper()
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := mustDo(t, newRequest(t, policy), start, approve(bob))
	r = mustDo(t, r, after(time.Minute), approve(carol))
	return r, worldOf(r, bob, carol)
}

// granted is alice's request with a grant from the second minute on, for half an hour.
func granted(t rapid.TB) Request {
	t.Helper()
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(2 * time.Minute)
	return mustDo(t, r, at, claim(world), give(world, at.Add(30*time.Minute)))
}

// decided is a decision as a request holds it.
func decided(who Standing, verdict DecisionVerdict, at time.Time) Decision {
	return Decision{Approver: who.Person, Groups: who.Groups, Verdict: verdict, At: at}
}

// asText is the whole value as JSON, to compare by.
func asText(t rapid.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stored is the record as storage gives it back.
func stored(t rapid.TB, r Request) Record {
	t.Helper()
	var record Record
	if err := json.Unmarshal([]byte(asText(t, r.Record)), &record); err != nil {
		t.Fatal(err)
	}
	return record
}

// replayed is the request as storage gives it back.
func replayed(t rapid.TB, r Request) Request {
	t.Helper()
	back, err := Replay(stored(t, r))
	if err != nil {
		t.Fatal(err)
	}
	return back
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
func wantObstacle(t rapid.TB, v Verdict, fragment string) {
	t.Helper()
	text := strings.Join(v.Obstacles, "\n")
	switch {
	case v.Claimable != (text == ""):
		t.Fatalf("claimable is %t, obstacles are %q", v.Claimable, text)
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
