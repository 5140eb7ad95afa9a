package approval

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// becomes marks an outcome as the state after an accepted event; any other outcome is what the refusal says.
const becomes = "becomes "

// outcomes is what each event does to one request. Every field has to be filled in.
type outcomes struct {
	approve, deny, withdraw, cancel        string
	startClaim, keepToken, abandon, grant  string
	beginEnd, confirmEnd, failEnd, nothing string
}

// TestEveryEventInEveryState is the table of all transitions, legal and illegal. The policy asks for two of dbas;
// bob has approved everywhere, and so has carol wherever there was a quorum.
func TestEveryEventInEveryState(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	bob, carol, dave, erin := standing("bob", "dbas"), standing("carol", "dbas"), standing("dave", "dbas"), standing("erin", "dbas")
	alice := standing("alice")

	pending := applied(t, asked(t, policy), start, approve(bob))
	quorum := applied(t, pending, start, approve(carol))
	facts := factsOf(quorum, bob, carol, dave, erin)
	claiming := applied(t, quorum, start, StartClaim{person("alice"), facts})
	holding := applied(t, claiming, start, KeepToken{"accessor-1"})
	active := applied(t, holding, start, Succeed{grantUntil(after(time.Hour))})
	ending := applied(t, active, start, BeginEnd{Reason: Revoked, By: &alice.Person})

	now, quorumOver, windowOver := after(time.Minute), after(time.Hour), after(time.Hour)
	no := func(what, state string) string { return "cannot " + what + " a request that is " + state }
	// dead is what happens to a request that is over and left nothing behind.
	dead := func(state string) outcomes {
		return outcomes{
			approve: no("decide on", state), deny: no("decide on", state), withdraw: no("withdraw a decision on", state), cancel: no("cancel", state),
			startClaim: "the request is " + state, keepToken: no("keep a grant token of", state), abandon: no("abandon the claim of", state), grant: no("grant", state),
			beginEnd: no("end", state), confirmEnd: no("confirm the end of", state), failEnd: no("note a failed end of", state), nothing: "is no event of a request",
		}
	}
	// deadHolding is the same with the token of a dead claim, which is all that can still be dealt with.
	deadHolding := func(state string) outcomes {
		o := dead(state)
		o.abandon = becomes + state
		return o
	}
	covered := map[State]bool{}
	for _, c := range []struct {
		name    string
		request Request
		at      time.Time
		state   State
		outcomes
	}{
		{"pending", pending, now, Pending, outcomes{
			approve: becomes + "approved", deny: becomes + "denied", withdraw: becomes + "pending", cancel: becomes + "cancelled",
			startClaim: `rule "dba" has 1 of 2 approvals`, keepToken: no("keep a grant token of", "pending"), abandon: no("abandon the claim of", "pending"), grant: no("grant", "pending"),
			beginEnd: no("end", "pending"), confirmEnd: no("confirm the end of", "pending"), failEnd: no("note a failed end of", "pending"), nothing: "is no event of a request",
		}},
		{"pending, with a claim from before", applied(t, claiming, start, Withdraw{carol}), now, Pending, outcomes{
			approve: becomes + "claiming", deny: becomes + "denied", withdraw: becomes + "pending", cancel: becomes + "cancelled",
			startClaim: `rule "dba" has 1 of 2 approvals`, keepToken: no("keep a grant token of", "pending"), abandon: becomes + "pending", grant: no("grant", "pending"),
			beginEnd: no("end", "pending"), confirmEnd: no("confirm the end of", "pending"), failEnd: no("note a failed end of", "pending"), nothing: "is no event of a request",
		}},
		{"pending, with a token from before", applied(t, holding, start, Withdraw{carol}), now, Pending, outcomes{
			approve: becomes + "claiming", deny: becomes + "denied", withdraw: becomes + "pending", cancel: becomes + "cancelled",
			startClaim: `rule "dba" has 1 of 2 approvals`, keepToken: no("keep a grant token of", "pending"), abandon: becomes + "pending", grant: no("grant", "pending"),
			beginEnd: no("end", "pending"), confirmEnd: no("confirm the end of", "pending"), failEnd: no("note a failed end of", "pending"), nothing: "is no event of a request",
		}},
		{"approved", quorum, now, Approved, outcomes{
			approve: becomes + "approved", deny: becomes + "denied", withdraw: becomes + "pending", cancel: becomes + "cancelled",
			startClaim: becomes + "claiming", keepToken: no("keep a grant token of", "approved"), abandon: no("abandon the claim of", "approved"), grant: no("grant", "approved"),
			beginEnd: no("end", "approved"), confirmEnd: no("confirm the end of", "approved"), failEnd: no("note a failed end of", "approved"), nothing: "is no event of a request",
		}},
		{"claiming", claiming, now, Claiming, outcomes{
			approve: becomes + "claiming", deny: becomes + "denied", withdraw: becomes + "pending", cancel: becomes + "cancelled",
			startClaim: becomes + "claiming", keepToken: becomes + "claiming", abandon: becomes + "approved", grant: no("grant", "claiming"),
			beginEnd: no("end", "claiming"), confirmEnd: no("confirm the end of", "claiming"), failEnd: no("note a failed end of", "claiming"), nothing: "is no event of a request",
		}},
		{"claiming, with a token", holding, now, Claiming, outcomes{
			approve: becomes + "claiming", deny: becomes + "denied", withdraw: becomes + "pending", cancel: becomes + "cancelled",
			startClaim: "what an earlier claim left behind has to be revoked first", keepToken: no("keep a grant token of", "claiming"), abandon: becomes + "approved", grant: becomes + "active",
			beginEnd: no("end", "claiming"), confirmEnd: no("confirm the end of", "claiming"), failEnd: no("note a failed end of", "claiming"), nothing: "is no event of a request",
		}},
		{"active", active, now, Active, outcomes{
			approve: no("decide on", "active"), deny: no("decide on", "active"), withdraw: no("withdraw a decision on", "active"), cancel: "the request is active; end it with jit/revoke",
			startClaim: "the request is active", keepToken: no("keep a grant token of", "active"), abandon: no("abandon the claim of", "active"), grant: no("grant", "active"),
			beginEnd: becomes + "ended", confirmEnd: no("confirm the end of", "active"), failEnd: no("note a failed end of", "active"), nothing: "is no event of a request",
		}},
		{"denied", applied(t, quorum, start, deny(erin)), now, Denied, dead("denied")},
		{"denied, with a token", applied(t, holding, start, deny(erin)), now, Denied, deadHolding("denied")},
		{"cancelled", applied(t, quorum, start, Cancel{alice}), now, Cancelled, dead("cancelled")},
		{"cancelled, with a token", applied(t, holding, start, Cancel{alice}), now, Cancelled, deadHolding("cancelled")},
		{"expired without quorum", pending, after(8 * time.Hour), Expired, dead("expired")},
		{"expired without claim", quorum, quorumOver, Expired, dead("expired")},
		{"expired while claiming", holding, quorumOver, Expired, deadHolding("expired")},
		{"window over", active, windowOver, Ended, func() outcomes {
			o := dead("ended")
			o.beginEnd = becomes + "ended"
			return o
		}()},
		{"ended, not confirmed", ending, now, Ended, func() outcomes {
			o := dead("ended")
			o.confirmEnd, o.failEnd = becomes+"ended", becomes+"ended"
			return o
		}()},
		{"ended, failed once", applied(t, ending, start, FailEnd{"upstream is down"}), now, Ended, func() outcomes {
			o := dead("ended")
			o.confirmEnd, o.failEnd = becomes+"ended", becomes+"ended"
			return o
		}()},
		{"ended, confirmed", applied(t, ending, start, ConfirmEnd{}), now, Ended, dead("ended")},
	} {
		covered[c.state] = true
		wantState(t, c.request, c.at, c.state)
		events := map[string]Event{
			"approve": approve(dave), "deny": deny(dave), "withdraw": Withdraw{bob}, "cancel": Cancel{alice},
			"startClaim": StartClaim{person("alice"), facts}, "keepToken": KeepToken{"accessor-2"}, "abandon": AbandonClaim{}, "grant": Succeed{grantUntil(c.at.Add(time.Hour))},
			"beginEnd": BeginEnd{Reason: LeaseRevoked}, "confirmEnd": ConfirmEnd{}, "failEnd": FailEnd{"upstream is still down"}, "nothing": nil,
		}
		fields := reflect.ValueOf(c.outcomes)
		wantEqual(t, "number of events", fields.NumField(), len(events))
		for i := range fields.NumField() {
			what, want := fields.Type().Field(i).Name, fields.Field(i).String()
			t.Run(c.name+"/"+what, func(t *testing.T) {
				event, listed := events[what]
				if want == "" || !listed {
					t.Fatal("the table says nothing of this")
				}
				before := asText(t, c.request)
				got, err := Apply(c.request, event, c.at)
				wantEqual(t, "the request given", asText(t, c.request), before)
				if state, legal := strings.CutPrefix(want, becomes); legal {
					if err != nil {
						t.Fatalf("refused: %v", err)
					}
					wantState(t, got, c.at, State(state))
					if asText(t, got) == before {
						t.Fatal("accepted, but nothing is recorded")
					}
					return
				}
				wantRefusal(t, err, want)
				wantEqual(t, "the request after a refusal", got, c.request)
			})
		}
	}
	for _, state := range States() {
		if !covered[state] {
			t.Errorf("no request of the table is %s", state)
		}
	}
}

