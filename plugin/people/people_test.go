package people_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// Each question costs about as much as a read of the storage.
func TestEachQuestionIsAskedOnceACall(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob", "carol")
	ctx, all := t.Context(), []string{"named", "through"}
	windows := 0
	f.MaxWindow = func() time.Duration { windows++; return time.Hour }
	f.directory.Asked.Store(0)

	lookup := f.lookup()
	_, err := lookup.Caller("carol", []string{"g-audit"})
	must(t, err)
	f.wantAsked(2, "who calls, and their identity groups")
	for range 2 {
		_, err = lookup.Caller("carol", []string{"g-audit"})
		must(t, err)
		_, err = lookup.Entity("carol")
		must(t, err)
		_, err = lookup.IdentityGroups("carol", []string{"g-dba"})
		must(t, err)
		_, err = lookup.Standing(ctx, "carol", all)
		must(t, err)
	}
	f.wantAsked(0, "the same again")
	for i := range 2 {
		_, err = lookup.World(ctx, r)
		must(t, err)
		// alice; bob, who is in "named" by himself and may be in "through" by an identity group
		f.wantAsked([]int64{3, 0}[i], "the world")
	}
	if windows != 1 {
		t.Errorf("the longest lease was asked for %d times", windows)
	}
	_, err = lookup.Entity("nobody")
	must(t, err)
	_, err = lookup.Entity("nobody")
	must(t, err)
	f.wantAsked(1, "somebody unknown, twice")

	// The next call must not go by what was so in the one before.
	_, err = f.lookup().Caller("carol", []string{"g-audit"})
	must(t, err)
	f.wantAsked(2, "the next call")
}

func TestLookupAsksOnlyWhatMatters(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.lookup().Caller("bob", nil)
	must(t, err)
	f.wantAsked(1, "without auditors, nobody's identity groups matter")
	_, err = f.lookup().Caller("", []string{"g-audit"})
	wantRefusal(t, err, "no entity")
	f.wantAsked(0, "without an entity")
	_, err = f.lookup().Standing(ctx, "bob", []string{"named"})
	must(t, err)
	f.wantAsked(1, "a group without identity groups")
	f.setGroup("both", []string{"bob"}, []string{"g-dba"})
	_, err = f.lookup().Standing(ctx, "bob", []string{"both"})
	must(t, err)
	f.wantAsked(1, "a group that names the entity")
	_, err = f.lookup().Standing(ctx, "nobody", []string{"named", "through"})
	must(t, err)
	f.wantAsked(1, "somebody unknown is in no group")
}

func TestCallerWithoutALivingEntityIsRefused(t *testing.T) {
	f := newFixture(t)
	f.directory.Entities["disabled"] = &logical.Entity{ID: "disabled", Name: "disabled", Disabled: true}
	f.directory.Entities["merged"] = f.directory.Entities["alice"] // an old token presents the old id
	f.directory.Groups["disabled"], f.directory.Groups["merged"] = []string{"g-audit"}, []string{"g-audit"}
	for id, words := range map[string]string{
		"": "no entity", "deleted": "no longer exists", "merged": "no longer exists", "disabled": "is disabled",
	} {
		who, err := f.lookup().Caller(id, []string{"g-audit"})
		wantRefusal(t, err, words)
		if !reflect.DeepEqual(who, people.Caller{}) {
			t.Errorf("with %q the caller is %+v", id, who)
		}
	}
	standing, err := f.lookup().Entity("merged")
	must(t, err)
	if standing.Exists || standing.Name != "" || len(standing.Aliases) > 0 {
		t.Errorf("of somebody merged away it is said %+v", standing)
	}
}

func TestACallerIsKnownByTheirLogins(t *testing.T) {
	f := newFixture(t)
	who, err := f.lookup().Caller("bob", nil)
	must(t, err)
	want := approval.Standing{
		Person: approval.Person{EntityID: "bob", Name: "bob", Aliases: []approval.Alias{
			{MountAccessor: "oidc", Name: "bob"}, {MountAccessor: "userpass", Name: "bob-2"},
		}},
		Exists: true, Metadata: map[string]string{"team": "t-bob"},
	}
	if !reflect.DeepEqual(who.Standing, want) {
		t.Errorf("bob is %+v, it should be %+v", who.Standing, want)
	}
	f.directory.Entities["machine"] = &logical.Entity{ID: "machine", Name: "entity-1"}
	if who, err = f.lookup().Caller("machine", nil); err != nil || who.Name != "entity-1" {
		t.Errorf("without a login the name is %q, %v", who.Name, err)
	}
}

func TestAuditorsAreWhoeverIsInTheirIdentityGroups(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		id     string
		groups []string
		want   bool
	}{
		{"audrey", []string{"g-audit"}, true},
		{"audrey", []string{"g-none", "g-audit"}, true},
		{"audrey", []string{"g-none"}, false},
		{"audrey", nil, false},
		{"carol", []string{"g-audit"}, false},
		{"bob", []string{"g-audit"}, false},
		{"bob", []string{"bob", ""}, false},
	} {
		who, err := f.lookup().Caller(c.id, c.groups)
		must(t, err)
		if who.Auditor != c.want {
			t.Errorf("%s is an auditor by %q: %v", c.id, c.groups, who.Auditor)
		}
	}
}

