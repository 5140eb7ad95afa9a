package approval

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// quorate is alice's request with the approvals of bob and carol, which its policy needs, and facts in which nothing changed.
func quorate(t rapid.TB, policy Policy) (Request, ClaimFacts) {
	t.Helper()
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := applied(t, asked(t, policy), start, approve(bob))
	r = applied(t, r, after(time.Minute), approve(carol))
	return r, factsOf(r, bob, carol)
}

func TestClaimNeedsEverythingToHoldStill(t *testing.T) {
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	disabled := bob
	disabled.Disabled = true
	role := func(change func(*Role)) func(*ClaimFacts) {
		return func(f *ClaimFacts) { change(f.Role) }
	}
	roster := func(standings ...Standing) func(*ClaimFacts) {
		return func(f *ClaimFacts) { f.Roster = rosterOf(standings...) }
	}
	for _, c := range []struct {
		name     string
		change   func(*ClaimFacts)
		obstacle string
	}{
		{"nothing changed", func(*ClaimFacts) {}, ""},
		{"no facts at all", func(f *ClaimFacts) { *f = ClaimFacts{} }, "the requester no longer exists"},

		{"requester gone", func(f *ClaimFacts) { f.Requester = Standing{} }, "the requester no longer exists in Vault"},
		{"requester disabled", func(f *ClaimFacts) { f.Requester.Disabled = true }, "the requester is disabled in Vault"},

		{"approver disabled", roster(disabled, carol), "the approval of bob does not count: the approver is disabled in Vault"},
		{"approver deleted", roster(carol), "the approval of bob does not count: the approver no longer exists in Vault"},
		{"approver left the group", roster(standing("bob"), carol), "the approval of bob does not count: the approver is in none of the policy's approver groups"},
		{"approver moved to another group", roster(standing("bob", "leads"), carol), "the approval of bob does not count: the approver is in none"},
		{"both gone", roster(), `rule "dba" has 0 of 2 approvals; it needs 2 more from approver group "dbas"`},
		{"one gone, what lacks is said", roster(carol), `rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`},

		{"role deleted", func(f *ClaimFacts) { f.Role = nil }, `role "dba" has been deleted`},
		{"role with another path", role(func(r *Role) { r.Path = "database/creds/root" }), `role "dba" changed since the request was made: ask again`},
		{"role with more grant_policies", role(func(r *Role) { r.GrantPolicies = []string{"jit-dba", "more"} }), "changed since the request was made"},
		{"role with another policy", role(func(r *Role) { r.Policy = "lax" }), "changed since the request was made"},
		{"role with other parameters", role(func(r *Role) { r.Parameters = map[string]Parameter{"a": {Pattern: "a"}} }), "changed since the request was made"},
		{"role with another description", role(func(r *Role) { r.Description, r.Version = "x", 2 }), ""},
		{"role for others", role(func(r *Role) { r.RequesterEntityIDs = []string{"entity-bob"} }), `the requester is no longer among the requesters of role "dba"`},
		{"role for others' group", role(func(r *Role) { r.RequesterIdentityGroupIDs = []string{"g1"} }), "the requester is no longer among the requesters"},
		{"role for the requester", role(func(r *Role) { r.RequesterEntityIDs = []string{"entity-alice"} }), ""},
		{"role for the requester's group", func(f *ClaimFacts) {
			f.Role.RequesterIdentityGroupIDs, f.IdentityGroupIDs = []string{"g1"}, []string{"g1"}
		}, ""},

		{"mount with a shorter maximum", func(f *ClaimFacts) { f.MaxWindow = time.Hour - 1 }, "its ttl (1h0m0s) is longer than the longest lease of this mount now (59m59.999999999s)"},
		{"mount with just enough", func(f *ClaimFacts) { f.MaxWindow = time.Hour }, ""},
		{"policy deleted", func(f *ClaimFacts) { f.Policy = nil }, `policy "prod" has been deleted`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
			c.change(&facts)
			now := after(time.Hour)
			wantObstacle(t, r.Claimable(facts, now), c.obstacle)
			_, err := Apply(r, StartClaim{person("alice"), facts}, now)
			if c.obstacle != "" {
				wantRefusal(t, err, c.obstacle)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOnlyTheRequesterClaims(t *testing.T) {
	r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	for name, claimer := range map[string]Person{
		"an approver":                            person("bob"),
		"nobody":                                 {},
		"an entity that shares a login with her": {EntityID: "entity-eve", Name: "alice", Aliases: person("alice").Aliases},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Apply(r, StartClaim{claimer, facts}, after(time.Hour))
			wantRefusal(t, err, "only its requester can claim a request")
		})
	}
	// A damaged record names no requester; then nobody is the requester, and not whoever has no entity.
	r.Ask.Requester.EntityID = ""
	_, err := Apply(r, StartClaim{Person{}, facts}, after(time.Hour))
	wantRefusal(t, err, "only its requester can claim a request")
}

func TestClaimListsAllObstaclesAtOnce(t *testing.T) {
	r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	facts.Requester.Disabled = true
	facts.Role, facts.Policy, facts.Roster, facts.MaxWindow = nil, nil, nil, 0
	wantEqual(t, "obstacles", r.Claimable(facts, after(time.Hour)).Obstacles, []string{
		"the requester is disabled in Vault",
		`role "dba" has been deleted`,
		`rule "dba" has 0 of 2 approvals; it needs 2 more from approver group "dbas"`,
		"the approval of bob does not count: the approver no longer exists in Vault (deleted or merged into another entity)",
		"the approval of carol does not count: the approver no longer exists in Vault (deleted or merged into another entity)",
		"its ttl (1h0m0s) is longer than the longest lease of this mount now (0s)",
		`policy "prod" has been deleted`,
	})
	_, err := Apply(r, StartClaim{person("alice"), facts}, after(time.Hour))
	wantRefusal(t, err, "Vault; role \"dba\" has been deleted; rule")
}

func TestObstaclesSpeakOfApprovalsAndOfATimeThatRan(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	policy.DenyThreshold = 2
	bob, dave := standing("bob", "dbas"), standing("dave", "dbas")
	r := applied(t, asked(t, policy), start, approve(bob), deny(dave))
	// dave denied and left: that his denial does not count keeps nobody from claiming.
	facts := factsOf(r, bob, standing("dave"))
	facts.Policy.Version = 2
	wantEqual(t, "obstacles", r.Claimable(facts, after(2*time.Hour)).Obstacles, []string{
		`rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`,
		`under policy "prod" as it is now (version 2): rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`,
	})
}

func TestAnApprovalThatIsNotNeededIsNoObstacle(t *testing.T) {
	r, facts := quorate(t, prod(rule("dba", 1, "dbas")))
	facts.Roster = rosterOf(standing("carol", "dbas"))
	c := r.Claimable(facts, after(time.Minute))
	wantObstacle(t, c, "")
	wantEqual(t, "the verdict still tells", c.Verdict.Decisions[0], DecisionCount{Why: "the approver no longer exists in Vault (deleted or merged into another entity)"})
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
			r := asked(t, then)
			for _, who := range people {
				r = applied(t, r, after(time.Minute), approve(who))
			}
			if then.DenyThreshold > 1 {
				people = append(people, standing("dave", "dbas"))
				r = applied(t, r, after(time.Minute), deny(people[len(people)-1]))
			}
			facts := factsOf(r, people...)
			facts.Policy.Rules = []Rule{then.Rules[0]}
			facts.Policy.Version, facts.Policy.UpdatedAt = 2, after(2*time.Minute)
			c.now(facts.Policy)
			wantObstacle(t, r.Claimable(facts, after(31*time.Minute)), c.obstacle)
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
			r := applied(t, asked(t, prod(rule("dba", 2, "dbas"))), start, approve(bob))
			facts := factsOf(r, bob, standing("alice", "dbas"), standing("carol", "leads"))
			facts.Policy.Version = 2
			loosen(facts.Policy)
			wantEqual(t, "first obstacle", r.Claimable(facts, start).Obstacles[0], `rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas"`)
		})
	}
	t.Run("higher deny_threshold", func(t *testing.T) {
		r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
		r = applied(t, r, after(time.Minute), deny(standing("dave", "dbas")))
		facts.Policy.Version, facts.Policy.DenyThreshold = 2, 5
		wantObstacle(t, r.Claimable(facts, after(time.Minute)), "the request is denied")
	})
	t.Run("longer claim_ttl", func(t *testing.T) {
		r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
		facts.Policy.Version, facts.Policy.ClaimTTL = 2, 24*time.Hour
		wantObstacle(t, r.Claimable(facts, after(61*time.Minute)), "the request is expired")
	})
	t.Run("longer max_ttl", func(t *testing.T) {
		question := asking(prod(rule("dba", 1, "dbas")))
		question.TTL = 9 * time.Hour
		_, err := NewRequest(requestID, question, start)
		wantRefusal(t, err, "9h0m0s is longer than the max_ttl")
	})
}

