package approval

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

func TestClaimNeedsEverythingToHoldStill(t *testing.T) {
	carol := standing("carol", "dbas")
	// changed is what a row changes: the world, or the role from which the world's is made.
	type changed struct {
		*World
		role   *Role
		groups []string
	}
	role := func(change func(*Role)) func(*changed) {
		return func(c *changed) { change(c.role) }
	}
	secret := func(change func(*grant.Secret)) func(*changed) {
		return func(c *changed) { changeSecret(c.role, change) }
	}
	roster := func(standings ...Standing) func(*changed) {
		return func(c *changed) { c.Roster = rosterOf(standings...) }
	}
	for _, c := range []struct {
		name     string
		change   func(*changed)
		obstacle string
	}{
		{"nothing changed", func(*changed) {}, ""},
		{"no world at all", func(c *changed) { *c.World, c.role = World{}, nil }, "the requester no longer exists"},

		{"requester gone", func(c *changed) { c.Requester = Standing{} }, "the requester no longer exists in Vault"},
		{"requester disabled", func(c *changed) { c.Requester.Disabled = true }, "the requester is disabled in Vault"},

		{"approver disabled", roster(disabled("bob", "dbas"), carol), "the approval of bob does not count: the approver is disabled in Vault"},
		{"approver deleted", roster(carol), "the approval of bob does not count: the approver no longer exists in Vault"},
		{"approver left the group", roster(standing("bob"), carol), "the approval of bob does not count: the approver is in none of the policy's approver groups"},
		{"approver moved to another group", roster(standing("bob", "leads"), carol), "the approval of bob does not count: the approver is in none"},
		{"both gone", roster(), `rule "dba" has 0 of 2 approvals; it needs 2 more from approver group "dbas"`},
		{"one gone, what lacks is said", roster(carol), `rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`},

		{"role deleted", func(c *changed) { c.role = nil }, `role "dba" has been deleted`},
		{"the zero role", func(c *changed) { c.Role, c.role = &RoleNow{}, nil }, "changed since the request was made"},
		{"role with another path", secret(func(s *grant.Secret) { s.Path = "database/creds/root" }), `role "dba" changed since the request was made: ask again`},
		{"role with more grant_policies", secret(func(s *grant.Secret) { s.GrantPolicies = []string{"jit-dba", "more"} }), "changed since the request was made"},
		{"role with another policy", role(func(r *Role) { r.Policy = "lax" }), "changed since the request was made"},
		{"role with other parameters", secret(func(s *grant.Secret) { s.Parameters = grant.Parameters{"a": {Pattern: "a"}} }), "changed since the request was made"},
		{"role with another description", role(func(r *Role) { r.Description, r.Version = "x", 2 }), ""},
		{"role for others", role(func(r *Role) { r.RequesterEntityIDs = []string{"entity-bob"} }), `the requester is no longer among the requesters of role "dba"`},
		{"role for others' group", role(func(r *Role) { r.RequesterIdentityGroupIDs = []string{"g1"} }), "the requester is no longer among the requesters"},
		{"role for the requester", role(func(r *Role) { r.RequesterEntityIDs = []string{"entity-alice"} }), ""},
		{"role for the requester's group", func(c *changed) {
			c.role.RequesterIdentityGroupIDs, c.groups = []string{"g1"}, []string{"g1"}
		}, ""},

		{"mount with a shorter maximum", func(c *changed) { c.MaxWindow = time.Hour - 1 }, "its ttl (1h0m0s) is longer than the longest lease of this mount now (59m59.999999999s)"},
		{"mount with just enough", func(c *changed) { c.MaxWindow = time.Hour }, ""},
		{"policy deleted", func(c *changed) { c.Policy = nil }, `policy "prod" has been deleted`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, world := quorate(t, prod(rule("dba", 2, "dbas")))
			now := dba()
			change := changed{World: &world, role: &now}
			world.Role = nil
			c.change(&change)
			if change.role != nil {
				role, err := change.role.Now("entity-alice", change.groups)
				if err != nil {
					t.Fatal(err)
				}
				world.Role = role
			}
			at := after(time.Hour)
			wantObstacle(t, Judge(r, world, at), c.obstacle)
			_, err := do(r, claim(world), at)
			if c.obstacle != "" {
				wantRefusal(t, err, c.obstacle)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOnlyTheRequesterClaims(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	for name, c := range map[string]struct {
		claimer Standing
		says    string
	}{
		"an approver":                            {standing("bob"), "only its requester can claim a request"},
		"nobody":                                 {Standing{}, "no longer exists"},
		"alice when she is disabled":             {disabled("alice"), "your entity is disabled"},
		"alice when she was merged away":         {Standing{Person: person("alice")}, "no longer exists"},
		"an entity that shares a login with her": {merged(standing("eve"), "alice"), "only its requester can claim a request"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := do(r, BeginClaim{Claimer: c.claimer, World: world, Token: theToken}, after(time.Hour))
			wantRefusal(t, err, c.says)
		})
	}
	// A damaged record names no requester; then nobody is the requester, and not whoever has no entity.
	r.Ask.Requester.EntityID = ""
	_, err := do(r, BeginClaim{World: world, Token: theToken}, after(time.Hour))
	wantRefusal(t, err, "no longer exists")
}

func TestClaimListsAllObstaclesAtOnce(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	world.Requester.Disabled = true
	world.Role, world.Policy, world.Roster, world.MaxWindow = nil, nil, nil, 0
	wantEqual(t, "obstacles", Judge(r, world, after(time.Hour)).Obstacles, []string{
		"the requester is disabled in Vault",
		`role "dba" has been deleted`,
		`rule "dba" has 0 of 2 approvals; it needs 2 more from approver group "dbas"`,
		"the approval of bob does not count: the approver no longer exists in Vault (deleted or merged into another entity)",
		"the approval of carol does not count: the approver no longer exists in Vault (deleted or merged into another entity)",
		"its ttl (1h0m0s) is longer than the longest lease of this mount now (0s)",
		`policy "prod" has been deleted`,
	})
	_, err := do(r, claim(world), after(time.Hour))
	wantRefusal(t, err, "Vault; role \"dba\" has been deleted; rule")
}

func TestDenialThatIsNotFinalIsNoObstacle(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	policy.DenyThreshold = 2
	bob, dave := standing("bob", "dbas"), standing("dave", "dbas")
	r := mustDo(t, newRequest(t, policy), start, approve(bob), deny(dave))
	// dave denied and left: that his denial does not count keeps nobody from claiming.
	world := worldOf(r, bob, standing("dave"))
	world.Policy.Version = 2
	wantEqual(t, "obstacles", Judge(r, world, after(2*time.Hour)).Obstacles, []string{
		`rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`,
		`under policy "prod" as it is now (version 2): rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`,
	})
}

func TestApprovalThatIsNotNeededIsNoObstacle(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 1, "dbas")))
	world.Roster = rosterOf(standing("carol", "dbas"))
	v := Judge(r, world, after(time.Minute))
	wantObstacle(t, v, "")
	wantEqual(t, "the tally still tells", v.Tally.Decisions[0], DecisionCount{Why: "the approver no longer exists in Vault (deleted or merged into another entity)"})
}

