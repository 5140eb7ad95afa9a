package approval

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func members(names ...string) Members {
	var m Members
	for _, name := range names {
		m.People = append(m.People, standing(name))
	}
	return m
}

func drawCensus(t *rapid.T) Census {
	census := Census{}
	for _, group := range someGroups {
		names := rapid.SliceOfNDistinct(rapid.SampledFrom(someDeciders), 0, 4, rapid.ID[string]).Draw(t, "members")
		m := members(names...)
		for i := range m.People {
			m.People[i].Disabled = rapid.IntRange(0, 9).Draw(t, "disabled") == 0
		}
		census[group] = m
	}
	return census
}

// meetable tries every assignment of the people in the census, but for the one left out, to see whether a policy could be met.
func meetable(policy Policy, census Census, leftOut string) bool {
	inGroups := map[string][]string{}
	var names []string
	for group, m := range census {
		for _, s := range m.People {
			if s.Disabled || s.EntityID == leftOut || (s.Name == "alice" && !policy.AllowSelfApproval) {
				continue
			}
			if inGroups[s.EntityID] == nil {
				names = append(names, s.EntityID)
			}
			inGroups[s.EntityID] = append(inGroups[s.EntityID], group)
		}
	}
	var can [][]int
	for _, name := range names {
		can = append(can, policy.eligible(inGroups[name]))
	}
	needed := 0
	for _, rule := range policy.Rules {
		needed += rule.Approvals
	}
	return mostSeated(policy.room(), can) == needed
}

func TestCheckAgreesWithEveryAssignmentThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := prod(drawRules(t, 1)...)
		policy.AllowSelfApproval = rapid.Bool().Draw(t, "allow_self_approval")
		census := drawCensus(t)

		prospect := Check(policy, person("alice"), census)

		satisfiable := meetable(policy, census, "")
		wantEqual(t, "satisfiable", prospect.Satisfiable, satisfiable)
		wantEqual(t, "known", prospect.Known, true)
		wantEqual(t, "number of rules", len(prospect.Rules), len(policy.Rules))
		for _, name := range someDeciders {
			depends := slices.ContainsFunc(prospect.DependsOn, func(p Person) bool { return p.Name == name })
			wantEqual(t, "depends on "+name, depends, satisfiable && !meetable(policy, census, person(name).EntityID))
		}
		if !satisfiable {
			return
		}
		for i, rule := range prospect.Rules {
			wantEqual(t, "rule satisfiable", rule.Satisfiable, true)
			// As many more approvals could this rule ask for, and no more.
			wider := policy
			wider.Rules = slices.Clone(policy.Rules)
			wider.Rules[i].Approvals += rule.Spare
			if !meetable(wider, census, "") {
				t.Fatalf("%s has no %d to spare", rule.Name, rule.Spare)
			}
			wider.Rules[i].Approvals++
			if meetable(wider, census, "") {
				t.Fatalf("%s has more than %d to spare", rule.Name, rule.Spare)
			}
		}
	})
}

func TestCheckSaysHowARuleStands(t *testing.T) {
	type want struct {
		satisfiable bool
		spare       int
		candidates  []string
	}
	for _, c := range []struct {
		name      string
		policy    Policy
		census    Census
		all       bool
		rules     []want
		dependsOn []string
	}{
		{"nobody to spare", prod(rule("dba", 2, "dbas")), Census{"dbas": members("bob", "carol")}, true,
			[]want{{true, 0, []string{"bob", "carol"}}}, []string{"bob", "carol"}},
		{"one to spare", prod(rule("dba", 2, "dbas")), Census{"dbas": members("bob", "carol", "dave")}, true,
			[]want{{true, 1, []string{"bob", "carol", "dave"}}}, nil},
		{"two lacking", prod(rule("dba", 3, "dbas")), Census{"dbas": members("bob")}, false,
			[]want{{false, -2, []string{"bob"}}}, nil},
		{"two rules for the same one", prod(rule("dba", 1, "dbas"), rule("lead", 1, "leads")), Census{"dbas": members("bob"), "leads": members("bob")}, false,
			[]want{{false, -1, []string{"bob"}}, {false, -1, []string{"bob"}}}, nil},
		{"two rules that share one of three", prod(rule("dba", 1, "dbas"), rule("lead", 1, "leads")), Census{"dbas": members("bob", "carol"), "leads": members("carol", "dave")}, true,
			[]want{{true, 1, []string{"bob", "carol"}}, {true, 1, []string{"carol", "dave"}}}, nil},
		{"one rule leaves the other only one", prod(rule("either", 1, "dbas", "leads"), rule("dba", 1, "dbas")), Census{"dbas": members("bob"), "leads": members("carol")}, true,
			[]want{{true, 0, []string{"bob", "carol"}}, {true, 0, []string{"bob"}}}, []string{"bob", "carol"}},
		{"one rule can be met, the other not", prod(rule("dba", 1, "dbas"), rule("lead", 1, "leads")), Census{"dbas": members("bob")}, false,
			[]want{{true, 0, []string{"bob"}}, {false, -1, nil}}, nil},
		{"the requester does not count", prod(rule("dba", 1, "dbas")), Census{"dbas": members("alice")}, false,
			[]want{{false, -1, nil}}, nil},
		{"nor does another entity of his", prod(rule("dba", 1, "dbas")), Census{"dbas": {People: []Standing{merged(standing("bob"), "alice")}}}, false,
			[]want{{false, -1, nil}}, nil},
		{"nor who does not exist", prod(rule("dba", 1, "dbas")), Census{"dbas": {People: []Standing{{Person: person("bob")}}}}, false,
			[]want{{false, -1, nil}}, nil},
		{"one person in a group twice", prod(rule("dba", 2, "dbas")), Census{"dbas": members("bob", "bob")}, false,
			[]want{{false, -1, []string{"bob"}}}, nil},
		{"one person in both groups of a rule", prod(rule("dba", 2, "dbas", "leads")), Census{"dbas": members("bob"), "leads": members("bob")}, false,
			[]want{{false, -1, []string{"bob"}}}, nil},
		{"a group nobody asks about", prod(rule("dba", 1, "dbas")), Census{"leads": members("bob")}, false,
			[]want{{false, -1, nil}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			prospect := Check(c.policy, person("alice"), c.census)
			wantEqual(t, "satisfiable", prospect.Satisfiable, c.all)
			for i, rule := range prospect.Rules {
				var names []string
				for _, candidate := range rule.Candidates {
					names = append(names, candidate.Name)
				}
				wantEqual(t, rule.Name, want{rule.Satisfiable, rule.Spare, names}, c.rules[i])
			}
			var names []string
			for _, someone := range prospect.DependsOn {
				names = append(names, someone.Name)
			}
			wantEqual(t, "depends on", names, c.dependsOn)
		})
	}
}

