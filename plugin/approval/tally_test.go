package approval

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// outcome is what the model says of decisions: the model is slow and simple where Count is neither.
type outcome struct {
	quorum, denied bool
	denials        int
}

// model counts decisions anew: who is one human being by joining sets until nothing changes, the quorum by trying
// every way of giving approvers to rules.
func model(policy Policy, requester Person, decisions []Decision, roster Roster) outcome {
	snapshots := []Person{requester, roster[requester.EntityID].Person}
	for _, d := range decisions {
		snapshots = append(snapshots, d.Approver, roster[d.Approver.EntityID].Person)
	}
	same := func(a, b string) bool {
		reached := map[string]bool{a: true}
		for grown := true; grown; {
			grown = false
			for _, x := range snapshots {
				for _, y := range snapshots {
					if reached[x.EntityID] && !reached[y.EntityID] && isSamePerson(x, y) {
						reached[y.EntityID], grown = true, true
					}
				}
			}
		}
		return reached[b]
	}
	var result outcome
	var can [][]int
	for i, d := range decisions {
		who := d.Approver.EntityID
		now := roster[who]
		current := true
		for j, other := range decisions {
			if j != i && same(who, other.Approver.EntityID) && (other.At.After(d.At) || (other.At.Equal(d.At) && j > i)) {
				current = false
			}
		}
		var rules []int
		for n, rule := range policy.Rules {
			for _, group := range rule.ApproverGroups {
				if slices.Contains(now.Groups, group) && !slices.Contains(rules, n) {
					rules = append(rules, n)
				}
			}
		}
		self := same(who, requester.EntityID) && !policy.AllowSelfApproval
		if !current || !now.Exists || now.Disabled || self || len(rules) == 0 {
			continue
		}
		switch d.Verdict {
		case Deny:
			result.denials++
		case Approve:
			can = append(can, rules)
		}
	}
	needed, room := 0, make([]int, len(policy.Rules))
	result.quorum = len(policy.Rules) > 0
	for n, rule := range policy.Rules {
		result.quorum = result.quorum && rule.Approvals > 0
		room[n] = rule.Approvals
		needed += rule.Approvals
	}
	result.quorum = result.quorum && mostSeated(room, can) == needed
	result.denied = result.denials >= max(1, policy.DenyThreshold)
	return result
}

var (
	someGroups   = []string{"dbas", "leads", "security"}
	someDeciders = []string{"alice", "bob", "carol", "dave", "erin", "frank"}
)

func drawRules(t *rapid.T, least int) []Rule {
	var rules []Rule
	for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
		groups := rapid.SliceOfNDistinct(rapid.SampledFrom(someGroups), min(1, least), 3, rapid.ID[string]).Draw(t, "groups")
		rules = append(rules, rule(fmt.Sprintf("rule-%d", i), rapid.IntRange(least, 3).Draw(t, "approvals"), groups...))
	}
	return rules
}

func drawGroups(t *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(someGroups), 0, 3, rapid.ID[string]).Draw(t, "in groups")
}

// drawPolicy draws a policy, with nonsense in it if least is below 1.
func drawPolicy(t *rapid.T, least int) Policy {
	policy := prod(drawRules(t, least)...)
	policy.DenyThreshold = rapid.IntRange(least, 2).Draw(t, "deny_threshold")
	policy.AllowSelfApproval = rapid.Bool().Draw(t, "allow_self_approval")
	return policy
}

func drawDecisions(t *rapid.T, names []string) []Decision {
	var decisions []Decision
	minutes := rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(t, "minutes")
	for i, name := range names {
		verdict := rapid.SampledFrom([]DecisionVerdict{Approve, Approve, Approve, Deny}).Draw(t, "verdict")
		decisions = append(decisions, decided(standing(name), verdict, after(time.Duration(minutes[i])*time.Minute)))
	}
	return decisions
}