func TestStrictestOfThePolicyThenAndNowBinds(t *testing.T) {
	rules := func(rules ...Rule) func(*Policy) { return func(p *Policy) { p.Rules = rules } }
	for _, c := range []struct {
		name     string
		then     func(*Policy)
		now      func(*Policy)
		obstacle string
	}{
		{"written again unchanged", nil, func(*Policy) {}, ""},
		{"more approvals", nil, rules(rule("dba", 3, "dbas")), `under policy "prod" as it is now (version 2): rule "dba" has 2 of 3 approvals; it needs 1 more from approver group "dbas"`},
		{"fewer approvals", nil, rules(rule("dba", 1, "dbas")), ""},
		{"one more rule", nil, rules(rule("dba", 2, "dbas"), rule("lead", 1, "leads")), `(version 2): rule "lead" has 0 of 1 approvals`},
		{"another group", nil, rules(rule("dba", 2, "leads")), `(version 2): rule "dba" has 0 of 2 approvals`},
		{"one more group", nil, rules(rule("dba", 2, "dbas", "leads")), ""},
		{"no rules", nil, rules(), `(version 2): policy "prod" has no rules`},
		{"a rule of nothing", nil, rules(rule("dba", 0, "dbas")), `(version 2): rule "dba" has 0 of 0 approvals`},
		{"the zero policy", nil, func(p *Policy) { *p = Policy{} }, `under policy "" as it is now (version 0): policy "" has no rules`},
		{"max_ttl below the ttl", nil, func(p *Policy) { p.MaxTTL = time.Hour - time.Second }, "(version 2): its ttl (1h0m0s) is longer than max_ttl (59m59s)"},
		{"max_ttl just the ttl", nil, func(p *Policy) { p.MaxTTL = time.Hour }, ""},
		{"longer max_ttl", nil, func(p *Policy) { p.MaxTTL = 24 * time.Hour }, ""},
		{"claim_ttl passed", nil, func(p *Policy) { p.ClaimTTL = 29 * time.Minute }, "(version 2): its approval waited longer than claim_ttl (29m0s)"},
		{"claim_ttl passed this moment", nil, func(p *Policy) { p.ClaimTTL = 30 * time.Minute }, "(version 2): its approval waited longer than claim_ttl (30m0s)"},
		{"claim_ttl not yet passed", nil, func(p *Policy) { p.ClaimTTL = 30*time.Minute + time.Second }, ""},
		{"request_ttl passed before the quorum", nil, func(p *Policy) { p.RequestTTL = time.Minute }, "(version 2): its quorum came later than request_ttl (1m0s)"},
		{"request_ttl passed after the quorum", nil, func(p *Policy) { p.RequestTTL = 61 * time.Second }, ""},
		{"lower deny_threshold", func(p *Policy) { p.DenyThreshold = 2 }, func(p *Policy) { p.DenyThreshold = 1 }, "(version 2): 1 denied it, which is final from 1"},
		{"the same deny_threshold", func(p *Policy) { p.DenyThreshold = 2 }, func(p *Policy) { p.DenyThreshold = 2 }, ""},
		{"self approval no longer allowed", func(p *Policy) { p.AllowSelfApproval = true }, func(p *Policy) { p.AllowSelfApproval = false }, `(version 2): rule "dba" has 2 of 3 approvals`},
		{"other reason rules", nil, func(p *Policy) { p.RequireReason, p.ReasonPattern = true, "INC-[0-9]+" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			then := prod(rule("dba", 2, "dbas"))
			people := []Standing{standing("bob", "dbas"), standing("carol", "dbas")}
			if c.then != nil {
				c.then(&then)
			}
			if then.AllowSelfApproval {
				then.Rules[0].Approvals++
				people = append(people, standing("alice", "dbas"))
			}
			r := newRequest(t, then)
			for _, who := range people {
				r = mustDo(t, r, after(time.Minute), approve(who))
			}
			if then.DenyThreshold > 1 {
				people = append(people, standing("dave", "dbas"))
				r = mustDo(t, r, after(time.Minute), deny(people[len(people)-1]))
			}
			world := worldOf(r, people...)
			world.Policy.Rules = []Rule{then.Rules[0]}
			world.Policy.Version, world.Policy.UpdatedAt = 2, after(2*time.Minute)
			c.now(world.Policy)
			wantObstacle(t, Judge(r, world, after(31*time.Minute)), c.obstacle)
		})
	}
}

