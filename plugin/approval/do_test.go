package approval

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// becomes marks an outcome as the state after an accepted command that changed something, stays one after a command that
// wanted what is so already; any other outcome is what the refusal says.
const (
	becomes = "becomes "
	stays   = "stays "
)

// outcomes is what each command does to one request. Every field has to be filled in.
type outcomes struct {
	approve, deny, withdraw, cancel   string
	beginClaim, giveGrant, abortClaim string
	revoke, leaseEnded                string
	goneToken, goneLease              string
	nothing                           string
}

// TestEveryCommandInEveryState is the table of all transitions, legal and illegal. The policy asks for two of dbas;
// bob has approved everywhere, and so has carol wherever there was a quorum.
func TestEveryCommandInEveryState(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	bob, carol, dave, erin := standing("bob", "dbas"), standing("carol", "dbas"), standing("dave", "dbas"), standing("erin", "dbas")
	alice := standing("alice")

	pending := mustDo(t, newRequest(t, policy), start, approve(bob))
	quorum := mustDo(t, pending, start, approve(carol))
	world := worldOf(quorum, bob, carol, dave, erin)
	claiming := mustDo(t, quorum, start, claim(world))
	left := mustDo(t, claiming, start, AbortClaim{Token: theToken, Left: grant.Handles{grant.Lease{ID: "l"}}})
	active := mustDo(t, claiming, start, give(world, after(time.Hour)))
	ending := mustDo(t, active, start, Revoke{By: alice})
	run := mustDo(t, askedWith(t, unleased(policy)), start, approve(bob), approve(carol))
	run = mustDo(t, run, start, claim(worldOf(run, bob, carol)))

	now, quorumOver, windowOver := after(time.Minute), after(time.Hour), after(time.Hour)
	no := func(what, state string) string { return "cannot " + what + " a request that is " + state }
	const noCommand = "is no command for a request"
	// dead is what happens to a request that is over and left nothing behind.
	dead := func(state string) outcomes {
		return outcomes{
			approve: no("decide on", state), deny: no("decide on", state), withdraw: no("withdraw a decision on", state), cancel: no("cancel", state),
			beginClaim: "the request is " + state, giveGrant: no("grant", state), abortClaim: stays + state,
			revoke: no("end", state), leaseEnded: stays + state, goneToken: stays + state, goneLease: stays + state, nothing: noCommand,
		}
	}
	with := func(o outcomes, change func(*outcomes)) outcomes {
		change(&o)
		return o
	}
	// deadHolding is the same with the token of a dead claim, which is all that can still be dealt with.
	deadHolding := func(state string) outcomes {
		return with(dead(state), func(o *outcomes) {
			o.goneToken, o.abortClaim, o.giveGrant = becomes+state, becomes+state, "the request is "+state
		})
	}
	// waiting is what happens to a request that has a quorum, or not yet.
	waiting := func(state string) outcomes {
		return outcomes{
			approve: becomes + state, deny: becomes + "denied", withdraw: becomes + "pending", cancel: becomes + "cancelled",
			giveGrant: no("grant", state), abortClaim: stays + state,
			revoke: no("end", state), leaseEnded: stays + state, goneToken: stays + state, goneLease: stays + state, nothing: noCommand,
		}
	}
	const tooFew = `rule "dba" has 1 of 2 approvals`
	// over is what happens to a grant that has ended.
	over := with(dead("ended"), func(o *outcomes) {
		o.revoke, o.goneToken, o.goneLease = stays+"ended", becomes+"ended", becomes+"ended"
	})
	covered := map[State]bool{}
	for _, c := range []struct {
		name    string
		request Request
		at      time.Time
		state   State
		outcomes
	}{
		{"pending", pending, now, StatePending, with(waiting("pending"), func(o *outcomes) { o.approve, o.beginClaim = becomes+"approved", tooFew })},
		{"pending, with a token from before", mustDo(t, claiming, start, Withdraw{carol}), now, StatePending, with(waiting("pending"), func(o *outcomes) {
			o.approve, o.beginClaim, o.giveGrant, o.goneToken = becomes+"claiming", tooFew, tooFew, becomes+"pending"
			o.abortClaim = becomes + "pending"
		})},
		{"approved", quorum, now, StateApproved, with(waiting("approved"), func(o *outcomes) { o.beginClaim = becomes + "claiming" })},
		{"claiming", claiming, now, StateClaiming, with(waiting("claiming"), func(o *outcomes) {
			o.beginClaim, o.giveGrant, o.goneToken = "what an earlier claim left behind has to be revoked first; try again", becomes+"active", becomes+"approved"
			o.abortClaim = becomes + "approved"
		})},
		{"claiming, with the lease that a failed claim left", left, now, StateClaiming, with(waiting("claiming"), func(o *outcomes) {
			o.beginClaim, o.goneLease = "what an earlier claim left behind has to be revoked first; try again", becomes+"approved"
		})},
		{"being run", run, now, StateClaiming, with(waiting("claiming"), func(o *outcomes) {
			o.beginClaim, o.giveGrant, o.goneToken = "what an earlier claim left behind has to be revoked first; try again", becomes+"active", becomes+"approved"
			o.abortClaim = becomes + "approved"
			o.approve, o.deny = "cannot decide on the request now: it is being run", "cannot decide on the request now: it is being run, and what it gives cannot be taken back"
			o.withdraw, o.cancel = "cannot withdraw a decision on the request now: it is being run", "cannot cancel the request now: it is being run"
		})},
		{"active", active, now, StateActive, with(dead("active"), func(o *outcomes) {
			o.cancel = "the request is active; end it with jit/revoke"
			o.abortClaim, o.revoke, o.leaseEnded = becomes+"ended", becomes+"ended", becomes+"ended"
			o.goneToken, o.goneLease = no("end what is held by", "active"), no("end what is held by", "active")
		})},
		{"denied", mustDo(t, quorum, start, deny(erin)), now, StateDenied, dead("denied")},
		{"denied, with a token", mustDo(t, claiming, start, deny(erin)), now, StateDenied, deadHolding("denied")},
		{"denied, with the lease that a failed claim left", mustDo(t, left, start, deny(erin)), now, StateDenied, with(dead("denied"), func(o *outcomes) {
			o.goneLease = becomes + "denied"
		})},
		{"cancelled", mustDo(t, quorum, start, Cancel{alice}), now, StateCancelled, dead("cancelled")},
		{"cancelled, with a token", mustDo(t, claiming, start, Cancel{alice}), now, StateCancelled, deadHolding("cancelled")},
		{"expired without quorum", pending, after(8 * time.Hour), StateExpired, dead("expired")},
		{"expired without claim", quorum, quorumOver, StateExpired, dead("expired")},
		{"expired while claiming", claiming, quorumOver, StateExpired, deadHolding("expired")},
		{"expired while being run", run, quorumOver, StateExpired, deadHolding("expired")},
		{"window over", active, windowOver, StateEnded, with(over, func(o *outcomes) {
			o.abortClaim, o.revoke, o.leaseEnded = becomes+"ended", becomes+"ended", becomes+"ended"
		})},
		{"ended, not confirmed", ending, now, StateEnded, over},
		{"ended, failed once", ending.Failed("lease", "upstream is down", start), now, StateEnded, over},
		{"ended, half of it gone", mustDo(t, ending, start, Gone{Handle: "token"}), now, StateEnded, with(over, func(o *outcomes) { o.goneToken = stays + "ended" })},
		{"ended, confirmed", mustDo(t, ending, start, Gone{Handle: "token"}, Gone{Handle: "lease"}), now, StateEnded, with(dead("ended"), func(o *outcomes) {
			o.revoke = "the grant has ended already, at 2026-03-02T09:00:00.000Z (revoked)"
		})},
		{"nothing", Request{}, now, StateExpired, with(dead("expired"), func(o *outcomes) {
			o.approve, o.deny = "you are in none of the approver groups", "you are in none of the approver groups"
			o.withdraw, o.cancel = "you have no decision on this request", "only its requester can cancel"
			o.beginClaim, o.revoke = "only its requester can claim", "you may not end this grant"
		})},
	} {
		covered[c.state] = true
		wantState(t, c.request, c.at, c.state)
		here := world
		here.Role = &RoleNow{Policy: "prod", Fingerprint: c.request.Ask.RoleFingerprint, MayAsk: true}
		commands := map[string]Command{
			"approve": approve(dave), "deny": deny(dave), "withdraw": Withdraw{bob}, "cancel": Cancel{alice},
			"beginClaim": claim(here), "giveGrant": give(here, c.at.Add(30*time.Minute)), "abortClaim": AbortClaim{Token: theToken},
			"revoke": Revoke{By: alice}, "leaseEnded": LeaseEnded{}, "goneToken": Gone{Handle: "token"}, "goneLease": Gone{Handle: "lease"}, "nothing": nil,
		}
		fields := reflect.ValueOf(c.outcomes)
		wantEqual(t, "number of commands", fields.NumField(), len(commands))
		for i := range fields.NumField() {
			what, want := fields.Type().Field(i).Name, fields.Field(i).String()
			t.Run(c.name+"/"+what, func(t *testing.T) {
				command, listed := commands[what]
				if want == "" || !listed {
					t.Fatal("the table says nothing of this")
				}
				before := asText(t, c.request)
				events, err := Do(c.request, command, c.at)
				wantEqual(t, "the request given", asText(t, c.request), before)
				got := mustAdd(t, c.request, events...)
				wantEqual(t, "the request given", asText(t, c.request), before)
				if state, same := strings.CutPrefix(want, stays); same {
					if err != nil || events != nil {
						t.Fatalf("it gives %v, %v", events, err)
					}
					wantState(t, got, c.at, State(state))
					return
				}
				if state, legal := strings.CutPrefix(want, becomes); legal {
					if err != nil {
						t.Fatalf("refused: %v", err)
					}
					if len(events) == 0 {
						t.Fatal("accepted, but nothing happened")
					}
					wantState(t, got, c.at, State(state))
					return
				}
				wantRefusal(t, err, want)
				if events != nil {
					t.Fatalf("refused, and it gives %v", events)
				}
			})
		}
	}
	for _, state := range States() {
		if !covered[state] {
			t.Errorf("no request of the table is %s", state)
		}
	}
}

