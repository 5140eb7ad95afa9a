package approval

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// life is one request and the world around it, in which anything may happen in any order.
type life struct {
	request Request
	now     time.Time
	people  map[string]Standing
	// grants counts how often a grant came about, dead is the state that ended it all once there is one.
	grants int
	dead   State
	// asked is the ask as it was made.
	asked string
}

// Besides alice, who asks, and the approvers there is bobby, whose entity shares a login with bob's.
var everybody = append([]string{"bobby"}, someDeciders...)

func newLife(t *rapid.T) *life {
	policy := prod(drawRules(t, 1)...)
	policy.DenyThreshold = rapid.IntRange(1, 2).Draw(t, "deny_threshold")
	policy.AllowSelfApproval = rapid.IntRange(0, 3).Draw(t, "self approval") == 0
	question := asking(policy)
	if rapid.IntRange(0, 3).Draw(t, "cannot be undone") == 0 {
		question = unleased(policy)
	}
	l := &life{request: askedWith(t, question), now: start, people: map[string]Standing{}}
	for _, name := range everybody {
		// Most are in all groups, so that something comes about.
		groups := someGroups
		if rapid.IntRange(0, 2).Draw(t, "specialist") == 0 {
			groups = drawGroups(t)
		}
		l.people[name] = standing(name, groups...)
	}
	l.people["bobby"] = merged(l.people["bobby"], "bob")
	l.asked = asText(t, l.request.Ask)
	return l
}

func (l *life) roster() Roster {
	roster := Roster{}
	for _, s := range l.people {
		roster[s.EntityID] = s
	}
	return roster
}

func (l *life) world(t *rapid.T) World {
	world := worldOf(l.request)
	world.Requester, world.Roster = l.people["alice"], l.roster()
	if rapid.IntRange(0, 5).Draw(t, "policy was changed") == 0 {
		world.Policy.Version = 2
		world.Policy.Rules = drawRules(t, 0)
		world.Policy.ClaimTTL = rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "claim_ttl")
		world.Policy.DenyThreshold = rapid.IntRange(1, 3).Draw(t, "deny_threshold")
	}
	return world
}

// drawCommand draws something that somebody wants, legal or not.
func (l *life) drawCommand(t *rapid.T) Command {
	who := l.people[rapid.SampledFrom(everybody).Draw(t, "who")]
	alice := l.people["alice"]
	comment := rapid.SampledFrom([]string{"", "", "", "ok", "fine"}).Draw(t, "comment")
	token := grant.Token{Accessor: rapid.SampledFrom([]string{"accessor-1", "accessor-1", "accessor-2", ""}).Draw(t, "accessor")}
	switch rapid.SampledFrom([]string{"approve", "approve", "approve", "approve", "deny", "withdraw", "cancel", "claim", "claim", "grant", "grant", "abort", "revoke", "lease", "gone", "gone", "gone"}).Draw(t, "command") {
	case "approve":
		return Decide{Approver: who, Requester: alice, Verdict: Approve, Comment: comment}
	case "deny":
		return Decide{Approver: who, Requester: alice, Verdict: Deny, Comment: comment}
	case "withdraw":
		return Withdraw{who}
	case "cancel":
		return Cancel{who}
	case "claim":
		claimer := rapid.SampledFrom([]Standing{alice, alice, alice, who, {}}).Draw(t, "claimer")
		return BeginClaim{Claimer: claimer, World: l.world(t), Token: token}
	case "grant":
		window := rapid.SampledFrom([]time.Duration{30 * time.Minute, time.Minute, 0, 2 * time.Hour}).Draw(t, "window")
		handles := rapid.SampledFrom([]grant.Handles{{token, grant.Lease{ID: "l"}}, {token}, {grant.Lease{ID: "l"}, token, grant.Member{}}, {token, token}, {grant.Lease{}}}).Draw(t, "handles")
		return GiveGrant{World: l.world(t), Handles: handles, Until: l.now.Add(window)}
	case "abort":
		left := rapid.SampledFrom([]grant.Handles{nil, {token}, {grant.Lease{ID: "l"}}, {token, grant.Lease{ID: "l"}}}).Draw(t, "left")
		return AbortClaim{Token: token, Left: left}
	case "revoke":
		return Revoke{By: who, Auditor: rapid.IntRange(0, 5).Draw(t, "auditor") == 0, Operator: rapid.IntRange(0, 5).Draw(t, "operator") == 0}
	case "lease":
		return LeaseEnded{}
	}
	return Gone{Handle: rapid.SampledFrom([]string{"token", "token", "lease", "member", ""}).Draw(t, "handle")}
}