func TestCheckCountsTheRequesterWhereThePolicyDoes(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"))
	census := Census{"dbas": members("alice")}
	wantEqual(t, "satisfiable for alice", Check(policy, person("alice"), census).Satisfiable, false)
	wantEqual(t, "satisfiable for anybody", Check(policy, Person{}, census).Satisfiable, true)
	policy.AllowSelfApproval = true
	wantEqual(t, "satisfiable for alice, who may", Check(policy, person("alice"), census).Satisfiable, true)
}

func TestCheckTellsUnknownFromNo(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"), rule("lead", 1, "leads", "security"))
	unreadable := Members{Unknown: []string{"g1"}}
	for _, c := range []struct {
		name         string
		census       Census
		known, first bool
		second       bool
	}{
		{"all known", Census{"dbas": members("bob"), "leads": {}, "security": {}}, true, true, true},
		{"one group unreadable", Census{"dbas": members("bob"), "leads": {}, "security": unreadable}, false, true, false},
		{"the first group unreadable", Census{"dbas": unreadable, "leads": {}, "security": {}}, false, false, true},
		{"a group not looked at", Census{"dbas": members("bob"), "leads": {}}, false, true, false},
		{"nothing looked at", nil, false, false, false},
		// bob is needed for both rules, unless somebody unknown can take the second.
		{"somebody unknown could make way", Census{"dbas": members("bob"), "leads": {People: members("bob").People, Unknown: []string{"g1"}}, "security": {}}, false, false, false},
		{"nobody unknown could help", Census{"dbas": {}, "leads": {People: members("bob").People, Unknown: []string{"g1"}}, "security": {}}, false, true, false},
		{"both need the same one, and all are known", Census{"dbas": members("bob"), "leads": members("bob"), "security": {}}, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			prospect := Check(policy, Person{}, c.census)
			wantEqual(t, "known", []bool{prospect.Known, prospect.Rules[0].Known, prospect.Rules[1].Known}, []bool{c.known, c.first, c.second})
			wantEqual(t, "satisfiable", prospect.Satisfiable, false)
		})
	}
}

func TestCheckOfZeroValuesPromisesNothing(t *testing.T) {
	census := Census{"dbas": members("bob", "carol"), "": members("dave")}
	for name, policy := range map[string]Policy{
		"no policy":                    {},
		"no rules":                     prod(),
		"a rule of nothing":            prod(Rule{}),
		"a rule of no approvals":       prod(rule("dba", 0, "dbas")),
		"a rule of minus one":          prod(rule("dba", -1, "dbas")),
		"a good rule and one of none":  prod(rule("a", 1, "dbas"), rule("b", 0, "dbas")),
		"a good rule and one negative": prod(rule("a", 1, "dbas"), rule("b", -1, "dbas")),
		"two that add up to nothing":   prod(rule("a", 2, "leads"), rule("b", -2, "dbas")),
	} {
		prospect := Check(policy, Person{}, census)
		if prospect.Satisfiable || prospect.DependsOn != nil {
			t.Errorf("%s: %+v", name, prospect)
		}
	}
	zero := Check(prod(rule("dba", 0, "dbas")), Person{}, census)
	wantEqual(t, "a rule of no approvals is satisfiable", zero.Rules[0].Satisfiable, false)
}

func BenchmarkWhoCanStillApprove(b *testing.B) {
	census := Census{}
	policy := prod(rule("a", 20, "dbas"), rule("b", 20, "dbas", "leads"), rule("c", 20, "leads"))
	for _, group := range []string{"dbas", "leads"} {
		var m Members
		for i := range 2 * MaxApprovals {
			m.People = append(m.People, standing(group[:1]+string(rune('a'+i%26))+string(rune('a'+i/26))))
		}
		census[group] = m
	}
	r := newRequest(b, policy)
	world := worldOf(r)
	world.Census = census
	for b.Loop() {
		Judge(r, world, start)
	}
}