func TestPointersToCommandsAreNoCommands(t *testing.T) {
	r := newRequest(t, prod(rule("dba", 1, "dbas")))
	for _, command := range []Command{nil, &Decide{}, &Withdraw{}, &Cancel{}, &BeginClaim{}, &GiveGrant{}, &AbortClaim{Token: theToken}, &Revoke{}, &LeaseEnded{}, &Gone{}} {
		events, err := Do(r, command, start)
		wantRefusal(t, err, "is no command for a request")
		wantEqual(t, "number of events", len(events), 0)
	}
}

// endsSomething tells of the commands that are never refused for being late.
func endsSomething(command Command) bool {
	switch command.(type) {
	case AbortClaim, Gone:
		return true
	}
	return false
}

func TestZeroCommandsAreRefusedOrGiveNothing(t *testing.T) {
	commands := []Command{Decide{}, Withdraw{}, Cancel{}, BeginClaim{}, GiveGrant{}, Revoke{}, AbortClaim{}, Gone{}}
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	claiming := mustDo(t, quorum, after(time.Minute), claim(world))
	for name, r := range map[string]Request{
		"nothing":  {},
		"pending":  newRequest(t, prod(rule("dba", 1, "dbas"))),
		"approved": quorum,
		"claiming": claiming,
		"active":   granted(t),
	} {
		for _, command := range commands {
			if events, err := Do(r, command, after(3*time.Minute)); (err == nil) != endsSomething(command) || events != nil {
				t.Errorf("%s: %T gives %v, %v", name, command, events, err)
			}
		}
		// It only ever ends something, and only a grant.
		if events, err := Do(r, LeaseEnded{}, after(3*time.Minute)); err != nil || (len(events) > 0) != (r.Grant != nil) {
			t.Errorf("%s: the end of the lease gives %v, %v", name, events, err)
		}
	}
	_, err := do(quorum, BeginClaim{Claimer: standing("alice"), World: world}, after(time.Minute))
	wantRefusal(t, err, "cannot claim without a grant token a request that is approved")
}

