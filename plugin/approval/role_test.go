package approval

import (
	"math"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/refusal/refusaltest"
)

func TestRoleThatNobodyGuardsOrThatGivesNothingIsRefusedAtItsField(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Role)
		refusal string
	}{
		{"as it is", func(*Role) {}, ""},
		{"the zero role", func(r *Role) { *r = Role{} }, "policy: it is empty; name the policy that guards this role"},
		{"no policy", func(r *Role) { r.Policy = "" }, "policy: it is empty"},
		{"no grant", func(r *Role) { r.Gives = grant.Stored{} }, "grant_type: it is empty; say what the role gives"},
		{"a grant that could give nothing", func(r *Role) { r.Gives.Spec = grant.Secret{} }, `operation: it is ""`},
		{"no requesters", func(r *Role) { r.RequesterEntityIDs = []string{} }, ""},
		{"a requester without id", func(r *Role) { r.RequesterEntityIDs = []string{"a", ""} }, "requester_entity_ids[1]: it is empty"},
		{"a requester group without id", func(r *Role) { r.RequesterIdentityGroupIDs = []string{""} }, "requester_identity_group_ids[0]: it is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			role := dba()
			c.change(&role)
			err := role.Validate()
			if c.refusal != "" {
				refusaltest.WantAt(t, err, c.refusal)
			} else if err != nil {
				t.Fatalf("refused: %v", err)
			}
		})
	}
}

// The policy's name is compared by itself; a new description or new requesters void no request.
func TestFingerprintOfARoleCoversWhatItGivesAndNothingElse(t *testing.T) {
	fingerprint := func(change func(*Role)) string {
		role := dba()
		change(&role)
		now, err := role.Now("entity-alice", nil)
		if err != nil {
			t.Fatal(err)
		}
		return now.Fingerprint
	}
	base := fingerprint(func(*Role) {})
	for name, change := range map[string]func(*Role){
		"path":           func(r *Role) { changeSecret(r, func(s *grant.Secret) { s.Path = "database/creds/root" }) },
		"grant_policies": func(r *Role) { changeSecret(r, func(s *grant.Secret) { s.GrantPolicies = []string{"more"} }) },
		"allow_unleased": func(r *Role) { changeSecret(r, func(s *grant.Secret) { s.AllowUnleased = true }) },
	} {
		if fingerprint(change) == base {
			t.Errorf("it is the same with another %s", name)
		}
	}
	for name, change := range map[string]func(*Role){
		"name":        func(r *Role) { r.Name = "x" },
		"policy":      func(r *Role) { r.Policy = "x" },
		"requesters":  func(r *Role) { r.RequesterEntityIDs = []string{"x"} },
		"description": func(r *Role) { r.Description = "x" },
		"revision":    func(r *Role) { r.Version = 2 },
	} {
		if fingerprint(change) != base {
			t.Errorf("it is another with another %s, which gives nothing", name)
		}
	}
}

func TestRoleSaysWhoMayAskForItNow(t *testing.T) {
	role := dba()
	role.RequesterIdentityGroupIDs = []string{"g1"}
	for groups, want := range map[string]bool{"g1": true, "g2": false} {
		now, err := role.Now("entity-alice", []string{groups})
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "role as of now", *now, RoleNow{Policy: "prod", Fingerprint: now.Fingerprint, MayAsk: want})
	}
}

func TestRoleWithoutFingerprintIsAFault(t *testing.T) {
	nothing, odd := dba(), dba()
	nothing.Gives = grant.Stored{}
	changeSecret(&odd, func(s *grant.Secret) { s.Operation, s.Data = grant.Write, map[string]any{"a": math.NaN()} })
	for want, role := range map[string]Role{`role "dba" gives nothing`: nothing, `role "dba": encoding a grant specification`: odd} {
		now, err := role.Now("entity-alice", nil)
		wantRefusal(t, err, want)
		wantEqual(t, "role as of now", now, nil)
	}
	question := asking(prod(rule("dba", 1, "dbas")))
	question.Role = odd
	_, err := New(requestID, question, start)
	wantRefusal(t, err, "encoding a grant specification")
}

func TestRoleMayBeAskedByItsRequestersOrByAnyoneIfItNamesNone(t *testing.T) {
	open, closed := dba(), dba()
	closed.RequesterEntityIDs, closed.RequesterIdentityGroupIDs = []string{"alice"}, []string{"g1"}
	onlyGroups := dba()
	onlyGroups.RequesterIdentityGroupIDs = []string{"g1"}
	onlyEntities := dba()
	onlyEntities.RequesterEntityIDs = []string{"alice"}
	for _, c := range []struct {
		name   string
		role   Role
		entity string
		groups []string
		want   bool
	}{
		{"open", open, "mallory", nil, true},
		{"named", closed, "alice", nil, true},
		{"by group", closed, "bob", []string{"g0", "g1"}, true},
		{"stranger", closed, "mallory", []string{"g0"}, false},
		{"nobody", closed, "", nil, false},
		{"only groups, stranger", onlyGroups, "alice", nil, false},
		{"only groups, member", onlyGroups, "alice", []string{"g1"}, true},
		{"only entities, stranger", onlyEntities, "bob", []string{"alice"}, false},
		{"only entities, named", onlyEntities, "alice", nil, true},
	} {
		if got := c.role.MayBeAskedBy(c.entity, c.groups); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	for name, c := range map[string]struct {
		role Role
		want bool
	}{"open": {open, true}, "closed": {closed, false}, "only groups": {onlyGroups, false}, "only entities": {onlyEntities, false}} {
		wantEqual(t, "open to all: "+name, c.role.OpenToAll(), c.want)
	}
}