func TestRecreatedPolicyIsAnotherPolicy(t *testing.T) {
	r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	// Deleted and written again, it has version 1 as before, but another time.
	facts.Policy.Rules = []Rule{rule("dba", 3, "dbas")}
	facts.Policy.UpdatedAt = after(time.Second)
	wantObstacle(t, r.Claimable(facts, after(time.Minute)), `(version 1): rule "dba" has 2 of 3 approvals`)
	// At the same time with another version.
	facts.Policy.UpdatedAt, facts.Policy.Version = r.Ask.Policy.UpdatedAt, 2
	wantObstacle(t, r.Claimable(facts, after(time.Minute)), `(version 2): rule "dba" has 2 of 3 approvals`)
}

func TestUnchangedPolicyIsCountedOnce(t *testing.T) {
	r, facts := quorate(t, prod(rule("dba", 3, "dbas")))
	// The same instant in another zone is the same writing.
	facts.Policy.UpdatedAt = facts.Policy.UpdatedAt.In(time.FixedZone("CET", 3600))
	wantEqual(t, "number of obstacles", len(r.Claimable(facts, after(time.Minute)).Obstacles), 1)
}

// Whoever joined a group after he approved has not approved as a member of it.
func TestApprovalHasToBeEligibleWhenItWasGivenAndNow(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"), rule("lead", 1, "leads"))
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := applied(t, asked(t, policy), start, approve(bob), approve(carol))
	promoted := standing("carol", "dbas", "leads")

	facts := factsOf(r, bob, promoted)
	wantState(t, r, after(time.Minute), Pending)
	c := r.Claimable(facts, after(time.Minute))
	wantEqual(t, "quorum by today's membership", c.Verdict.Quorum, true)
	wantObstacle(t, c, "the request is pending: its approvals made no quorum when they were given")
	_, err := Apply(r, StartClaim{person("alice"), facts}, after(time.Minute))
	wantRefusal(t, err, "the request is pending")

	r = applied(t, r, after(2*time.Minute), approve(promoted))
	wantObstacle(t, r.Claimable(facts, after(3*time.Minute)), "")
}

