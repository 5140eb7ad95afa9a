package approval

import (
	"testing"
	"time"
)

func TestSameEntityOrSharedLoginIsOnePerson(t *testing.T) {
	elsewhere := Person{EntityID: "x", Aliases: []Alias{{MountAccessor: "auth_ldap_2", Name: "bob"}}}
	for _, c := range []struct {
		name string
		a, b Person
		want bool
	}{
		{"himself", person("bob"), person("bob"), true},
		{"himself after his logins changed", person("bob"), Person{EntityID: "entity-bob"}, true},
		{"another", person("bob"), person("carol"), false},
		{"a login of his among others", person("carol", "bob"), person("bob"), true},
		{"a common third login", person("carol", "dave"), person("bob", "dave"), true},
		{"the same name at another mount", person("bob"), elsewhere, false},
		{"the same mount under another name", Person{EntityID: "x", Aliases: []Alias{{MountAccessor: loginMount, Name: "x"}}}, person("bob"), false},
		{"no logins at all", Person{EntityID: "x"}, Person{EntityID: "y"}, false},
	} {
		if got := isSamePerson(c.a, c.b); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
		if got := isSamePerson(c.b, c.a); got != c.want {
			t.Errorf("%s, the other way round: %t", c.name, got)
		}
	}
}

func TestZeroStandingCanDoNothing(t *testing.T) {
	for name, s := range map[string]Standing{
		"the zero value":             {},
		"one that does not exist":    {Person: person("bob"), Groups: []string{"dbas"}},
		"one that exists without id": {Person: Person{Name: "bob"}, Exists: true, Groups: []string{"dbas"}},
	} {
		if s.problem() == "" {
			t.Errorf("%s can do something", name)
		}
	}
}

// What follows is one ask of alice, two approvals by bob and carol, and a change in who is who before the claim.
func TestPeopleWhoTurnOutToBeOneCountAsOneAtTheClaim(t *testing.T) {
	two := prod(rule("dba", 2, "dbas"))
	bob, carol, erin := standing("bob", "dbas"), standing("carol", "dbas"), standing("erin", "dbas")
	alice := standing("alice")
	for _, c := range []struct {
		name      string
		requester Standing
		roster    []Standing
		more      []Standing // who else approved
		obstacle  string
	}{
		{"nothing changed", alice, []Standing{bob, carol}, nil, ""},
		{"an approver merged into the requester", merged(alice, "bob"), []Standing{carol}, nil,
			"the approval of bob does not count: the approver no longer exists in Vault"},
		{"an approver merged into the requester, who is an approver too", merged(alice, "bob"), []Standing{merged(standing("alice", "dbas"), "bob"), carol}, nil,
			`rule "dba" has 1 of 2 approvals`},
		{"the requester merged into an approver", Standing{}, []Standing{merged(bob, "alice"), carol}, nil,
			"the requester no longer exists in Vault"},
		{"the requester merged into an approver, who still does not count", Standing{}, []Standing{merged(bob, "alice"), carol}, nil,
			"the approval of bob does not count: the approver is the requester"},
		{"one approver merged into the other", alice, []Standing{merged(carol, "bob")}, nil,
			`rule "dba" has 1 of 2 approvals`},
		{"the other approver merged into the one", alice, []Standing{merged(bob, "carol")}, nil,
			`rule "dba" has 0 of 2 approvals`},
		{"a login of one approver moved to the other", alice, []Standing{merged(bob, "carol"), carol}, nil,
			"the approval of bob does not count: replaced by a later decision of the same person"},
		{"a login of an approver moved to the requester", merged(alice, "bob"), []Standing{bob, carol}, nil,
			"the approval of bob does not count: the approver is the requester"},
		{"the requester's login moved to an approver", alice, []Standing{bob, merged(carol, "alice")}, nil,
			"the approval of carol does not count: the approver is the requester"},
		{"both are a third, who approved as well", alice, []Standing{bob, carol, merged(erin, "bob", "carol")}, []Standing{erin},
			`rule "dba" has 1 of 2 approvals`},
		{"both share a login with a third, who does not exist any more", alice, []Standing{merged(bob, "x"), merged(carol, "x")}, nil,
			`rule "dba" has 1 of 2 approvals`},
		{"the requester and an approver meet in a third", merged(alice, "x"), []Standing{merged(bob, "y"), carol, merged(erin, "x", "y")}, []Standing{erin},
			"the approval of bob does not count: replaced by a later decision of the same person"},
		{"a third is enough besides two who are one", alice, []Standing{merged(carol, "bob"), erin}, []Standing{erin}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustDo(t, newRequest(t, two), start, approve(bob))
			r = mustDo(t, r, after(time.Minute), approve(carol))
			for _, who := range c.more {
				r = mustDo(t, r, after(2*time.Minute), approve(who))
			}
			world := worldOf(r, c.roster...)
			world.Requester = c.requester
			now := after(3 * time.Minute)
			wantObstacle(t, Judge(r, world, now), c.obstacle)
			_, err := do(r, claim(world), now)
			if (err == nil) != (c.obstacle == "") {
				t.Fatalf("the claim itself says: %v", err)
			}
		})
	}
}

