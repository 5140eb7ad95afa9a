package people_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
	"github.com/vault-jit/vault-jit/plugin/store"
)

func TestTheWorldOfARequestIsWhatItDependsOnNow(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob", "carol")
	w, err := f.lookup().World(t.Context(), r)
	must(t, err)
	if w.Role == nil || w.Role.Policy != "two" || w.Role.Fingerprint != r.Ask.RoleFingerprint || !w.Role.MayAsk {
		t.Errorf("the role is %+v", w.Role)
	}
	if w.Policy == nil || !slices.Equal(w.Policy.Groups(), []string{"named", "through"}) || w.MaxWindow != 24*time.Hour {
		t.Errorf("the policy is %+v, the longest window %s", w.Policy, w.MaxWindow)
	}
	if !w.Requester.Exists || w.Requester.EntityID != "alice" || w.Census != nil {
		t.Errorf("the requester is %+v, the census %v", w.Requester, w.Census)
	}
	groups := map[string][]string{}
	for id, standing := range w.Roster {
		groups[id] = standing.Groups
		if !standing.Exists || standing.EntityID != id {
			t.Errorf("%s is %+v", id, standing)
		}
	}
	if want := map[string][]string{"alice": nil, "bob": {"named"}, "carol": {"through"}}; !reflect.DeepEqual(groups, want) {
		t.Errorf("the roster is %v, it should be %v", groups, want)
	}
	if !approval.Judge(r, w, time.Now()).Claimable {
		t.Error("the request cannot be claimed in it")
	}
	if f.asked > 0 {
		t.Error("Vault was asked over HTTP")
	}
}

// Whoever decided and is nobody now must not be missing by accident: what is not there is decided by the core.
func TestTheRosterHasEverybodyWhoDecidedAsTheyAreNow(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob", "carol")
	delete(f.directory.Entities, "bob")
	f.directory.Entities["carol"] = &logical.Entity{ID: "carol", Name: "carol", Disabled: true}
	w, err := f.lookup().World(t.Context(), r)
	must(t, err)
	bob, thereB := w.Roster["bob"]
	carol, thereC := w.Roster["carol"]
	if !thereB || bob.Exists || bob.EntityID != "bob" || !thereC || !carol.Disabled || len(w.Roster) != 3 {
		t.Errorf("the roster is %+v", w.Roster)
	}
	if approval.Judge(r, w, time.Now()).Claimable {
		t.Error("the request can be claimed by their approvals")
	}
}

func TestDeletedRoleAndPolicyAreMissingInTheWorld(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob", "carol")
	must(t, f.store.Roles.Delete(t.Context(), f.storage, "db"))
	must(t, f.store.Policies.Delete(t.Context(), f.storage, "two"))
	must(t, f.store.Groups.Delete(t.Context(), f.storage, "named"))
	delete(f.directory.Entities, "alice")
	w, err := f.lookup().World(t.Context(), r)
	must(t, err)
	if w.Role != nil || w.Policy != nil || w.Requester.Exists || w.Requester.EntityID != "alice" {
		t.Errorf("the world is %+v", w)
	}
	if bob := w.Roster["bob"]; !bob.Exists || len(bob.Groups) > 0 {
		t.Errorf("bob is %+v", bob)
	}
	if approval.Judge(r, w, time.Now()).Claimable {
		t.Error("the request can be claimed")
	}
}

func TestUnreadableDefinitionIsAnErrorOfTheWorld(t *testing.T) {
	for _, key := range []string{"role/db", "policy/two", "group/named"} {
		f := newFixture(t)
		r := f.request("bob")
		f.spoil(key)
		w, err := f.lookup().World(t.Context(), r)
		if !errors.Is(err, store.ErrUnreadable) || !reflect.DeepEqual(w, approval.World{}) {
			t.Errorf("with %s spoiled the world is %+v, %v", key, w, err)
		}
	}
}

// The quorum must hold under the frozen policy and under the one of now.
func TestTheRosterKnowsTheGroupsOfBothPolicies(t *testing.T) {
	f := newFixture(t)
	r := f.request("bob")
	f.setGroup("fresh", []string{"bob"}, nil)
	f.setPolicy("fresh", "through")
	w, err := f.lookup().World(t.Context(), r)
	must(t, err)
	if got := slices.Sorted(slices.Values(w.Roster["bob"].Groups)); !slices.Equal(got, []string{"fresh", "named"}) {
		t.Errorf("bob is in %q", got)
	}
}