func TestDecisionIsFrozenAsItWasMade(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas", "leads"), rule("lead", 1, "leads"))
	bob := standing("bob", "others", "leads", "dbas")
	command := Decide{Approver: bob, Requester: standing("alice"), Verdict: Approve, Comment: "<b>fine</b>\n\tby me"}
	cet := time.FixedZone("CET", 3600)
	r := replayed(t, mustDo(t, newRequest(t, policy), start.In(cet), command))
	wantEqual(t, "decision", r.Decisions, []Decision{{
		Approver: person("bob"), Groups: []string{"dbas", "leads"}, Verdict: Approve, Comment: "<b>fine</b>\n\tby me", At: start,
	}})
}

func TestOneCurrentDecisionAPerson(t *testing.T) {
	policy := prod(rule("dba", 2, "dbas"))
	policy.DenyThreshold = 2
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	r := mustDo(t, newRequest(t, policy), start, approve(bob), approve(carol))
	r = mustDo(t, r, after(time.Minute), deny(bob))
	wantState(t, r, after(time.Minute), StatePending)
	wantEqual(t, "decisions", r.Decisions, []Decision{
		decided(carol, Approve, start),
		decided(bob, Deny, after(time.Minute)),
	})
	r = mustDo(t, r, after(2*time.Minute), approve(bob))
	wantState(t, r, after(2*time.Minute), StateApproved)
	wantEqual(t, "number of decisions", len(r.Decisions), 2)
	wantEqual(t, "number of events", len(r.Events), 4)
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
		command Decide
		news    bool
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
			r := mustDo(t, newRequest(t, policy), start, approve(bob))
			events, err := Do(r, c.command, after(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			if !c.news {
				wantEqual(t, "events", events, nil)
				return
			}
			next := mustAdd(t, r, events...)
			wantEqual(t, "number of decisions", len(next.Decisions), 1)
			d := next.Decisions[0]
			wantEqual(t, "decision", d, Decision{Approver: c.command.Approver.Person, Groups: d.Groups, Verdict: c.command.Verdict, Comment: c.command.Comment, At: after(time.Minute)})
		})
	}
}