func TestPointersToEventsAreNoEvents(t *testing.T) {
	r := asked(t, prod(rule("dba", 1, "dbas")))
	for _, event := range []Event{nil, &Decide{}, &Withdraw{}, &Cancel{}, &StartClaim{}, &KeepToken{}, &AbandonClaim{}, &Succeed{}, &BeginEnd{}, &ConfirmEnd{}, &FailEnd{}} {
		got, err := Apply(r, event, start)
		wantRefusal(t, err, "is no event of a request")
		wantEqual(t, "the request", got, r)
	}
}

func TestZeroEventsAndZeroRequestsRefuse(t *testing.T) {
	events := []Event{Decide{}, Withdraw{}, Cancel{}, StartClaim{}, KeepToken{}, Succeed{}, BeginEnd{}, AbandonClaim{}, ConfirmEnd{}, FailEnd{}}
	quorum, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	for name, r := range map[string]Request{
		"nothing":  {},
		"pending":  asked(t, prod(rule("dba", 1, "dbas"))),
		"approved": quorum,
	} {
		for _, event := range events {
			if _, err := Apply(r, event, start); err == nil {
				t.Errorf("%s: %T is accepted", name, event)
			}
		}
	}
	claiming := applied(t, quorum, after(time.Minute), StartClaim{person("alice"), facts})
	for _, event := range []Event{KeepToken{}, Succeed{}, Succeed{Grant{ExpiresAt: after(time.Hour)}}} {
		_, err := Apply(claiming, event, after(time.Minute))
		wantRefusal(t, err, "a request that is claiming")
	}
	active := applied(t, claiming, after(time.Minute), KeepToken{"accessor-1"}, Succeed{grantUntil(after(time.Hour))})
	_, err := Apply(active, BeginEnd{}, after(time.Minute))
	wantRefusal(t, err, `"" is no reason for this end`)
	for _, event := range []Event{approve(standing("bob", "dbas")), Cancel{standing("alice")}, StartClaim{person("alice"), facts}} {
		_, err := Apply(Request{}, event, start)
		if err == nil {
			t.Errorf("%T is accepted on nothing", event)
		}
	}
}