func TestWhoIsReplacedMayBeGone(t *testing.T) {
	r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	dave := standing("dave", "dbas")
	r = applied(t, r, after(2*time.Minute), approve(dave))
	facts.Roster = rosterOf(standing("carol", "dbas"), dave)
	wantObstacle(t, r.Claimable(facts, after(3*time.Minute)), "")
}

func TestDenialStaysFinalWhenTheDenierLeaves(t *testing.T) {
	dave := standing("dave", "dbas")
	t.Run("once it was", func(t *testing.T) {
		r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
		r = applied(t, r, after(time.Minute), deny(dave))
		wantState(t, r, after(time.Minute), Denied)
		wantObstacle(t, r.Claimable(facts, after(time.Minute)), "the request is denied")
		for _, event := range []Event{Withdraw{dave}, approve(dave), approve(standing("erin", "dbas")), Cancel{standing("alice")}} {
			_, err := Apply(r, event, after(time.Minute))
			wantRefusal(t, err, "a request that is denied")
		}
	})
	t.Run("when the threshold is lowered after he left", func(t *testing.T) {
		policy := prod(rule("dba", 2, "dbas"))
		policy.DenyThreshold = 2
		r, facts := quorate(t, policy)
		r = applied(t, r, after(time.Minute), deny(dave))
		wantObstacle(t, r.Claimable(facts, after(time.Minute)), "")
		facts.Policy.Version, facts.Policy.DenyThreshold = 2, 1
		wantObstacle(t, r.Claimable(facts, after(time.Minute)), "(version 2): 1 denied it, which is final from 1")
	})
	t.Run("as one of two", func(t *testing.T) {
		policy := prod(rule("dba", 2, "dbas"))
		policy.DenyThreshold = 2
		r, _ := quorate(t, policy)
		r = applied(t, r, after(time.Minute), deny(dave))
		wantState(t, r, after(time.Minute), Approved)
		// dave leaves; that erin denies as well makes two all the same.
		r = applied(t, r, after(2*time.Minute), deny(standing("erin", "dbas")))
		wantState(t, r, after(2*time.Minute), Denied)
	})
}

