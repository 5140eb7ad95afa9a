package approval

import (
	"fmt"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/refusal/refusaltest"
)

func TestPolicyThatCouldNotBeMetOrLetsAnythingPassIsRefusedAtItsField(t *testing.T) {
	manyGroups := make([]string, MaxGroupsPerRule+1)
	for i := range manyGroups {
		manyGroups[i] = fmt.Sprintf("g%d", i)
	}
	manyRules := make([]Rule, MaxRules+1)
	for i := range manyRules {
		manyRules[i] = rule(fmt.Sprintf("r%d", i), 1, "dbas")
	}
	rules := func(rules ...Rule) func(*Policy) { return func(p *Policy) { p.Rules = rules } }
	for _, c := range []struct {
		name    string
		change  func(*Policy)
		refusal string
	}{
		{"as it is", func(*Policy) {}, ""},
		{"the zero policy", func(p *Policy) { *p = Policy{} }, "rules: it is empty; a policy needs at least one rule"},
		{"no rules", rules(), "rules: it is empty; a policy needs at least one rule"},
		{"as many rules as are accepted", rules(manyRules[1:]...), ""},
		{"one rule more", rules(manyRules...), "rules: it has 33 entries; at most 32 are accepted"},
		{"a rule without name", rules(rule("a", 1, "dbas"), rule("", 1, "dbas")), "rules[1].name: it is empty; every rule needs one"},
		{"two rules of one name", rules(rule("a", 1, "dbas"), rule("a", 2, "leads")), `rules[1].name: there are two rules "a"; give each a name of its own`},
		{"zero approvals", rules(rule("a", 0, "dbas")), `rules[0].approvals: it is 0 in rule "a"; it must be at least 1`},
		{"negative approvals", rules(rule("a", -1, "dbas")), `rules[0].approvals: it is -1 in rule "a"; it must be at least 1`},
		{"as many approvals as are accepted", rules(rule("a", 100, "dbas")), ""},
		{"one approval more", rules(rule("a", 101, "dbas")), `rules[0].approvals: it is 101 in rule "a"; at most 100 are accepted`},
		{"no groups", rules(rule("a", 1)), `rules[0].approver_groups: it is empty in rule "a"; name at least one approver group`},
		{"as many groups as are accepted", rules(rule("a", 1, manyGroups[1:]...)), ""},
		{"one group more", rules(rule("a", 1, manyGroups...)), `rules[0].approver_groups: it has 33 entries in rule "a"; at most 32 are accepted`},
		{"a group without name", rules(rule("a", 1, "dbas", "")), `rules[0].approver_groups[1]: it is empty in rule "a"`},
		{"a group twice", rules(rule("a", 1, "dbas", "leads", "dbas")), `rules[0].approver_groups[2]: it is "dbas", which rule "a" names twice`},
		{"the second rule is at fault", rules(rule("a", 1, "dbas"), rule("b", 0, "dbas")), `rules[1].approvals: it is 0 in rule "b"`},
		{"zero deny_threshold", func(p *Policy) { p.DenyThreshold = 0 }, "deny_threshold: it is 0; it must be at least 1"},
		{"negative deny_threshold", func(p *Policy) { p.DenyThreshold = -1 }, "deny_threshold: it is -1; it must be at least 1"},
		{"zero request_ttl", func(p *Policy) { p.RequestTTL = 0 }, "request_ttl: it is 0s"},
		{"negative request_ttl", func(p *Policy) { p.RequestTTL = -time.Hour }, "request_ttl: it is -1h0m0s"},
		{"request_ttl in parts of seconds", func(p *Policy) { p.RequestTTL = 1500 * time.Millisecond }, "request_ttl: it is 1.5s; it must be whole seconds and at least 1s"},
		{"zero claim_ttl", func(p *Policy) { p.ClaimTTL = 0 }, "claim_ttl: it is 0s"},
		{"shortest claim_ttl", func(p *Policy) { p.ClaimTTL = time.Second }, ""},
		{"claim_ttl below a second", func(p *Policy) { p.ClaimTTL = time.Second - 1 }, "claim_ttl: it is 999.999999ms"},
		{"zero max_ttl", func(p *Policy) { p.MaxTTL = 0 }, "max_ttl: it is 0s"},
		{"negative max_ttl", func(p *Policy) { p.MaxTTL = -1 }, "max_ttl: it is -1ns"},
		{"default_ttl given", func(p *Policy) { p.DefaultTTL = 8 * time.Hour }, ""},
		{"negative default_ttl", func(p *Policy) { p.DefaultTTL = -time.Second }, "default_ttl: it is -1s"},
		{"default_ttl below a second", func(p *Policy) { p.DefaultTTL = time.Millisecond }, "default_ttl: it is 1ms"},
		{"default_ttl above max_ttl", func(p *Policy) { p.DefaultTTL = 8*time.Hour + time.Second }, "default_ttl: it is 8h0m1s, which is longer than max_ttl (8h0m0s)"},
		{"a reason_pattern", func(p *Policy) { p.ReasonPattern = `INC-\d+` }, ""},
		{"a reason_pattern that is none", func(p *Policy) { p.ReasonPattern = "(" }, `reason_pattern: "(" is not a regular expression (RE2 syntax)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			policy := prod(rule("dba", 1, "dbas"))
			c.change(&policy)
			err := policy.Validate()
			if c.refusal != "" {
				refusaltest.WantAt(t, err, c.refusal)
			} else if err != nil {
				t.Fatalf("refused: %v", err)
			}
		})
	}
}

func TestNewPolicyIsStrictAndLacksOnlyRules(t *testing.T) {
	wantEqual(t, "policy", NewPolicy("prod"), Policy{
		Name: "prod", DenyThreshold: 1, RequireReason: true, RequestTTL: 8 * time.Hour, ClaimTTL: time.Hour, MaxTTL: 8 * time.Hour,
	})
	policy := NewPolicy("prod")
	refusaltest.WantAt(t, policy.Validate(), "rules: it is empty")
	policy.Rules = []Rule{rule("dba", 1, "dbas")}
	if err := policy.Validate(); err != nil {
		t.Errorf("refused: %v", err)
	}
}

func TestApproverGroupNobodyCouldBeInIsRefusedAtItsField(t *testing.T) {
	for _, c := range []struct {
		name    string
		group   ApproverGroup
		refusal string
	}{
		{"nothing", ApproverGroup{}, "entity_ids: it is empty, and so is identity_group_ids; name at least one entity or identity group"},
		{"empty lists", ApproverGroup{EntityIDs: []string{}, IdentityGroupIDs: []string{}}, "entity_ids: it is empty, and so is identity_group_ids"},
		{"an entity", ApproverGroup{EntityIDs: []string{"e"}}, ""},
		{"an identity group", ApproverGroup{IdentityGroupIDs: []string{"g"}}, ""},
		{"an entity without id", ApproverGroup{EntityIDs: []string{"e", ""}}, "entity_ids[1]: it is empty"},
		{"an identity group without id", ApproverGroup{EntityIDs: []string{"e"}, IdentityGroupIDs: []string{""}}, "identity_group_ids[0]: it is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.group.Validate()
			if c.refusal != "" {
				refusaltest.WantAt(t, err, c.refusal)
			} else if err != nil {
				t.Fatalf("refused: %v", err)
			}
		})
	}
}

func TestApproverGroupHoldsEntitiesAndMembersOfItsIdentityGroups(t *testing.T) {
	group := ApproverGroup{EntityIDs: []string{"bob", "carol"}, IdentityGroupIDs: []string{"g1", "g2"}}
	for _, c := range []struct {
		entity string
		groups []string
		want   bool
	}{
		{"carol", nil, true},
		{"dave", []string{"g0", "g2"}, true},
		{"dave", []string{"g0"}, false},
		{"dave", nil, false},
		{"", nil, false},
		// An entity id is not an identity group's id, nor the other way round.
		{"g1", []string{"bob"}, false},
	} {
		if got := group.Has(c.entity, c.groups); got != c.want {
			t.Errorf("Has(%q, %q) is %t", c.entity, c.groups, got)
		}
	}
	if (ApproverGroup{}).Has("", nil) || (ApproverGroup{}).Has("bob", []string{"g1"}) {
		t.Error("the zero group has a member")
	}
}

func TestDefaultWindowIsAnHourOrTheMaximumIfThatIsShorter(t *testing.T) {
	for _, c := range []struct{ given, maximum, want time.Duration }{
		{0, 8 * time.Hour, time.Hour},
		{0, time.Minute, time.Minute},
		{2 * time.Hour, 8 * time.Hour, 2 * time.Hour},
	} {
		policy := Policy{DefaultTTL: c.given, MaxTTL: c.maximum}
		wantEqual(t, "default window", policy.WindowDefault(), c.want)
	}
}

func TestGroupsOfAPolicyAreListedOnceInOrder(t *testing.T) {
	policy := prod(rule("a", 1, "leads", "dbas"), rule("b", 1, "dbas", "security"))
	wantEqual(t, "groups", policy.Groups(), []string{"leads", "dbas", "security"})
}

func TestRevisionCountsTheWritesAndNamesTheLastWriter(t *testing.T) {
	var revision Revision
	for n, writer := range []string{"token-a", "token-b"} {
		revision.Revise(start.Add(time.Duration(n)*time.Hour), writer)
		wantEqual(t, "the revision", revision, Revision{Version: n + 1, UpdatedAt: start.Add(time.Duration(n) * time.Hour).UTC().Round(0), UpdatedBy: writer})
	}
}