func drawDeciders(t *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(someDeciders), 0, len(someDeciders), rapid.ID[string]).Draw(t, "deciders")
}

// drawStrangers draws decisions and a roster in which anything may have happened since: merged, moved, gone, disabled.
func drawStrangers(t *rapid.T) ([]Decision, Roster) {
	decisions := drawDecisions(t, drawDeciders(t))
	logins := func() []string {
		return rapid.SliceOfN(rapid.SampledFrom(someDeciders), 0, rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "how many more logins")).Draw(t, "more logins")
	}
	for i := range decisions {
		decisions[i].Approver = person(decisions[i].Approver.Name, logins()...)
		decisions[i].Verdict = rapid.SampledFrom([]DecisionVerdict{Approve, Approve, Approve, Deny, "", "abstain"}).Draw(t, "verdict, or what is none")
	}
	roster := Roster{}
	for _, name := range someDeciders {
		if rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
			continue
		}
		s := merged(standing(name, drawGroups(t)...), logins()...)
		s.Exists = rapid.IntRange(0, 8).Draw(t, "merged away") > 0
		s.Disabled = rapid.IntRange(0, 8).Draw(t, "disabled") == 0
		roster[s.EntityID] = s
	}
	return decisions, roster
}

func drawRoster(t *rapid.T, names []string) Roster {
	roster := Roster{}
	for _, name := range names {
		s := standing(name, drawGroups(t)...)
		roster[s.EntityID] = s
	}
	return roster
}

func TestCountAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, -1)
		decisions, roster := drawStrangers(t)
		tally := Count(policy, person("alice"), decisions, roster)
		got := outcome{quorum: tally.Quorum, denied: tally.Denied, denials: tally.Denials}
		wantEqual(t, "the tally", got, model(policy, person("alice"), decisions, roster))
	})
}

func TestEveryDecisionHasItsReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, -1)
		decisions, roster := drawStrangers(t)
		tally := Count(policy, person("alice"), decisions, roster)
		wantEqual(t, "number of reasons", len(tally.Decisions), len(decisions))
		wantEqual(t, "number of rules", len(tally.Rules), len(policy.Rules))
		counting := tally.Denials
		for _, rule := range tally.Rules {
			wantEqual(t, "count of a rule", rule.Counted, len(rule.CountedBy))
			wantEqual(t, "satisfied", rule.Satisfied, rule.Approvals > 0 && rule.Counted == rule.Approvals)
			counting += rule.Counted
		}
		for _, d := range tally.Decisions {
			if d.Why == "" {
				t.Fatal("a decision has no reason")
			}
			if d.Counts {
				counting--
			}
		}
		wantEqual(t, "difference between what counts by rule and by decision", counting, 0)
	})
}

func TestQuorumCountsAPersonOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, 1)
		decisions, roster := drawStrangers(t)
		// The same decisions twice over are the bluntest of duplicates.
		decisions = append(decisions, decisions...)
		tally := Count(policy, person("alice"), decisions, roster)
		snapshots := func(p Person) []Person { return []Person{p, roster[p.EntityID].Person} }
		var counted []Person
		for _, rule := range tally.Rules {
			counted = append(counted, rule.CountedBy...)
		}
		for i, one := range counted {
			for _, other := range counted[:i] {
				for _, a := range snapshots(one) {
					for _, b := range snapshots(other) {
						if isSamePerson(a, b) {
							t.Fatalf("%s and %s are one person and both count", one.Name, other.Name)
						}
					}
				}
			}
		}
	})
}

