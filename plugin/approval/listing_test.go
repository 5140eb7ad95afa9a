package approval

import (
	"testing"
	"time"
)

func TestRequesterApproversAndAuditorsSeeARequest(t *testing.T) {
	r := mustDo(t, newRequest(t, prod(rule("dba", 2, "dbas"), rule("lead", 1, "leads"))), start, approve(standing("dave", "dbas")))
	for _, c := range []struct {
		name    string
		who     Standing
		auditor bool
		want    bool
	}{
		{"requester", standing("alice"), false, true},
		{"approver", standing("bob", "leads"), false, true},
		{"approver who decided and left", standing("dave"), false, true},
		{"another entity with the login of one who decided", merged(standing("mallory"), "dave"), false, false},
		{"auditor", standing("erin"), true, true},
		{"stranger", standing("mallory", "others"), false, false},
		{"nobody", Standing{}, false, false},
		{"nobody, though called an auditor", Standing{}, true, false},
		{"requester merged away", Standing{Person: person("alice")}, false, false},
		{"requester disabled", disabled("alice"), false, false},
		// To be shown the request of a login is more than to be kept from approving it.
		{"another entity with the requester's login", merged(standing("mallory"), "alice"), false, false},
	} {
		if got := r.MaySee(c.who, c.auditor); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestInboxHoldsWhatOneCanStillDecide(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	bob, carol, dave := standing("bob", "dbas"), standing("carol", "dbas"), standing("dave", "dbas")
	alice := standing("alice", "dbas")
	pending := mustDo(t, newRequest(t, policy), start, approve(bob))
	approved := mustDo(t, pending, start, approve(carol))
	world := worldOf(approved, bob, carol)
	claiming := mustDo(t, approved, start, claim(world))
	withdrawn := mustDo(t, pending, start, Withdraw{bob})
	for _, c := range []struct {
		name    string
		request Request
		who     Standing
		at      time.Time
		want    bool
	}{
		{"pending", pending, dave, start, true},
		{"approved", approved, dave, start, true},
		{"claiming", claiming, dave, start, false},
		{"cancelled", mustDo(t, pending, start, Cancel{alice}), dave, start, false},
		{"denied", mustDo(t, pending, start, deny(carol)), dave, start, false},
		{"expired", pending, dave, after(8 * time.Hour), false},
		{"decided already", pending, bob, start, false},
		{"decided already under another entity", pending, merged(dave, "bob"), start, false},
		{"one's own", pending, alice, start, false},
		{"a stranger's", pending, standing("mallory"), start, false},
		{"withdrawn", withdrawn, bob, start, true},
		{"a disabled approver's", pending, disabled("dave", "dbas"), start, false},
		{"nobody's", pending, Standing{}, start, false},
	} {
		if got := c.request.Decidable(c.who, standing("alice"), c.at); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// A request of somebody who is gone cannot be approved any more, so nobody's inbox holds it. It can still be denied.
func TestInboxHoldsNoRequestOfSomebodyWhoIsGone(t *testing.T) {
	r := newRequest(t, prod(rule("dba", 2, "dbas")))
	for _, requester := range []Standing{{}, disabled("alice")} {
		wantEqual(t, "decidable", r.Decidable(standing("bob", "dbas"), requester, start), false)
	}
}

func TestOwnRequestIsInTheInboxWhereItsPolicyCountsTheRequester(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	policy.AllowSelfApproval = true
	r := newRequest(t, policy)
	alice := standing("alice", "dbas")
	wantEqual(t, "decidable", r.Decidable(alice, alice, start), true)
}

func TestZeroListingConcernsNobody(t *testing.T) {
	for name, l := range map[string]Listing{"zero": {}, "unreadable": UnreadableListing()} {
		for _, who := range []Standing{{}, standing("alice"), standing("bob", "dbas"), standing("carol", "")} {
			if l.Concerns(who, false) || l.Awaits(who, start) {
				t.Errorf("the %s listing concerns %q", name, who.Name)
			}
		}
	}
	if UnreadableListing().Concerns(standing("alice"), true) {
		t.Error("an auditor is shown what nobody can read")
	}
}

// It may be the record of a live grant, so that it must neither be overlooked nor counted as waiting.
func TestUnreadableRecordIsAlwaysDueAndHeld(t *testing.T) {
	l := UnreadableListing()
	wantEqual(t, "unreadable, due, holding, waiting", []bool{l.Unreadable(), l.Due(start), l.Holding(), l.Waiting(start)}, []bool{true, true, true, false})
	wantEqual(t, "state", l.State(start), StateEnded)
}