func (l *life) happens(t *rapid.T) { l.wants(t, l.drawCommand(t)) }

// wants lets somebody want something, and checks what comes of it.
func (l *life) wants(t *rapid.T, command Command) {
	before, record, state := l.request, asText(t, l.request), l.request.State(l.now)
	events, err := Do(before, command, l.now)
	wantEqual(t, "the request given", asText(t, before), record)
	if err != nil {
		if refusal.Of(err) == nil || err.Error() == "" {
			t.Fatalf("refused with %v", err)
		}
		if events != nil {
			t.Fatalf("refused, and still there is %v", events)
		}
		return
	}
	next, err := before.With(events...)
	if err != nil {
		t.Fatalf("%T gives %v, which cannot be: %v", command, events, err)
	}
	wantEqual(t, "the request given", asText(t, before), record)
	l.request = next
	switch command := command.(type) {
	case Decide:
		l.wantDecided(t, before, command)
	case Withdraw:
		if next.Counted.Quorum && !before.Counted.Quorum {
			t.Fatal("a withdrawal added a quorum")
		}
	case Cancel:
		wantEqual(t, "who cancelled", command.Requester.Name, "alice")
		wantState(t, next, l.now, StateCancelled)
	case BeginClaim:
		wantEqual(t, "who claims", command.Claimer.Name, "alice")
		wantState(t, next, l.now, StateClaiming)
		wantEqual(t, "claim before", before.Claim, nil)
		wantEqual(t, "held", next.Held, []Held{{Handle: command.Token}})
	case GiveGrant:
		wantEqual(t, "state in which it is granted", state, StateClaiming)
		l.grants++
		if next.Grant.Until.After(before.Claim.At.Add(next.Ask.TTL)) {
			t.Fatal("granted for longer than was asked")
		}
		wantEqual(t, "held", len(next.Held), len(command.Handles))
	case AbortClaim:
		wantEqual(t, "events", len(events) > 0, (before.Claim != nil && before.Claim.Token == command.Token) ||
			(before.Grant != nil && before.End == nil && before.Knows(command.Token)))
		if before.Claim != nil && len(events) > 0 {
			wantEqual(t, "held", next.Handles(), command.Left)
		}
	case Revoke:
		wantState(t, next, l.now, StateEnded)
		if !command.Operator && !command.Auditor && command.By.Name != "alice" && len(next.Ask.Policy.eligible(command.By.Groups)) == 0 &&
			!isSamePerson(command.By.Person, person("alice")) {
			t.Fatalf("%s ended it", command.By.Name)
		}
	case LeaseEnded:
		wantEqual(t, "events", len(events) > 0, before.Grant != nil && before.End == nil)
	case Gone:
		for _, held := range next.Held {
			if held.Handle.Key() == command.Handle && held.Gone.IsZero() {
				t.Fatalf("%s is gone and still held", command.Handle)
			}
		}
		if again, err := Do(next, command, l.now); err != nil || len(again) > 0 {
			t.Fatalf("what is gone gave %v, %v", again, err)
		}
	}
	if end := next.End; end != nil && (end.Reason == Revoked) != (end.By != nil) {
		t.Fatalf("the end is %+v", end)
	}
}

// fails lets a try to end something fail.
func (l *life) fails(t *rapid.T) {
	for _, task := range Next(l.request, l.now) {
		if end, ok := task.(EndHandle); ok {
			l.request = l.request.Failed(end.Handle.Key(), rapid.SampledFrom([]string{"upstream is down", "permission denied"}).Draw(t, "problem"), l.now)
		}
	}
}

// wantDecided checks a decision that was accepted against who gave it.
func (l *life) wantDecided(t *rapid.T, before Request, command Decide) {
	t.Helper()
	who := command.Approver
	if !who.Exists || who.Disabled || len(l.request.Ask.Policy.eligible(who.Groups)) == 0 {
		t.Fatalf("the word of %s was accepted", who.Name)
	}
	if who.Name == "alice" && !l.request.Ask.Policy.AllowSelfApproval {
		t.Fatal("the word of alice was accepted")
	}
	if before.Claim != nil && before.Ask.Grant.CannotBeUndone() {
		t.Fatal("decided while it was being run")
	}
	for _, d := range l.request.Decisions {
		if isSamePerson(d.Approver, who.Person) && (d.Approver.EntityID != who.EntityID || d.Verdict != command.Verdict || d.Comment != command.Comment) {
			t.Fatalf("%s said %s, and the request has %+v", who.Name, command.Verdict, d)
		}
	}
	for _, d := range before.Decisions {
		kept := slices.ContainsFunc(l.request.Decisions, func(k Decision) bool { return k.Approver.EntityID == d.Approver.EntityID })
		if !kept && !isSamePerson(d.Approver, who.Person) {
			t.Fatalf("the word of %s is lost", d.Approver.Name)
		}
	}
}