func TestTheWorldSaysWhetherTheRequesterMayStillAsk(t *testing.T) {
	f := newFixture(t)
	r := f.request()
	for _, c := range []struct {
		entities, groups []string
		want             bool
	}{
		{nil, nil, true}, {[]string{"alice"}, nil, true}, {[]string{"bob"}, nil, false},
		{nil, []string{"g-askers"}, true}, {nil, []string{"g-dba"}, false},
	} {
		f.directory.Groups["alice"] = []string{"g-askers"}
		limited := role()
		limited.RequesterEntityIDs, limited.RequesterIdentityGroupIDs = c.entities, c.groups
		must(t, f.store.Roles.Put(t.Context(), f.storage, "db", limited))
		w, err := f.lookup().World(t.Context(), r)
		must(t, err)
		if w.Role.MayAsk != c.want {
			t.Errorf("for %q and %q alice may ask: %v", c.entities, c.groups, w.Role.MayAsk)
		}
	}
}

// groupAnswer is what Vault says of an identity group.
func groupAnswer(entities, inner []string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		sessiontest.Answer(out, map[string]any{"data": map[string]any{"member_entity_ids": entities, "member_group_ids": inner}})
	}
}

func TestACensusNamesEverybodyWhoIsKnownToBeInAGroup(t *testing.T) {
	f := newFixture(t)
	f.setGroup("through", []string{"mallory"}, []string{"g-outer", "g-hidden"})
	vault := sessiontest.New(t, map[string]http.HandlerFunc{
		"identity/group/id/g-outer":  groupAnswer([]string{"carol"}, []string{"g-inner"}),
		"identity/group/id/g-inner":  groupAnswer([]string{"bob", "carol"}, []string{"g-outer"}), // a circle
		"identity/group/id/g-hidden": sessiontest.Respond(http.StatusForbidden, `{"errors":["permission denied"]}`),
	})
	f.vault = sessiontest.Start(t, sessiontest.Connection(vault.URL))
	census, err := f.lookup().Census(t.Context(), []string{"named", "through", "deleted"})
	must(t, err)
	names := func(group string) (names []string) {
		for _, standing := range census[group].People {
			names = append(names, standing.Name)
		}
		return names
	}
	if got := names("through"); !slices.Equal(got, []string{"bob", "carol", "mallory"}) || !slices.Equal(census["through"].Unknown, []string{"g-hidden"}) {
		t.Errorf("known are %q, unknown %q", got, census["through"].Unknown)
	}
	if got := names("named"); !slices.Equal(got, []string{"bob"}) || len(census["named"].Unknown) > 0 || len(census) != 2 {
		t.Errorf("the census is %v", census)
	}
	if n := vault.CountCalls("identity/group/id/g-outer"); n != 1 {
		t.Errorf("a group was read %d times", n)
	}
}

func TestACensusWithoutVaultSaysWhatItDoesNotKnow(t *testing.T) {
	f := newFixture(t)
	census, err := f.lookup().Census(t.Context(), []string{"named", "through"})
	must(t, err)
	if len(census["named"].People) != 1 || len(census["through"].People) > 0 || !slices.Equal(census["through"].Unknown, []string{"g-dba"}) {
		t.Errorf("the census is %+v", census)
	}
}

func TestACensusOfABigGroupIsBounded(t *testing.T) {
	f := newFixture(t)
	var many []string
	for i := range 3 * approval.MaxApprovals {
		many = append(many, fmt.Sprintf("entity-%03d", i))
	}
	f.setGroup("named", append(many, many...), nil)
	f.directory.Asked.Store(0)
	census, err := f.lookup().Census(t.Context(), []string{"named"})
	must(t, err)
	f.wantAsked(2*approval.MaxApprovals, "a big group")
	if len(census["named"].People) != 2*approval.MaxApprovals || len(census["named"].Unknown) != 1 {
		t.Errorf("%d are known, %q are not", len(census["named"].People), census["named"].Unknown)
	}
}

func TestAnIDThatIsNoPathSegmentIsNeverAskedFor(t *testing.T) {
	f := newFixture(t)
	vault := sessiontest.New(t, nil)
	f.vault = sessiontest.Start(t, sessiontest.Connection(vault.URL))
	ids := []string{"", "..", "a/b", "a?b", "../../sys/seal"}
	f.setGroup("through", nil, ids)
	census, err := f.lookup().Census(t.Context(), []string{"through"})
	must(t, err)
	if members := census["through"]; len(members.People) > 0 || !slices.Equal(members.Unknown, ids) {
		t.Errorf("known are %+v, unknown %q", members.People, members.Unknown)
	}
	if n := vault.Connections.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestAnIDOfNoIdentityGroupIsWarnedOf(t *testing.T) {
	vault := sessiontest.New(t, map[string]http.HandlerFunc{
		"identity/group/id/g-there":  groupAnswer(nil, nil),
		"identity/group/id/g-absent": sessiontest.Respond(http.StatusNotFound, `{"errors":[]}`),
		"identity/group/id/g-hidden": sessiontest.Respond(http.StatusForbidden, `{"errors":["permission denied"]}`),
	})
	s := sessiontest.Start(t, sessiontest.Connection(vault.URL))
	warnings := people.GroupWarnings(t.Context(), s, []string{"g-there", "g-absent", "g-hidden", "no/id"})
	if len(warnings) != 2 {
		t.Errorf("it warns %q", warnings)
	}
}