func TestDecisionIsFrozenAsItWasMade(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas", "leads"), rule("lead", 1, "leads"))
	bob := standing("bob", "others", "leads", "dbas")
	event := Decide{Approver: bob, Requester: standing("alice"), Verdict: Approve, Comment: "<b>fine</b>\n\tby me"}
	cet := time.FixedZone("CET", 3600)
	r := applied(t, asked(t, policy), start.In(cet), event)
	wantEqual(t, "decision", r.Decisions, []Decision{{
		Approver: person("bob"), Groups: []string{"dbas", "leads"}, Verdict: Approve, Comment: "<b>fine</b>\n\tby me", At: start,
	}})
}

func TestOneCurrentDecisionAPerson(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	policy.DenyThreshold = 2
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := applied(t, asked(t, policy), start, approve(bob), approve(carol))
	r = applied(t, r, after(time.Minute), deny(bob))
	wantState(t, r, after(time.Minute), Pending)
	wantEqual(t, "decisions", r.Decisions, []Decision{
		decided(carol, Approve, start),
		decided(bob, Deny, after(time.Minute)),
	})
	r = applied(t, r, after(2*time.Minute), approve(bob))
	wantState(t, r, after(2*time.Minute), Approved)
	wantEqual(t, "number of decisions", len(r.Decisions), 2)
}