func TestPeopleWhoAreOneCannotDecideAsTwo(t *testing.T) {
	two := prod(rule("dba", 2, "dbas"))
	alice, bob, carol := standing("alice"), standing("bob", "dbas"), standing("carol", "dbas")

	t.Run("the requester under a merged entity", func(t *testing.T) {
		_, err := do(newRequest(t, two), approve(merged(bob, "alice")), start)
		wantRefusal(t, err, "you made this request, and its policy does not count its requester")
		_, err = do(newRequest(t, two), deny(merged(bob, "alice")), start)
		wantRefusal(t, err, "you made this request")
	})
	t.Run("the requester under another entity after his own is gone", func(t *testing.T) {
		event := deny(merged(bob, "alice"))
		event.Requester = Standing{}
		_, err := do(newRequest(t, two), event, start)
		wantRefusal(t, err, "you made this request")
	})
	t.Run("an approver whose login is the requester's now", func(t *testing.T) {
		event := approve(bob)
		event.Requester = merged(alice, "bob")
		_, err := do(newRequest(t, two), event, start)
		wantRefusal(t, err, "you made this request")
	})
	t.Run("an approver whose entity was merged away", func(t *testing.T) {
		gone := bob
		gone.Exists = false
		for _, event := range []Command{approve(gone), deny(gone), Withdraw{gone}} {
			_, err := do(mustDo(t, newRequest(t, two), start, approve(bob)), event, start)
			wantRefusal(t, err, "your entity no longer exists in Vault")
		}
	})
	t.Run("on behalf of a requester who is gone or disabled", func(t *testing.T) {
		for text, requester := range map[string]Standing{"the requester no longer exists in Vault": {}, "the requester is disabled in Vault": disabled("alice")} {
			event := approve(bob)
			event.Requester = requester
			_, err := do(newRequest(t, two), event, start)
			wantRefusal(t, err, text)
			// It can still be stopped.
			event.Verdict = Deny
			wantState(t, mustDo(t, newRequest(t, two), start, event), start, StateDenied)
		}
	})
	t.Run("a second entity of an approver has the same one word", func(t *testing.T) {
		r := mustDo(t, newRequest(t, two), start, approve(bob))
		r = mustDo(t, r, after(time.Minute), approve(merged(carol, "bob")))
		wantState(t, r, after(time.Minute), StatePending)
		wantEqual(t, "number of decisions", len(r.Decisions), 1)
		wantEqual(t, "whose", r.Decisions[0].Approver.Name, "carol")
	})
	t.Run("who withdraws under a second entity has no word left", func(t *testing.T) {
		r := mustDo(t, newRequest(t, two), start, approve(bob))
		r = mustDo(t, r, start, Withdraw{merged(carol, "bob")})
		wantEqual(t, "number of decisions", len(r.Decisions), 0)
	})
	t.Run("who says the same again under the first entity is heard", func(t *testing.T) {
		lenient := two
		lenient.DenyThreshold = 2
		r := mustDo(t, newRequest(t, lenient), start, deny(bob))
		r = mustDo(t, r, after(time.Minute), approve(merged(carol, "bob")))
		r = mustDo(t, r, after(2*time.Minute), deny(bob))
		wantEqual(t, "denials", r.Counted.Denials, 1)
	})
	t.Run("only through a third entity", func(t *testing.T) {
		// bob is x, carol is y; then erin decides, who is both. Each was refused nothing, and together they are one.
		three := prod(rule("dba", 2, "dbas"))
		r := mustDo(t, newRequest(t, three), start, approve(merged(bob, "x")), approve(merged(carol, "y")))
		wantState(t, r, start, StateApproved)
		r = mustDo(t, r, after(time.Minute), approve(merged(standing("erin", "dbas"), "x", "y")))
		wantState(t, r, after(time.Minute), StatePending)
	})
}

func TestSelfApprovalCountsOnceWhereAllowed(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	policy.AllowSelfApproval = true
	alice, bob := standing("alice", "dbas"), standing("bob", "dbas")
	r := mustDo(t, newRequest(t, policy), start, approve(alice), approve(merged(bob, "alice")))
	wantState(t, r, start, StatePending)
	r = mustDo(t, r, start, approve(alice), approve(bob))
	wantState(t, r, start, StateApproved)
}
