package approval

import "slices"

// assign gives as many people as possible a rule of their own choice, and tells for each person which: a maximum
// bipartite matching in which rule i has room for room[i] people (augmenting paths, one person at a time).
// can[p] lists the rules that person p could count for. The answer is -1 for a person who got none.
//
// A greedy count, first come first served, would refuse a quorum that stands: with rules "1 of {A,B}" and "1 of {A}",
// approvals by A and then B would put A on the first rule and leave nobody for the second.
func assign(room []int, can [][]int) []int {
	seated := make([][]int, len(room))
	var seat func(person int, tried []bool) bool
	seat = func(person int, tried []bool) bool {
		for _, rule := range can[person] {
			if tried[rule] {
				continue
			}
			tried[rule] = true
			if len(seated[rule]) < room[rule] {
				seated[rule] = append(seated[rule], person)
				return true
			}
			for i, sitting := range seated[rule] {
				if seat(sitting, tried) {
					seated[rule][i] = person
					return true
				}
			}
		}
		return false
	}
	for person := range can {
		seat(person, make([]bool, len(room)))
	}
	rules := slices.Repeat([]int{-1}, len(can))
	for rule, sitting := range seated {
		for _, person := range sitting {
			rules[person] = rule
		}
	}
	return rules
}