// Saying the same again is nothing new, unless who says it, or from where, has changed.
func TestRepetitionChangesNothingButWhatIsNew(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas", "leads"))
	policy.DenyThreshold = 2
	bob := standing("bob", "dbas")
	// With the entity deleted, a login can be another entity's.
	robert := bob
	robert.EntityID = "entity-robert"
	commented := approve(bob)
	commented.Comment = "once more"
	for name, c := range map[string]struct {
		event Decide
		news  bool
	}{
		"the same":                    {approve(bob), false},
		"the same under another name": {approve(Standing{Person: Person{EntityID: bob.EntityID, Name: "Bob", Aliases: bob.Aliases}, Exists: true, Groups: bob.Groups}), false},
		"another group of no policy":  {approve(standing("bob", "others", "dbas")), false},
		"another verdict":             {deny(bob), true},
		"another comment":             {commented, true},
		"one more group":              {approve(standing("bob", "dbas", "leads")), true},
		"another group":               {approve(standing("bob", "leads")), true},
		"one more login":              {approve(merged(bob, "robert")), true},
		"the login of a new entity":   {approve(robert), true},
	} {
		t.Run(name, func(t *testing.T) {
			r := applied(t, asked(t, policy), start, approve(bob))
			next := applied(t, r, after(time.Minute), c.event)
			if !c.news {
				wantEqual(t, "the request", next, r)
				return
			}
			wantEqual(t, "number of decisions", len(next.Decisions), 1)
			d := next.Decisions[0]
			wantEqual(t, "decision", d, Decision{Approver: c.event.Approver.Person, Groups: d.Groups, Verdict: c.event.Verdict, Comment: c.event.Comment, At: after(time.Minute)})
		})
	}
}