func TestPolicyLoosenedLaterDoesNotHelp(t *testing.T) {
	for name, loosen := range map[string]func(*Policy){
		"fewer approvals":       func(p *Policy) { p.Rules = []Rule{rule("dba", 1, "dbas")} },
		"more groups":           func(p *Policy) { p.Rules = []Rule{rule("dba", 2, "dbas", "leads")} },
		"self approval allowed": func(p *Policy) { p.AllowSelfApproval = true },
	} {
		t.Run(name, func(t *testing.T) {
			bob := standing("bob", "dbas")
			r := mustDo(t, newRequest(t, prod(rule("dba", 2, "dbas"))), start, approve(bob))
			world := worldOf(r, bob, standing("alice", "dbas"), standing("carol", "leads"))
			world.Policy.Version = 2
			loosen(world.Policy)
			wantEqual(t, "first obstacle", Judge(r, world, start).Obstacles[0], `rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`)
		})
	}
	t.Run("higher deny_threshold", func(t *testing.T) {
		r, world := quorate(t, prod(rule("dba", 2, "dbas")))
		r = mustDo(t, r, after(time.Minute), deny(standing("dave", "dbas")))
		world.Policy.Version, world.Policy.DenyThreshold = 2, 5
		wantObstacle(t, Judge(r, world, after(time.Minute)), "the request is denied")
	})
	t.Run("longer claim_ttl", func(t *testing.T) {
		r, world := quorate(t, prod(rule("dba", 2, "dbas")))
		world.Policy.Version, world.Policy.ClaimTTL = 2, 24*time.Hour
		wantObstacle(t, Judge(r, world, after(61*time.Minute)), "the request is expired")
	})
	t.Run("longer max_ttl", func(t *testing.T) {
		question := asking(prod(rule("dba", 1, "dbas")))
		question.TTL = 9 * time.Hour
		_, err := ask(requestID, question, start)
		wantRefusal(t, err, "9h0m0s is longer than the max_ttl")
	})
}