func TestRequesterCountsOnlyWherePolicySaysSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, 1)
		policy.AllowSelfApproval = false
		decisions, roster := drawStrangers(t)
		tally := Count(policy, person("alice"), decisions, roster)
		for i, d := range decisions {
			if d.Approver.EntityID == person("alice").EntityID && tally.Decisions[i].Counts {
				t.Fatal("alice counts for her own request")
			}
		}
	})

	policy := prod(rule("any", 1, "dbas"))
	own := []Decision{decided(standing("alice", "dbas"), Approve, start)}
	roster := rosterOf(standing("alice", "dbas"))
	wantEqual(t, "quorum", Count(policy, person("alice"), own, roster).Quorum, false)
	policy.AllowSelfApproval = true
	wantEqual(t, "quorum where the policy allows self approval", Count(policy, person("alice"), own, roster).Quorum, true)
}

func TestOrderOfDecisionsNeverMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, 1)
		decisions, roster := drawStrangers(t)
		order := rapid.Permutation(decisions).Draw(t, "order")

		one, other := Count(policy, person("alice"), decisions, roster), Count(policy, person("alice"), order, roster)

		for i, d := range decisions {
			j := slices.IndexFunc(order, func(o Decision) bool { return o.Approver.EntityID == d.Approver.EntityID })
			wantEqual(t, "what is said of a decision", other.Decisions[j], one.Decisions[i])
		}
		one.Decisions, other.Decisions = nil, nil
		wantEqual(t, "tally", other, one)
	})
}

// Between people who are not each other, approvals only ever add.
func TestTakingAnApprovalAwayNeverAddsQuorum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, 1)
		names := drawDeciders(t)
		decisions, roster := drawDecisions(t, names), drawRoster(t, names)
		if len(decisions) == 0 {
			return
		}
		gone := rapid.IntRange(0, len(decisions)-1).Draw(t, "withdrawn")
		full := Count(policy, person("alice"), decisions, roster)
		fewer := Count(policy, person("alice"), slices.Delete(slices.Clone(decisions), gone, gone+1), roster)
		if fewer.Quorum && !full.Quorum {
			t.Fatalf("without the word of %s there is a quorum", decisions[gone].Approver.Name)
		}
		if fewer.Denials > full.Denials {
			t.Fatal("one decision less made one denial more")
		}
	})
}

func TestCountLeavesItsArgumentsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t, 1)
		decisions, roster := drawStrangers(t)
		before := asText(t, []any{policy, decisions, roster})
		Count(policy, person("alice"), decisions, roster)
		wantEqual(t, "the arguments", asText(t, []any{policy, decisions, roster}), before)
	})
}

func TestBestAssignmentIsFoundWhoeverCameFirst(t *testing.T) {
	policy := prod(rule("either", 1, "dbas", "leads"), rule("dba", 1, "dbas"))
	roster := rosterOf(standing("bob", "dbas"), standing("carol", "leads"))
	for _, names := range [][]string{{"bob", "carol"}, {"carol", "bob"}} {
		tally := Count(policy, person("alice"), []Decision{
			decided(roster["entity-"+names[0]], Approve, start),
			decided(roster["entity-"+names[1]], Approve, after(time.Minute)),
		}, roster)
		wantEqual(t, "quorum", tally.Quorum, true)
		wantEqual(t, "who counts for either", tally.Rules[0].CountedBy, []Person{person("carol")})
		wantEqual(t, "who counts for dba", tally.Rules[1].CountedBy, []Person{person("bob")})
	}
}

func TestCountDoesNotDependOnTheOrderOfApprovals(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"))
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	for _, decisions := range [][]Decision{
		{decided(bob, Approve, start), decided(carol, Approve, after(time.Minute))},
		{decided(carol, Approve, start), decided(bob, Approve, after(time.Minute))},
	} {
		tally := Count(policy, person("alice"), decisions, rosterOf(bob, carol))
		wantEqual(t, "who counts", tally.Rules[0].CountedBy, []Person{person("bob")})
	}
}

func TestOnePersonInTwoGroupsMeetsOneRule(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"), rule("lead", 1, "leads"))
	roster := rosterOf(standing("bob", "dbas", "leads"))
	tally := Count(policy, person("alice"), []Decision{decided(roster["entity-bob"], Approve, start)}, roster)
	wantEqual(t, "quorum", tally.Quorum, false)
	wantEqual(t, "approvals counted", tally.Rules[0].Counted+tally.Rules[1].Counted, 1)
}