func (l *life) passes(t *rapid.T) {
	l.now = l.now.Add(rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, 10 * time.Minute, 50 * time.Minute, 3 * time.Hour}).Draw(t, "time passed"))
}

// changes lets the world around the request change.
func (l *life) changes(t *rapid.T) {
	name := rapid.SampledFrom(everybody).Draw(t, "who changes")
	s := l.people[name]
	switch rapid.SampledFrom([]string{"groups", "disabled", "exists", "login"}).Draw(t, "what") {
	case "groups":
		s.Groups = drawGroups(t)
	case "disabled":
		s.Disabled = !s.Disabled
	case "exists":
		s.Exists = !s.Exists
	case "login":
		s = merged(s, rapid.SampledFrom(everybody).Draw(t, "login"))
	}
	l.people[name] = s
}

// holds checks what is true of every request at every moment.
func (l *life) holds(t *rapid.T) {
	r, state := l.request, l.request.State(l.now)
	if !slices.Contains(States(), state) {
		t.Fatalf("state is %q", state)
	}
	wantEqual(t, "the ask", asText(t, r.Ask), l.asked)
	if l.grants > 1 || (l.grants == 1) != (r.Grant != nil) {
		t.Fatalf("granted %d times, and the request holds %v", l.grants, r.Grant)
	}
	if l.dead != "" {
		wantEqual(t, "state of what was dead", state, l.dead)
	} else if !state.Open() {
		l.dead = state
	}
	if len(r.Events) > MaxEvents {
		t.Fatalf("%d events", len(r.Events))
	}
	if r.Finished(l.now) {
		if state.Open() || r.Holding() || (r.Grant != nil && (r.End == nil || !r.End.Confirmed())) {
			t.Fatalf("finished, though %s and holding %v", state, r.Held)
		}
		if r.FinishedAt().After(l.now) {
			t.Fatalf("finished %s from now", r.FinishedAt().Sub(l.now))
		}
	}
	if r.End != nil && r.End.Confirmed() == r.Holding() {
		t.Fatalf("the end is %+v, and held is %v", r.End, r.Held)
	}
	if quorum := model(r.Ask.Policy, r.Ask.Requester, r.Decisions, frozen(r)).quorum; quorum != r.Counted.Quorum || quorum == r.QuorumAt.IsZero() {
		t.Fatalf("quorum by the model is %t, counted %t, stands since %s", quorum, r.Counted.Quorum, r.QuorumAt)
	}
	if (state == StateApproved || state == StateClaiming) && (!r.Counted.Quorum || r.Counted.Denied) {
		t.Fatalf("%s without quorum", state)
	}
	if state == StatePending && r.Counted.Quorum {
		t.Fatal("pending with a quorum")
	}
	if (state == StateClaiming) != (state.Open() && r.Holding() && r.Grant == nil && r.Counted.Quorum) {
		t.Fatalf("%s, and holding %v", state, r.Held)
	}
	if r.Grant == nil && r.Deadline().After(start.Add(r.Ask.Policy.RequestTTL+r.Ask.Policy.ClaimTTL)) {
		t.Fatalf("nobody has claimed it, and still it lives until %s", r.Deadline().Sub(start))
	}
	if state.Open() && !l.now.Before(r.Deadline()) {
		t.Fatalf("%s after its deadline", state)
	}
	if (r.Ending(l.now) == nil) != (state != StateEnded) {
		t.Fatalf("%s, and its ending is %v", state, r.Ending(l.now))
	}
	l.hasTasks(t)
	l.isListed(t)
	l.survivesStorage(t)
}

// hasTasks checks that nothing is left lying, and nothing that lives is ended.
func (l *life) hasTasks(t *rapid.T) {
	t.Helper()
	r := l.request
	tasks := Next(r, l.now)
	files := slices.ContainsFunc(tasks, func(task Task) bool { _, files := task.(File); return files })
	if files != r.Finished(l.now) || (files && len(tasks) > 1) {
		t.Fatalf("finished is %t, tasks are %v", r.Finished(l.now), tasks)
	}
	ending := r.Grant == nil || r.Ending(l.now) != nil
	for _, held := range r.Held {
		waits := l.now.Before(r.Attempts[held.Handle.Key()].Next)
		if slices.Contains(tasks, Task(EndHandle{held.Handle})) != (ending && held.Gone.IsZero() && !waits) {
			t.Fatalf("tasks are %v, %v is held", tasks, held)
		}
	}
	wantEqual(t, "due", r.Listing().Due(l.now), len(tasks) > 0)
}