func TestRecreatedPolicyIsAnotherPolicy(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	// Deleted and written again, it has version 1 as before, but another time.
	world.Policy.Rules = []Rule{rule("dba", 3, "dbas")}
	world.Policy.UpdatedAt = after(time.Second)
	wantObstacle(t, Judge(r, world, after(time.Minute)), `(version 1): rule "dba" has 2 of 3 approvals`)
	// At the same time with another version.
	world.Policy.UpdatedAt, world.Policy.Version = r.Ask.Policy.UpdatedAt, 2
	wantObstacle(t, Judge(r, world, after(time.Minute)), `(version 2): rule "dba" has 2 of 3 approvals`)
}

func TestUnchangedPolicyIsCountedOnce(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 3, "dbas")))
	// The same instant in another zone is the same writing.
	world.Policy.UpdatedAt = world.Policy.UpdatedAt.In(time.FixedZone("CET", 3600))
	wantEqual(t, "number of obstacles", len(Judge(r, world, after(time.Minute)).Obstacles), 1)
}

// Whoever joined a group after he approved has not approved as a member of it.
func TestApprovalHasToBeEligibleWhenItWasGivenAndNow(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"), rule("lead", 1, "leads"))
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := mustDo(t, newRequest(t, policy), start, approve(bob), approve(carol))
	promoted := standing("carol", "dbas", "leads")

	world := worldOf(r, bob, promoted)
	wantState(t, r, after(time.Minute), StatePending)
	v := Judge(r, world, after(time.Minute))
	wantEqual(t, "quorum by today's membership", v.Tally.Quorum, true)
	wantObstacle(t, v, "the request is pending: its approvals made no quorum when they were given")
	_, err := do(r, claim(world), after(time.Minute))
	wantRefusal(t, err, "the request is pending")

	r = mustDo(t, r, after(2*time.Minute), approve(promoted))
	wantObstacle(t, Judge(r, world, after(3*time.Minute)), "")
}

func TestReplacedApproverMayBeGone(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	dave := standing("dave", "dbas")
	r = mustDo(t, r, after(2*time.Minute), approve(dave))
	world.Roster = rosterOf(standing("carol", "dbas"), dave)
	wantObstacle(t, Judge(r, world, after(3*time.Minute)), "")
}

func TestDenialStaysFinalWhenTheDenierLeaves(t *testing.T) {
	dave := standing("dave", "dbas")
	t.Run("once it was", func(t *testing.T) {
		r, world := quorate(t, prod(rule("dba", 2, "dbas")))
		r = mustDo(t, r, after(time.Minute), deny(dave))
		wantState(t, r, after(time.Minute), StateDenied)
		wantObstacle(t, Judge(r, world, after(time.Minute)), "the request is denied")
		for _, event := range []Command{Withdraw{dave}, approve(dave), approve(standing("erin", "dbas")), Cancel{standing("alice")}} {
			_, err := do(r, event, after(time.Minute))
			wantRefusal(t, err, "a request that is denied")
		}
	})
	t.Run("when the threshold is lowered after he left", func(t *testing.T) {
		policy := prod(rule("dba", 2, "dbas"))
		policy.DenyThreshold = 2
		r, world := quorate(t, policy)
		r = mustDo(t, r, after(time.Minute), deny(dave))
		wantObstacle(t, Judge(r, world, after(time.Minute)), "")
		world.Policy.Version, world.Policy.DenyThreshold = 2, 1
		wantObstacle(t, Judge(r, world, after(time.Minute)), "(version 2): 1 denied it, which is final from 1")
	})
	t.Run("as one of two", func(t *testing.T) {
		policy := prod(rule("dba", 2, "dbas"))
		policy.DenyThreshold = 2
		r, _ := quorate(t, policy)
		r = mustDo(t, r, after(time.Minute), deny(dave))
		wantState(t, r, after(time.Minute), StateApproved)
		// dave leaves. His denial still counts beside that of erin, so there are two.
		r = mustDo(t, r, after(2*time.Minute), deny(standing("erin", "dbas")))
		wantState(t, r, after(2*time.Minute), StateDenied)
	})
}

func TestDenialsAreNamedUnderTheFrozenPolicyToo(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"), rule("lead", 1, "leads"))
	policy.DenyThreshold = 2
	r, _ := quorate(t, policy)
	// dave was in no approver group when he denied, in a record as it could not come about; now he is.
	r = mustAdd(t, r, denied(standing("dave"), after(time.Minute)), denied(standing("erin", "dbas"), after(time.Minute)))
	world := worldOf(r, standing("dave", "dbas"), standing("erin", "dbas"))
	wantState(t, r, after(time.Minute), StatePending)
	wantObstacle(t, Judge(r, world, after(time.Minute)), "2 denied it, which is final from 2")
}