func TestRefusedDecisionSaysWhy(t *testing.T) {
	r := newRequest(t, prod(rule("dba", 1, "dbas")))
	change := func(change func(*Decide)) Decide {
		command := approve(standing("bob", "dbas"))
		change(&command)
		return command
	}
	for name, c := range map[string]struct {
		command Command
		want    string
	}{
		"nobody":                   {approve(Standing{}), "your entity no longer exists in Vault"},
		"disabled":                 {approve(disabled("bob", "dbas")), "your entity is disabled in Vault"},
		"in no group":              {approve(standing("bob")), `you are in none of the approver groups of policy "prod"`},
		"in another group":         {approve(standing("bob", "leads")), `you are in none of the approver groups of policy "prod"`},
		"the requester":            {approve(standing("alice", "dbas")), "you made this request, and its policy does not count its requester; cancel it if it is not needed"},
		"the requester denying":    {deny(standing("alice", "dbas")), "you made this request"},
		"neither word":             {change(func(d *Decide) { d.Verdict = "" }), `"" is neither "approve" nor "deny"`},
		"another word":             {change(func(d *Decide) { d.Verdict = "Approve" }), `"Approve" is neither "approve" nor "deny"`},
		"a comment too long":       {change(func(d *Decide) { d.Comment = strings.Repeat("x", 4097) }), "comment: it has 4097 bytes; at most 4096 are accepted"},
		"a comment unreadable":     {change(func(d *Decide) { d.Comment = "\u202e" }), "comment: it holds the control character U+202E"},
		"for nobody":               {change(func(d *Decide) { d.Requester = Standing{} }), "the requester no longer exists in Vault"},
		"withdraw by nobody":       {Withdraw{}, "your entity no longer exists in Vault"},
		"withdraw by the disabled": {Withdraw{disabled("bob", "dbas")}, "your entity is disabled in Vault"},
		"withdraw without word":    {Withdraw{standing("bob", "dbas")}, "you have no decision on this request to withdraw"},
		"cancel by another":        {Cancel{standing("bob", "dbas")}, "only its requester can cancel a request; deny it instead"},
		"cancel by nobody":         {Cancel{}, "only its requester can cancel a request"},
		"cancel by the merged":     {Cancel{Standing{Person: person("alice")}}, "your entity no longer exists in Vault"},
		"cancel by the disabled":   {Cancel{disabled("alice")}, "your entity is disabled in Vault"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Do(r, c.command, start)
			wantRefusal(t, err, c.want)
		})
	}
}

// Who may not decide on a request is not told what became of it.
func TestStrangersLearnNothingOfTheState(t *testing.T) {
	r := mustDo(t, newRequest(t, prod(rule("dba", 1, "dbas"))), start, Cancel{standing("alice")})
	mallory := standing("mallory")
	for _, command := range []Command{approve(mallory), Withdraw{mallory}, Cancel{mallory}, Revoke{By: mallory}, BeginClaim{Claimer: mallory}} {
		_, err := Do(r, command, start)
		if err == nil || strings.Contains(err.Error(), "cancelled") {
			t.Errorf("%T says: %v", command, err)
		}
	}
}