func TestWhoMayNotDecideIsToldWhy(t *testing.T) {
	r := asked(t, prod(rule("dba", 1, "dbas")))
	disabled := standing("bob", "dbas")
	disabled.Disabled = true
	change := func(change func(*Decide)) Decide {
		event := approve(standing("bob", "dbas"))
		change(&event)
		return event
	}
	for name, c := range map[string]struct {
		event Event
		want  string
	}{
		"nobody":                   {approve(Standing{}), "your entity no longer exists in Vault"},
		"disabled":                 {approve(disabled), "your entity is disabled in Vault"},
		"in no group":              {approve(standing("bob")), `you are in none of the approver groups of policy "prod"`},
		"in another group":         {approve(standing("bob", "leads")), `you are in none of the approver groups of policy "prod"`},
		"the requester":            {approve(standing("alice", "dbas")), "you made this request, and its policy does not count its requester; cancel it if it is not needed"},
		"the requester denying":    {deny(standing("alice", "dbas")), "you made this request"},
		"neither word":             {change(func(d *Decide) { d.Verdict = "" }), `"" is neither "approve" nor "deny"`},
		"another word":             {change(func(d *Decide) { d.Verdict = "Approve" }), `"Approve" is neither "approve" nor "deny"`},
		"a comment too long":       {change(func(d *Decide) { d.Comment = strings.Repeat("x", MaxTextBytes+1) }), "comment: it has 4097 bytes; at most 4096 are accepted"},
		"a comment unreadable":     {change(func(d *Decide) { d.Comment = "\u202e" }), "comment: it holds the control character U+202E"},
		"withdraw by nobody":       {Withdraw{}, "your entity no longer exists in Vault"},
		"withdraw by the disabled": {Withdraw{disabled}, "your entity is disabled in Vault"},
		"withdraw without word":    {Withdraw{standing("bob", "dbas")}, "you have no decision on this request to withdraw"},
		"cancel by another":        {Cancel{standing("bob", "dbas")}, "only its requester can cancel a request; deny it instead"},
		"cancel by nobody":         {Cancel{}, "only its requester can cancel a request"},
		"cancel by the merged":     {Cancel{Standing{Person: person("alice")}}, "your entity no longer exists in Vault"},
		"cancel by the disabled":   {Cancel{Standing{Person: person("alice"), Exists: true, Disabled: true}}, "your entity is disabled in Vault"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Apply(r, c.event, start)
			wantRefusal(t, err, c.want)
		})
	}
}

// Who may not decide on a request is not told what became of it.
func TestStrangersLearnNothingOfTheState(t *testing.T) {
	r := applied(t, asked(t, prod(rule("dba", 1, "dbas"))), start, Cancel{standing("alice")})
	for _, event := range []Event{approve(standing("mallory")), Withdraw{standing("mallory")}, Cancel{standing("mallory")}} {
		_, err := Apply(r, event, start)
		if err == nil || strings.Contains(err.Error(), "cancelled") {
			t.Errorf("%T says: %v", event, err)
		}
	}
}

func TestWhoLeftCanStillWithdraw(t *testing.T) {
	r := applied(t, asked(t, prod(rule("dba", 2, "dbas"))), start, approve(standing("bob", "dbas")))
	r = applied(t, r, start, Withdraw{standing("bob")})
	wantEqual(t, "number of decisions", len(r.Decisions), 0)
}

func TestClaimKeepsOneTokenAndGrantsWithIt(t *testing.T) {
	quorum, facts := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(time.Minute)
	claiming := applied(t, quorum, at, StartClaim{person("alice"), facts})
	wantEqual(t, "claim", claiming.Claim, &Claim{At: at})
	wantEqual(t, "leftover", claiming.Leftover(), "")

	holding := applied(t, claiming, after(2*time.Minute), KeepToken{"accessor-1"})
	wantEqual(t, "claim", holding.Claim, &Claim{At: at, Accessor: "accessor-1"})
	wantEqual(t, "leftover", holding.Leftover(), "accessor-1")

	for name, grant := range map[string]Grant{
		"another token":                  {ClaimedAt: at, ExpiresAt: after(time.Hour), Accessor: "accessor-2"},
		"no token":                       {ClaimedAt: at, ExpiresAt: after(time.Hour)},
		"a window that is over":          {ClaimedAt: at, ExpiresAt: at, Accessor: "accessor-1"},
		"a window longer than was asked": {ClaimedAt: at, ExpiresAt: at.Add(time.Hour + 1), Accessor: "accessor-1"},
		"no window":                      {ClaimedAt: at, Accessor: "accessor-1"},
	} {
		if _, err := Apply(holding, Succeed{grant}, at); err == nil {
			t.Errorf("granted with %s", name)
		}
	}
	grant := Grant{ClaimedAt: at, ExpiresAt: at.Add(time.Hour), Accessor: "accessor-1"}
	active := applied(t, holding, at, Succeed{grant})
	wantEqual(t, "grant", active.Grant, &grant)
	wantEqual(t, "leftover", active.Leftover(), "")
	wantEqual(t, "the claim stays", active.Claim, holding.Claim)

	again := applied(t, applied(t, holding, at, AbandonClaim{}), after(3*time.Minute), StartClaim{person("alice"), facts})
	wantEqual(t, "a second claim", again.Claim, &Claim{At: after(3 * time.Minute)})
	_, err := Apply(again, Succeed{grant}, after(3*time.Minute))
	wantRefusal(t, err, "cannot grant a request that is claiming")
}