// denied is the event of a denial.
func denied(who Standing, at time.Time) Decided {
	return Decided{Stamp: Stamp{At: at, By: &who.Person}, Verdict: Deny, Groups: who.Groups}
}

func TestDeadRequestIsNotClaimable(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	now := after(2 * time.Minute)
	cancelled := mustDo(t, r, now, Cancel{standing("alice")})
	active := mustDo(t, r, now, claim(world), give(world, after(time.Hour)))
	for _, c := range []struct {
		request Request
		at      time.Time
		want    string
	}{
		{cancelled, now, "the request is cancelled"},
		{active, now, "the request is active"},
		{active, after(time.Hour), "the request is ended"},
		{r, after(61 * time.Minute), "the request is expired"},
	} {
		got := Judge(c.request, world, c.at)
		wantEqual(t, "obstacles", got.Obstacles, []string{c.want})
		wantEqual(t, "the quorum in the tally of an unclaimable request", got.Tally.Quorum, true)
	}
	var zero Request
	wantEqual(t, "obstacles of nothing", Judge(zero, world, now).Obstacles, []string{"the request is expired"})
}

func TestRefusalSaysWhoCanStillApprove(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"), rule("lead", 1, "leads"))
	bob := standing("bob", "dbas")
	policy.DenyThreshold = 2
	// carol denied, and may still change her mind.
	r := mustDo(t, newRequest(t, policy), start, approve(bob), deny(standing("carol", "dbas")))
	world := worldOf(r, bob)
	world.Census = Census{
		"dbas":  {People: []Standing{standing("alice"), bob, standing("carol"), standing("dave"), merged(standing("erin"), "bob"), disabled("frank")}},
		"leads": {People: []Standing{standing("dave"), standing("grace")}},
	}
	v := Judge(r, world, start)
	wantObstacle(t, v, `rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas" (carol, dave can approve)`)
	wantObstacle(t, v, `rule "lead" has 0 of 1 approvals; it needs 1 more from approver group "leads" (dave, grace can approve)`)

	wantEqual(t, "candidates", v.Candidates, [][]Person{{person("carol"), person("dave")}, {person("dave"), person("grace")}})
	world.Census = nil
	wantEqual(t, "candidates as far as nobody knows", Judge(r, world, start).Candidates, [][]Person{nil, nil})
}

// Whoever joined an approver group is a candidate under the policy as it is now as well.
func TestRefusalSaysWhoCanApproveUnderThePolicyOfNow(t *testing.T) {
	r, world := quorate(t, prod(rule("dba", 2, "dbas")))
	world.Policy.Version, world.Policy.Rules = 2, []Rule{rule("lead", 1, "leads")}
	world.Census = Census{"leads": {People: []Standing{standing("grace")}}}
	wantObstacle(t, Judge(r, world, after(time.Minute)), `(version 2): rule "lead" has 0 of 1 approvals; it needs 1 more from approver group "leads" (grace can approve)`)
}

func TestClaimableIsWhatBeginClaimSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := newLife(t)
		life.run(t, 12)
		world := life.world(t)
		v := Judge(life.request, world, life.now)
		next, err := do(life.request, BeginClaim{Claimer: Standing{Person: person("alice"), Exists: true}, World: world, Token: theToken}, life.now)
		switch {
		case !v.Claimable:
			wantRefusal(t, err, strings.Join(v.Obstacles, "; "))
		case life.request.Claim != nil:
			wantRefusal(t, err, "what an earlier claim left behind")
		default:
			if err != nil {
				t.Fatal(err)
			}
			wantState(t, next, life.now, StateClaiming)
			wantEqual(t, "held", next.Held, []Held{{Handle: theToken}})
		}
	})
}

func TestZeroVerdictIsNotClaimable(t *testing.T) {
	wantEqual(t, "claimable", Verdict{}.Claimable, false)
	wantRefusal(t, MayClaim(newRequest(t, prod(rule("dba", 1, "dbas"))), standing("alice"), Verdict{Tally: Tally{Quorum: true}}), "")
}

func TestZeroWorldAllowsNothingWhateverTheRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := newLife(t)
		life.run(t, 12)
		v := Judge(life.request, World{}, life.now)
		if v.Claimable || len(v.Obstacles) == 0 {
			t.Fatalf("claimable in no world: %+v", v)
		}
		if _, err := Do(life.request, BeginClaim{Claimer: standing("alice"), Token: theToken}, life.now); err == nil {
			t.Fatal("a claim begins in no world")
		}
		if _, err := Do(life.request, GiveGrant{Handles: grant.Handles{theToken}, Until: life.now.Add(time.Minute)}, life.now); err == nil {
			t.Fatal("a grant is given in no world")
		}
	})
}