func TestFormerApproverMayWithdraw(t *testing.T) {
	r := mustDo(t, newRequest(t, prod(rule("dba", 2, "dbas"))), start, approve(standing("bob", "dbas")))
	former := standing("bob")
	wantEqual(t, "a former approver sees it", r.MaySee(former, false), true)
	withdrawn := mustDo(t, r, start, Withdraw{former})
	wantEqual(t, "number of decisions", len(withdrawn.Decisions), 0)
	wantEqual(t, "a former approver sees it without a decision", withdrawn.MaySee(former, false), false)
}

func TestFormerApproverMayDoNothingElse(t *testing.T) {
	former := standing("bob")
	quorum, _ := quorate(t, prod(rule("dba", 2, "dbas")))
	_, err := Do(quorum, approve(former), after(time.Minute))
	wantRefusal(t, err, "you are in none of the approver groups")
	_, err = Do(quorum, deny(former), after(time.Minute))
	wantRefusal(t, err, "you are in none of the approver groups")
	_, err = Do(granted(t), Revoke{By: former}, after(3*time.Minute))
	wantRefusal(t, err, "you may not end this grant")
}

func TestGrantIsGivenWithTheTokenOfTheClaimForTheWindowAtMost(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(time.Minute)
	claiming := mustDo(t, quorum, at, claim(world))
	alice := person("alice")
	wantEqual(t, "claim", claiming.Claim, &ClaimBegan{Stamp: Stamp{At: at, By: &alice}, Token: theToken})
	wantEqual(t, "held", claiming.Held, []Held{{Handle: theToken}})

	other, lease := grant.Token{Accessor: "accessor-2"}, grant.Lease{ID: "l"}
	for name, c := range map[string]GiveGrant{
		"another token":                  {world, grant.Handles{other, lease}, after(time.Hour)},
		"no token":                       {world, grant.Handles{lease}, after(time.Hour)},
		"nothing":                        {world, nil, after(time.Hour)},
		"two leases":                     {world, grant.Handles{theToken, lease, lease}, after(time.Hour)},
		"a window that is over":          {world, grant.Handles{theToken}, at},
		"a window longer than was asked": {world, grant.Handles{theToken}, at.Add(time.Hour + 1)},
		"no window":                      {world, grant.Handles{theToken}, time.Time{}},
	} {
		_, err := Do(claiming, c, at)
		if err == nil {
			t.Errorf("granted with %s", name)
			continue
		}
		wantRefusal(t, err, "cannot grant a request that is claiming")
	}
	// The window starts at the claim, however long it took to make the grant.
	_, err := Do(claiming, give(world, at.Add(time.Hour+time.Second)), at.Add(10*time.Second))
	wantRefusal(t, err, "cannot grant")
	until := at.Add(time.Hour)
	active := mustDo(t, claiming, at.Add(10*time.Second), GiveGrant{world, grant.Handles{lease, theToken}, until.In(time.FixedZone("CET", 3600))})
	wantEqual(t, "grant", active.Grant, &Grant{ClaimedAt: at, Until: until})
	wantEqual(t, "claim", active.Claim, nil)
	wantEqual(t, "held", active.Held, []Held{{Handle: lease}, {Handle: theToken}})
	for range 2 {
		_, err = Do(active, give(world, until), at.Add(11*time.Second))
		wantRefusal(t, err, "cannot grant a request that is active")
	}
}

func TestClaimThatEndedCanBeMadeAgainWithAnotherToken(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	ended := mustDo(t, quorum, after(time.Minute), claim(world), Gone{Handle: "token"})
	wantState(t, ended, after(time.Minute), StateApproved)
	again := claim(world)
	again.Token.Accessor = "accessor-2"
	r := mustDo(t, ended, after(3*time.Minute), again)
	wantEqual(t, "when it was claimed", r.Claim.At, after(3*time.Minute))
	_, err := do(r, give(world, after(time.Hour)), after(3*time.Minute))
	wantRefusal(t, err, "cannot grant a request that is claiming")
}