func TestEndSaysWhatEndedTheGrant(t *testing.T) {
	end := after(time.Hour)
	bob := person("bob")
	active := Request{Grant: &Grant{ExpiresAt: end}}
	for _, c := range []struct {
		name  string
		event BeginEnd
		at    time.Time
		want  End
	}{
		{"revoked by somebody", BeginEnd{Revoked, &bob}, after(time.Minute), End{At: after(time.Minute), Reason: Revoked, By: &bob}},
		{"revoked by somebody at the last moment", BeginEnd{Revoked, &bob}, end.Add(-1), End{At: end.Add(-1), Reason: Revoked, By: &bob}},
		{"revoked by somebody when it was over", BeginEnd{Revoked, &bob}, end, End{At: end, Reason: WindowEnd}},
		{"revoked by somebody long after", BeginEnd{Revoked, &bob}, after(2 * time.Hour), End{At: end, Reason: WindowEnd}},
		{"lease revoked by Vault", BeginEnd{LeaseRevoked, nil}, after(time.Minute), End{At: after(time.Minute), Reason: LeaseRevoked}},
		{"lease ended a bit early", BeginEnd{LeaseRevoked, nil}, end.Add(-2 * time.Second), End{At: end.Add(-2 * time.Second), Reason: WindowEnd}},
		{"lease ended earlier than that", BeginEnd{LeaseRevoked, nil}, end.Add(-2*time.Second - 1), End{At: end.Add(-2*time.Second - 1), Reason: LeaseRevoked}},
		{"lease ended late", BeginEnd{LeaseRevoked, nil}, end.Add(1), End{At: end, Reason: WindowEnd}},
		{"the window's end", BeginEnd{WindowEnd, nil}, end, End{At: end, Reason: WindowEnd}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := applied(t, active, c.at, c.event)
			wantEqual(t, "end", *r.End, c.want)
			wantState(t, r, start, Ended)
		})
	}
	for name, event := range map[string]BeginEnd{
		"revoked by nobody":         {Revoked, nil},
		"lease revoked by somebody": {LeaseRevoked, &bob},
		"no reason":                 {"", nil},
		"no reason, but somebody":   {"", &bob},
		"a reason of another kind":  {"expired", nil},
		"window's end by somebody":  {WindowEnd, &bob},
	} {
		_, err := Apply(active, event, after(time.Minute))
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		wantRefusal(t, err, "is no reason for this end")
	}
}

func TestEndIsRetriedUntilConfirmedAndThenStays(t *testing.T) {
	bob := person("bob")
	r := applied(t, Request{Grant: &Grant{ExpiresAt: after(time.Hour)}}, start, BeginEnd{Revoked, &bob})
	r = applied(t, r, after(time.Minute), FailEnd{"upstream is down"})
	wantEqual(t, "end", *r.End, End{At: start, Reason: Revoked, By: &bob, LastError: "upstream is down"})
	wantEqual(t, "confirmed", r.End.Confirmed(), false)
	r = applied(t, r, after(2*time.Minute), ConfirmEnd{})
	wantEqual(t, "end", *r.End, End{At: start, Reason: Revoked, By: &bob, ConfirmedAt: after(2 * time.Minute)})
	wantEqual(t, "confirmed", r.End.Confirmed(), true)
}