func TestStandingIsByEntityAndByIdentityGroup(t *testing.T) {
	f := newFixture(t)
	f.setGroup("both", []string{"bob"}, []string{"g-dba", "g-audit"})
	all := []string{"named", "deleted", "through", "both"}
	for id, want := range map[string][]string{
		"bob": {"named", "both"}, "carol": {"through", "both"}, "audrey": {"both"}, "mallory": nil, "deleted": nil,
	} {
		standing, err := f.lookup().Standing(t.Context(), id, all)
		must(t, err)
		if !slices.Equal(standing.Groups, want) {
			t.Errorf("%s is in %q, it should be %q", id, standing.Groups, want)
		}
		if id == "deleted" {
			continue
		}
		who, err := f.lookup().Caller(id, nil)
		must(t, err)
		everywhere, err := who.Everywhere(t.Context())
		must(t, err)
		if slices.Sort(want); !slices.Equal(everywhere.Groups, want) {
			t.Errorf("%s is everywhere in %q, it should be %q", id, everywhere.Groups, want)
		}
	}
	// Only the groups of the request matter to it.
	standing, err := f.lookup().Standing(t.Context(), "bob", []string{"through"})
	must(t, err)
	if len(standing.Groups) > 0 {
		t.Errorf("bob is in %q", standing.Groups)
	}
	// One id must not reach the group by leaving something out.
	f.directory.Groups["mallory"] = []string{"", "named"}
	standing, err = f.lookup().Standing(t.Context(), "mallory", all)
	must(t, err)
	if len(standing.Groups) > 0 {
		t.Errorf("mallory is in %q", standing.Groups)
	}
}

func TestMembershipIsCheckedAsOfTheCall(t *testing.T) {
	f := newFixture(t)
	f.directory.Groups["carol"] = nil
	f.setGroup("named", []string{"mallory"}, nil)
	for id, want := range map[string][]string{"bob": nil, "carol": nil, "mallory": {"named"}} {
		standing, err := f.lookup().Standing(t.Context(), id, []string{"named", "through"})
		must(t, err)
		if !slices.Equal(standing.Groups, want) {
			t.Errorf("%s is in %q, it should be %q", id, standing.Groups, want)
		}
	}
}

func TestRequestIsSeenByRequesterApproversAndAuditors(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob")
	f.setGroup("named", []string{"somebody-else"}, nil)
	for id, want := range map[string]bool{"alice": true, "bob": true, "carol": true, "audrey": true, "mallory": false} {
		who, err := f.lookup().Caller(id, []string{"g-audit"})
		must(t, err)
		standing, maySee, err := who.ForRequest(t.Context(), r)
		must(t, err)
		if maySee != want || standing.EntityID != id {
			t.Errorf("%s may see it: %v, with the standing of %q", id, maySee, standing.EntityID)
		}
	}
}

func TestTheZeroCallerMaySeeNothing(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob")
	for _, who := range []people.Caller{{}, {Auditor: true}} {
		standing, maySee, err := who.ForRequest(t.Context(), r)
		if maySee || err != nil || standing.Exists {
			t.Errorf("it may see a request: %v, as %+v, %v", maySee, standing, err)
		}
		standing, err = who.Everywhere(t.Context())
		if err != nil || standing.Exists || len(standing.Groups) > 0 {
			t.Errorf("it has a standing: %+v, %v", standing, err)
		}
	}
}

// One damaged group must not take the lists away from everybody, nor put anybody into it.
func TestAGroupThatCannotBeReadIsNobodys(t *testing.T) {
	f := newFixture(t)
	f.setGroup("other", []string{"bob"}, nil)
	f.spoil("group/named")
	who, err := f.lookup().Caller("bob", nil)
	must(t, err)
	standing, err := who.Everywhere(t.Context())
	must(t, err)
	if !slices.Equal(standing.Groups, []string{"other"}) {
		t.Errorf("bob is in %q", standing.Groups)
	}
	// A request that depends on the group cannot be judged, which is said.
	if _, maySee, err := who.ForRequest(t.Context(), f.request()); maySee || !errors.Is(err, store.ErrUnreadable) {
		t.Errorf("bob may see a request: %v, %v", maySee, err)
	}
}

func TestAnErrorOfTheDirectoryIsNeverAnAnswer(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob", "carol")
	ctx, all := t.Context(), []string{"named", "through"}
	whole, err := f.lookup().Caller("carol", nil)
	must(t, err)
	broken := errors.New("the identity store is sealed")
	f.directory.Error = broken
	lookup := f.lookup()
	for name, ask := range map[string]func() (answer any, err error){
		"entity":          func() (any, error) { return lookup.Entity("bob") },
		"identity groups": func() (any, error) { return lookup.IdentityGroups("carol", []string{"g-dba"}) },
		"standing":        func() (any, error) { return lookup.Standing(ctx, "bob", all) },
		"caller":          func() (any, error) { return lookup.Caller("audrey", []string{"g-audit"}) },
		"world":           func() (any, error) { return lookup.World(ctx, r) },
		"for a request": func() (any, error) {
			_, maySee, err := whole.ForRequest(ctx, r)
			return maySee, err
		},
		"everywhere": func() (any, error) { return whole.Everywhere(ctx) },
		"census":     func() (any, error) { return lookup.Census(ctx, []string{"named"}) },
	} {
		answer, err := ask()
		if !errors.Is(err, broken) || refusal.Of(err) != nil || !strings.Contains(err.Error(), "looking up") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if !reflect.ValueOf(answer).IsZero() {
			t.Errorf("%s: the answer is %+v", name, answer)
		}
	}
	// An error is not remembered as an answer.
	f.directory.Error = nil
	standing, err := lookup.Standing(ctx, "carol", all)
	if err != nil || !slices.Equal(standing.Groups, []string{"through"}) {
		t.Errorf("afterwards carol is in %q, %v", standing.Groups, err)
	}
}
