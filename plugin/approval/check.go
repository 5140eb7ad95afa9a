package approval

import "slices"

// Census is who belongs to each approver group, as far as that can be known.
type Census map[string]Members

// Members are the people of one approver group.
type Members struct {
	People []Standing
	// Unknown names the identity groups whose members could not be read; the true number may be higher.
	Unknown []string
}

// Prospect says whether a policy could ever be met with the people there are.
type Prospect struct {
	// Satisfiable is true when all rules can be met at once by distinct people who are known.
	Satisfiable bool
	// Known is false when some group's members could not be read, or were not, so that Satisfiable false means "cannot tell".
	Known bool
	// DependsOn lists the people without whom the policy could not be met.
	DependsOn []Person
	Rules     []RuleProspect
}

// RuleProspect is the outlook of one rule.
type RuleProspect struct {
	Rule
	Satisfiable bool
	Known       bool
	// Candidates can count for the rule.
	Candidates []Person
	// Spare is how many more people than needed the rule could have while every other rule is met; negative when some are lacking.
	Spare int
}

// Check evaluates a policy against everybody who could approve, the given requester left out (the zero Person leaves out nobody).
func Check(policy Policy, requester Person, census Census) Prospect {
	prospect := Prospect{Known: true}
	people, can := census.candidates(policy, requester)
	for i, rule := range policy.Rules {
		rp := RuleProspect{Rule: rule, Known: true}
		for _, group := range rule.ApproverGroups {
			members, counted := census[group]
			rp.Known = rp.Known && counted && len(members.Unknown) == 0
		}
		for n, person := range people {
			if slices.Contains(can[n], i) {
				rp.Candidates = append(rp.Candidates, person)
			}
		}
		// With all the room in the world for this rule, whoever the other rules do not need is free for it.
		wide, others := policy.room(), policy.room()
		wide[i], others[i] = len(people), 0
		rp.Spare = placed(wide, can) - placed(others, can) - rule.Approvals
		rp.Satisfiable = rule.Approvals > 0 && rp.Spare >= 0
		prospect.Known = prospect.Known && rp.Known
		prospect.Rules = append(prospect.Rules, rp)
	}
	for i, rule := range prospect.Rules {
		if len(rule.Candidates) >= rule.Approvals && !prospect.Known && !rule.Satisfiable {
			// Only the other rules take its people, and somebody unknown might do for those.
			prospect.Rules[i].Known = false
		}
	}
	// If each rule has enough people beside all the others, all have enough at once.
	prospect.Satisfiable = len(policy.Rules) > 0 && !slices.ContainsFunc(prospect.Rules, func(r RuleProspect) bool { return !r.Satisfiable })
	if prospect.Satisfiable {
		needed := placed(policy.room(), can)
		for n, rule := range assign(policy.room(), can) {
			// Whoever this assignment does without, the policy can do without.
			if rule >= 0 && placed(policy.room(), slices.Concat(can[:n], can[n+1:])) < needed {
				prospect.DependsOn = append(prospect.DependsOn, people[n])
			}
		}
	}
	return prospect
}

// candidates lists the distinct people in the policy's groups who can act, with the rules each could count for.
func (c Census) candidates(policy Policy, requester Person) (people []Person, can [][]int) {
	groups := map[string][]string{}
	for _, group := range policy.Groups() {
		for _, standing := range c[group].People {
			if standing.problem() != "" || (!policy.AllowSelfApproval && isSamePerson(standing.Person, requester)) {
				continue
			}
			if _, known := groups[standing.EntityID]; !known {
				people = append(people, standing.Person)
			}
			groups[standing.EntityID] = append(groups[standing.EntityID], group)
		}
	}
	for _, person := range people {
		can = append(can, policy.eligible(groups[person.EntityID]))
	}
	return people, can
}

// placed is how many people find a rule.
func placed(room []int, can [][]int) int {
	return len(slices.DeleteFunc(assign(room, can), func(rule int) bool { return rule < 0 }))
}