// isListed checks that the listing answers what the request does.
func (l *life) isListed(t *rapid.T) {
	t.Helper()
	r, listing := l.request, l.request.Listing()
	for _, at := range []time.Time{start, l.now, l.now.Add(time.Hour), l.now.Add(24 * time.Hour), r.Deadline().Add(-1), r.Deadline()} {
		wantEqual(t, "listed state", listing.State(at), r.State(at))
		wantEqual(t, "listed as due", listing.Due(at), len(Next(r, at)) > 0)
		wantEqual(t, "listed as waiting", listing.Waiting(at), r.State(at).Undecided())
	}
	wantEqual(t, "listed as holding", listing.Holding(), r.Holding())
	wantEqual(t, "listed as unreadable", listing.Unreadable(), false)
	alice := l.people["alice"]
	for _, who := range l.people {
		decider := slices.ContainsFunc(r.Decisions, func(d Decision) bool { return d.Approver.EntityID == who.EntityID })
		able := who.Exists && !who.Disabled
		for _, auditor := range []bool{false, true} {
			sees := able && (auditor || who.Name == "alice" || decider || len(r.Ask.Policy.eligible(who.Groups)) > 0)
			wantEqual(t, who.Name+" sees it", []bool{listing.Concerns(who, auditor), r.MaySee(who, auditor)}, []bool{sees, sees})
		}
		decidable := r.Decidable(who, alice, l.now)
		if decidable && (!listing.Awaits(who, l.now) || !r.MaySee(who, false)) {
			t.Fatalf("%s can decide on it, and is not awaited or does not see it", who.Name)
		}
		_, err := Do(r, Decide{Approver: who, Requester: alice, Verdict: Deny}, l.now)
		if decidable && err != nil {
			t.Fatalf("in the inbox of %s, who is refused: %v", who.Name, err)
		}
		if awaits := listing.Awaits(who, l.now); awaits && able && alice.problem() == "" && err == nil && !decidable &&
			!slices.ContainsFunc(r.Decisions, func(d Decision) bool { return isSamePerson(d.Approver, who.Person) }) {
			t.Fatalf("%s is awaited and can decide, and it is not in the inbox", who.Name)
		}
	}
}

// frozen is the roster of approvers as they were when they decided.
func frozen(r Request) Roster {
	roster := Roster{}
	for _, d := range r.Decisions {
		roster[d.Approver.EntityID] = Standing{Person: d.Approver, Exists: true, Groups: d.Groups}
	}
	return roster
}

// survivesStorage checks that the record amounts to the request that grew event by event.
func (l *life) survivesStorage(t *rapid.T) {
	t.Helper()
	wantEqual(t, "the request replayed", asText(t, replayed(t, l.request)), asText(t, l.request))
	back, err := Replay(l.request.Record)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "the request replayed without storage", asText(t, back), asText(t, l.request))
	wantEqual(t, "state of what was stored", back.State(l.now), l.request.State(l.now))
}

// run lets so many things happen, without looking.
func (l *life) run(t *rapid.T, most int) {
	for range rapid.IntRange(0, most).Draw(t, "steps") {
		switch rapid.IntRange(0, 8).Draw(t, "step") {
		case 0:
			l.passes(t)
		case 1:
			l.changes(t)
		case 2:
			l.fails(t)
		default:
			l.happens(t)
		}
	}
}

func TestRulesHoldWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		t.Repeat(map[string]func(*rapid.T){
			"":              l.holds,
			"happens":       l.happens,
			"happens, too":  l.happens,
			"happens again": l.happens,
			"time passes":   l.passes,
			"things change": l.changes,
			"an end fails":  l.fails,
		})
	})
}

// The way of a request that goes well, with chance at every step, so that the rules are seen to hold to the end.
func TestRulesHoldWhateverHappensOnTheWayToAGrant(t *testing.T) {
	ends := 0
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		for _, name := range someDeciders[1:] {
			l.run(t, 1)
			l.wants(t, approve(l.people[name]))
		}
		for _, command := range []Command{claim(l.world(t)), nil, LeaseEnded{}, Gone{Handle: "token"}, Gone{Handle: "lease"}} {
			l.run(t, 1)
			if command == nil {
				command = give(l.world(t), l.now.Add(30*time.Minute))
			}
			l.wants(t, command)
			l.holds(t)
		}
		if l.request.End != nil && l.request.End.Confirmed() {
			ends++
		}
	})
	if ends == 0 {
		t.Error("no request came to its end")
	}
}