func TestGrantIsJudgedOnTheRequestAsItIsNow(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(2 * time.Minute)
	claiming := mustDo(t, quorum, at, claim(world))
	for want, meanwhile := range map[string]Command{
		"the request is denied":    deny(standing("dave", "dbas")),
		"the request is cancelled": Cancel{standing("alice")},
		`rule "dba" has 1 of 2`:    Withdraw{standing("bob", "dbas")},
	} {
		_, err := do(mustDo(t, claiming, at, meanwhile), give(world, after(time.Hour)), at)
		wantRefusal(t, err, want)
	}
	changed := world
	changed.Role = nil
	_, err := do(claiming, give(changed, after(time.Hour)), at)
	wantRefusal(t, err, `role "dba" has been deleted`)
}

func TestClaimWhoseWriteWasLostEndsWhatWasRecorded(t *testing.T) {
	r := granted(t)
	at := after(3 * time.Minute)
	failed := mustDo(t, r, at, AbortClaim{Token: theToken})
	wantEqual(t, "end", failed.End, &End{At: at, Reason: ClaimFailed})
	wantEqual(t, "events of one more", len(mustDo(t, failed, at, AbortClaim{Token: theToken}).Events), len(failed.Events))
	// No grant was recorded: the claim ends with its token.
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	claiming := mustDo(t, quorum, at, claim(world))
	wantState(t, mustDo(t, claiming, at, AbortClaim{Token: theToken}), at, StateApproved)
	wantState(t, mustDo(t, claiming, at, AbortClaim{Token: grant.Token{Accessor: "of another claim"}}), at, StateClaiming)
}

func TestLeftoverOfAFailedClaimIsHeldUntilItIsGone(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(2 * time.Minute)
	lease := grant.Lease{ID: "l"}
	left := mustDo(t, quorum, at, claim(world), AbortClaim{Token: theToken, Left: grant.Handles{theToken, lease}})
	wantEqual(t, "to do", Next(left, at), []Task{EndHandle{theToken}, EndHandle{lease}})
	wantEqual(t, "listed as due", left.Listing().Due(at), true)
	wantEqual(t, "listed as held", left.Listing().Holding(), true)
	replayed(t, left)
	failed := left.Failed("lease", "upstream is down", at)
	wantEqual(t, "problem", failed.Problem(), "upstream is down")
	replayed(t, failed)
	// Neither its expiry nor its requester makes it be filed before.
	for _, over := range []Request{mustDo(t, failed, at, Cancel{standing("alice")}), failed} {
		wantEqual(t, "finished", over.Finished(after(9*time.Hour)), false)
		gone := mustDo(t, over, after(9*time.Hour), Gone{Handle: "token"}, Gone{Handle: "lease"})
		wantEqual(t, "finished", gone.Finished(after(9*time.Hour)), true)
		replayed(t, gone)
	}
	gone := mustDo(t, failed, at, Gone{Handle: "token"}, Gone{Handle: "lease"})
	wantState(t, gone, at, StateApproved)
	wantState(t, mustDo(t, gone, at, claim(world), give(world, after(time.Hour))), at, StateActive)
}

func TestGoneOfAnotherHandleEndsNoClaim(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	claiming := mustDo(t, quorum, after(time.Minute), claim(world))
	for _, key := range []string{"", "lease", "member", "accessor-1"} {
		events, err := Do(claiming, Gone{Handle: key}, after(time.Minute))
		if err != nil || events != nil {
			t.Errorf("%q gives %v, %v", key, events, err)
		}
	}
}

func TestEveryStampNamesWhoDidIt(t *testing.T) {
	r := granted(t)
	by := func(e Event) string {
		stamp := reflect.ValueOf(e).FieldByName("Stamp").Interface().(Stamp)
		if stamp.By == nil {
			return ""
		}
		return stamp.By.Name
	}
	var who []string
	for _, event := range mustDo(t, r, after(3*time.Minute), Revoke{By: standing("carol", "dbas")}, Gone{Handle: "token"}, Gone{Handle: "lease"}).Events {
		who = append(who, event.kind()+" "+by(event))
	}
	wantEqual(t, "who did what", who, []string{"decided bob", "decided carol", "claim_began alice", "granted ", "end_began carol", "ended ", "ended "})
	if !slices.IsSortedFunc(r.Events, func(a, b Event) int { return a.stamp().At.Compare(b.stamp().At) }) {
		t.Error("events are out of order")
	}
}