func TestReasonsName(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"))
	bob := standing("bob", "dbas")
	one := []Decision{decided(bob, Approve, start)}
	disabled := bob
	disabled.Disabled = true
	for _, c := range []struct {
		name      string
		requester Person
		decisions []Decision
		roster    Roster
		counts    bool
		why       string
	}{
		{"an approval that counts", person("alice"), one, rosterOf(bob), true, `counts for rule "dba"`},
		{"a denial that counts", person("alice"), []Decision{decided(bob, Deny, start)}, rosterOf(bob), true, "denies"},
		{"nobody knows the approver", person("alice"), one, nil, false, "the approver no longer exists in Vault (deleted or merged into another entity)"},
		{"the approver is disabled", person("alice"), one, rosterOf(disabled), false, "the approver is disabled in Vault"},
		{"the approver asked himself", person("bob"), one, rosterOf(bob), false, "the approver is the requester"},
		{"the approver left", person("alice"), one, rosterOf(standing("bob")), false, "the approver is in none of the policy's approver groups"},
		{"another group does not help", person("alice"), one, rosterOf(standing("bob", "leads")), false, "the approver is in none of the policy's approver groups"},
		{"no word at all", person("alice"), []Decision{decided(bob, "", start)}, rosterOf(bob), false, `"" is neither approve nor deny`},
		{"a word of another kind", person("alice"), []Decision{decided(bob, "abstain", start)}, rosterOf(bob), false, `"abstain" is neither approve nor deny`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tally := Count(policy, c.requester, c.decisions, c.roster)
			wantEqual(t, "what is said of the decision", tally.Decisions, []DecisionCount{{Counts: c.counts, Why: c.why}})
		})
	}

	t.Run("one too many", func(t *testing.T) {
		carol := standing("carol", "dbas")
		tally := Count(policy, person("alice"), []Decision{decided(bob, Approve, start), decided(carol, Approve, start)}, rosterOf(bob, carol))
		wantEqual(t, "what is said of the second", tally.Decisions[1], DecisionCount{Why: "the rules this approver can count for have enough without"})
	})
	t.Run("two words of one person", func(t *testing.T) {
		both := []Decision{decided(bob, Approve, after(time.Minute)), decided(bob, Deny, start)}
		tally := Count(policy, person("alice"), both, rosterOf(bob))
		wantEqual(t, "what is said of the earlier", tally.Decisions[1], DecisionCount{Why: "replaced by a later decision of the same person"})
		wantEqual(t, "quorum by the later", tally.Quorum, true)
	})
}

func TestLatestWordCountsInWhateverOrderItIsKept(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"))
	bob := standing("bob", "dbas")
	early, late := decided(bob, Deny, start), decided(bob, Approve, after(time.Second))
	for _, decisions := range [][]Decision{{early, late}, {late, early}} {
		tally := Count(policy, person("alice"), decisions, rosterOf(bob))
		wantEqual(t, "quorum and denied", []bool{tally.Quorum, tally.Denied}, []bool{true, false})
	}
	// At one and the same instant the one that was added last counts.
	late.At = early.At
	wantEqual(t, "denied", Count(policy, person("alice"), []Decision{late, early}, rosterOf(bob)).Denied, true)
}

func TestDenyThresholdIsAtLeastOne(t *testing.T) {
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	denials := []Decision{decided(bob, Deny, start), decided(carol, Deny, start)}
	for threshold, want := range map[int][]bool{-1: {false, true, true}, 0: {false, true, true}, 1: {false, true, true}, 2: {false, false, true}, 3: {false, false, false}} {
		policy := prod(rule("dba", 1, "dbas"))
		policy.DenyThreshold = threshold
		for n, denied := range want {
			tally := Count(policy, person("alice"), denials[:n], rosterOf(bob, carol))
			if tally.Denied != denied || tally.Denials != n || tally.DenyThreshold != max(1, threshold) {
				t.Errorf("threshold %d, %d denials: %+v; denied must be %t", threshold, n, tally, denied)
			}
		}
	}
}