func TestDenialsAreNamedUnderTheFrozenPolicyToo(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"), rule("lead", 1, "leads"))
	policy.DenyThreshold = 2
	r, _ := quorate(t, policy)
	// dave was no approver of any group when he denied, by a record as it could not come about; now he is.
	r.Decisions = append(r.Decisions, decided(standing("dave"), Deny, after(time.Minute)), decided(standing("erin", "dbas"), Deny, after(time.Minute)))
	facts := factsOf(r, standing("dave", "dbas"), standing("erin", "dbas"))
	wantState(t, r, after(time.Minute), Pending)
	wantObstacle(t, r.Claimable(facts, after(time.Minute)), "2 denied it, which is final from 2")
}

func TestNothingDeadIsClaimable(t *testing.T) {
	r, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	now := after(2 * time.Minute)
	cancelled := applied(t, r, now, Cancel{standing("alice")})
	active := applied(t, r, now, StartClaim{person("alice"), facts}, KeepToken{"accessor-1"}, Succeed{grantUntil(after(time.Hour))})
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
		got := c.request.Claimable(facts, c.at)
		wantEqual(t, "obstacles", got.Obstacles, []string{c.want})
		wantEqual(t, "the verdict is shown all the same", got.Verdict.Quorum, true)
	}
	var zero Request
	wantEqual(t, "obstacles of nothing", zero.Claimable(facts, now).Obstacles, []string{"the request is expired"})
}

func TestRefusalSaysWhoCanStillApprove(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"), rule("lead", 1, "leads"))
	bob := standing("bob", "dbas")
	disabled := standing("frank", "dbas")
	disabled.Disabled = true
	policy.DenyThreshold = 2
	// carol denied, and may still change her mind.
	r := applied(t, asked(t, policy), start, approve(bob), deny(standing("carol", "dbas")))
	facts := factsOf(r, bob)
	facts.Census = Census{
		"dbas":  {People: []Standing{standing("alice"), bob, standing("carol"), standing("dave"), merged(standing("erin"), "bob"), disabled}},
		"leads": {People: []Standing{standing("dave"), standing("grace")}},
	}
	c := r.Claimable(facts, start)
	wantObstacle(t, c, `rule "dba" has 1 of 2 approvals; it needs 1 more from approver group "dbas" (carol, dave can approve)`)
	wantObstacle(t, c, `rule "lead" has 0 of 1 approvals; it needs 1 more from approver group "leads" (dave, grace can approve)`)

	left := r.CanStillApprove(policy, facts.Census)
	wantEqual(t, "who is left", left, [][]Person{{person("carol"), person("dave")}, {person("dave"), person("grace")}})
	wantEqual(t, "who is left as far as nobody knows", r.CanStillApprove(policy, nil), [][]Person{nil, nil})
	wantEqual(t, "for no rules", len(r.CanStillApprove(Policy{}, facts.Census)), 0)
}

func TestClaimableIsWhatStartClaimSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := newLife(t)
		life.run(t, 12)
		facts := life.facts(t)
		obstacles := life.request.Claimable(facts, life.now).Obstacles
		next, err := Apply(life.request, StartClaim{person("alice"), facts}, life.now)
		switch {
		case len(obstacles) > 0:
			wantRefusal(t, err, strings.Join(obstacles, "; "))
		case life.request.Leftover() != "":
			wantRefusal(t, err, "what an earlier claim left behind")
		default:
			wantState(t, next, life.now, Claiming)
			if _, err = Apply(next, KeepToken{"accessor-1"}, life.now); err != nil {
				t.Fatalf("claimable, but no token can be kept: %v", err)
			}
		}
	})
}
