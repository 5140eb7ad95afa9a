package approval

import (
	"testing"

	"pgregory.net/rapid"
)

// mostSeated tries every assignment: the largest number of people who can have a rule of their own choice.
func mostSeated(room []int, can [][]int) int {
	if len(can) == 0 {
		return 0
	}
	most := mostSeated(room, can[1:])
	for _, rule := range can[0] {
		if room[rule] < 1 {
			continue
		}
		room[rule]--
		most = max(most, 1+mostSeated(room, can[1:]))
		room[rule]++
	}
	return most
}

func TestAssignmentIsAsGoodAsTheBestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.SliceOfN(rapid.IntRange(-1, 3), 1, 4).Draw(t, "room")
		can := rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.IntRange(0, len(room)-1), 0, len(room), rapid.ID[int]), 0, 6).Draw(t, "can")

		rules := assign(room, can)

		wantEqual(t, "number of people asked for", len(rules), len(can))
		seated, taken := 0, make([]int, len(room))
		for person, rule := range rules {
			if rule == -1 {
				continue
			}
			seated++
			taken[rule]++
			fits := false
			for _, possible := range can[person] {
				fits = fits || possible == rule
			}
			if !fits {
				t.Fatalf("person %d counts for rule %d, but can only for %v", person, rule, can[person])
			}
		}
		for rule, n := range taken {
			if n > max(0, room[rule]) {
				t.Fatalf("rule %d holds %d people; it takes %d", rule, n, room[rule])
			}
		}
		wantEqual(t, "number of people with a rule", seated, mostSeated(room, can))
	})
}

func TestAssignmentMovesWholeChains(t *testing.T) {
	// Each newcomer displaces the one before, who can only move to the next rule.
	can := [][]int{{0, 1}, {0, 1, 2}, {0, 3}, {0}}
	wantEqual(t, "assignment", assign([]int{1, 1, 1, 1}, can), []int{1, 2, 3, 0})
}