func TestZeroValuesNeverMakeAQuorum(t *testing.T) {
	bob := standing("bob", "dbas", "")
	approvals := []Decision{decided(bob, Approve, start)}
	for name, policy := range map[string]Policy{
		"no policy":                   {},
		"no rules":                    prod(),
		"a rule of nothing":           prod(Rule{}),
		"a rule of no approvals":      prod(rule("dba", 0, "dbas")),
		"a rule of minus one":         prod(rule("dba", -1, "dbas")),
		"a rule of no groups":         prod(rule("dba", 1)),
		"one rule good, one of none":  prod(rule("dba", 1, "dbas"), rule("lead", 0, "leads")),
		"one rule good, one negative": prod(rule("dba", 1, "dbas"), rule("lead", -1, "leads")),
	} {
		if Count(policy, person("alice"), approvals, rosterOf(bob)).Quorum || Count(policy, person("alice"), nil, nil).Quorum {
			t.Errorf("%s: there is a quorum", name)
		}
	}
	good := prod(rule("dba", 1, "dbas"))
	for name, roster := range map[string]Roster{
		"no roster":           nil,
		"empty roster":        {},
		"roster of zeros":     {bob.EntityID: Standing{}},
		"exists but nowhere":  {bob.EntityID: Standing{Exists: true}},
		"in the group of old": {bob.EntityID: Standing{Groups: []string{"dbas"}}},
	} {
		if Count(good, person("alice"), approvals, roster).Quorum {
			t.Errorf("%s: there is a quorum", name)
		}
	}
	if (Tally{}).Quorum || Count(good, Person{}, []Decision{{}}, rosterOf(bob)).Quorum {
		t.Error("the zero tally or decision is a quorum")
	}
}

func TestMissingSaysWhoCanGiveWhat(t *testing.T) {
	unmet := RuleTally{Rule: rule("dba", 3, "dbas", "leads"), Counted: 1}
	many := make([]Person, 12)
	for i := range many {
		many[i] = person(fmt.Sprintf("p%d", i))
	}
	for _, c := range []struct {
		rule       RuleTally
		candidates []Person
		want       string
	}{
		{RuleTally{Rule: unmet.Rule, Counted: 3, Satisfied: true}, many, ""},
		{unmet, nil, `rule "dba" has 1 of 3 approvals; it needs 2 more from approver group "dbas" or "leads"`},
		{unmet, many[:1], `rule "dba" has 1 of 3 approvals; it needs 2 more from approver group "dbas" or "leads" (p0 can approve)`},
		{unmet, many[:11], `rule "dba" has 1 of 3 approvals; it needs 2 more from approver group "dbas" or "leads" (p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, 1 more can approve)`},
		{unmet, many[:2], `rule "dba" has 1 of 3 approvals; it needs 2 more from approver group "dbas" or "leads" (p0, p1 can approve)`},
		{unmet, many[:10], `rule "dba" has 1 of 3 approvals; it needs 2 more from approver group "dbas" or "leads" (p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 can approve)`},
		{unmet, many, `rule "dba" has 1 of 3 approvals; it needs 2 more from approver group "dbas" or "leads" (p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, 2 more can approve)`},
		// A rule that asks for nothing is never met, and the sentence still says that something is needed.
		{RuleTally{Rule: rule("none", 0, "dbas")}, nil, `rule "none" has 0 of 0 approvals; it needs 1 more from approver group "dbas"`},
	} {
		wantEqual(t, "sentence", c.rule.Missing(c.candidates), c.want)
	}
}
