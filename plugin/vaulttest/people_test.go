package vaulttest_test

import (
	"slices"
	"testing"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestPeopleAreTheirEntities(t *testing.T) {
	c := vaulttest.Shared(t)
	alice, err := c.Person(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	namesake, err := c.Person(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if namesake.Name == alice.Name || namesake.EntityID == alice.EntityID {
		t.Errorf("two people are one: %s", alice.Name)
	}
	self, err := alice.Read(t.Context(), "auth/token/lookup-self")
	if err != nil {
		t.Fatal(err)
	}
	if got := self.Data["entity_id"]; got != alice.EntityID {
		t.Errorf("the token's entity is %v, not %s", got, alice.EntityID)
	}
}

func TestGroupHasExactlyItsMembers(t *testing.T) {
	c := vaulttest.Shared(t)
	people := map[string]*vaulttest.Person{}
	for _, name := range []string{"bea", "cleo"} {
		p, err := c.Person(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		people[name] = p
	}
	g, err := c.Group(t.Context(), "dba", people["bea"], people["cleo"])
	if err != nil {
		t.Fatal(err)
	}
	members := func() []any {
		group, err := c.Root().Logical().ReadWithContext(t.Context(), "identity/group/id/"+g.ID)
		if err != nil {
			t.Fatal(err)
		}
		ids, _ := group.Data["member_entity_ids"].([]any)
		return ids
	}
	if got := members(); len(got) != 2 {
		t.Errorf("of two members there are %v", got)
	}
	if err := g.SetMembers(t.Context(), people["cleo"]); err != nil {
		t.Fatal(err)
	}
	if got := members(); !slices.Equal(got, []any{people["cleo"].EntityID}) {
		t.Errorf("the members are %v", got)
	}
}

func TestPeopleOfTwoAuthMountsCanBeMerged(t *testing.T) {
	c := vaulttest.Shared(t)
	dan, err := c.Person(t.Context(), "dan")
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.PersonAt(t.Context(), "userpass-other", "dan")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MergeEntities(t.Context(), other, dan); err != nil {
		t.Fatal(err)
	}
	if err := other.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	self, err := other.Read(t.Context(), "auth/token/lookup-self")
	if err != nil {
		t.Fatal(err)
	}
	if got := self.Data["entity_id"]; got != dan.EntityID {
		t.Errorf("after the merge the login's entity is %v, not %s", got, dan.EntityID)
	}
}

func TestSomebodyDisabledOrDeletedIsRefused(t *testing.T) {
	c := vaulttest.Shared(t)
	eve, err := c.Person(t.Context(), "eve")
	if err != nil {
		t.Fatal(err)
	}
	if err := eve.SetDisabled(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := eve.Read(t.Context(), "auth/token/lookup-self"); err == nil {
		t.Error("disabled, she is served")
	}
	if err := eve.SetDisabled(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := eve.Read(t.Context(), "auth/token/lookup-self"); err != nil {
		t.Errorf("enabled again, she is refused: %v", err)
	}
	if err := eve.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, err := c.Root().Logical().ReadWithContext(t.Context(), "identity/entity/id/"+eve.EntityID)
	if err != nil || gone != nil {
		t.Errorf("her entity is still %v (%v)", gone, err)
	}
}
