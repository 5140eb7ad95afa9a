package docs_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

var (
	exampleRow  = regexp.MustCompile(`^\| (.* of \{.*) \| (.*) \| (yes|no) \|$`)
	exampleRule = regexp.MustCompile("`(\\d+) of \\{([^}]*)\\}`")
)

func TestQuorumExamplesAreRight(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/concepts.md")
	checked := 0
	for _, line := range p.lines {
		row := exampleRow.FindStringSubmatch(line)
		if row == nil {
			continue
		}
		checked++
		policy, roster := approval.Policy{DenyThreshold: 1}, approval.Roster{}
		for i, rule := range exampleRule.FindAllStringSubmatch(row[1], -1) {
			approvals, err := strconv.Atoi(rule[1])
			must(t, err)
			group := fmt.Sprint("group", i)
			policy.Rules = append(policy.Rules, approval.Rule{Name: group, ApproverGroups: []string{group}, Approvals: approvals})
			for name := range strings.SplitSeq(rule[2], ", ") {
				standing := roster[name]
				standing.EntityID, standing.Exists = name, true
				standing.Groups = append(standing.Groups, group)
				roster[name] = standing
			}
		}
		var decisions []approval.Decision
		for name := range strings.SplitSeq(row[2], ", ") {
			decisions = append(decisions, approval.Decision{Approver: roster[name].Person, Verdict: approval.Approve})
		}
		verdict := approval.Count(policy, approval.Person{EntityID: "alice"}, decisions, roster)
		if (row[3] == "yes") != verdict.Quorum {
			t.Errorf("%s: %s: the core says %t", p.path, line, verdict.Quorum)
		}
	}
	if checked == 0 {
		t.Errorf("%s: there is no example", p.path)
	}
}
