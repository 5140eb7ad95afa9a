package approval

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
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
	l := &life{request: asked(t, policy), now: start, people: map[string]Standing{}}
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

func (l *life) facts(t *rapid.T) ClaimFacts {
	role, policy := dba(), l.request.Ask.Policy
	if rapid.IntRange(0, 5).Draw(t, "policy was changed") == 0 {
		policy.Version = 2
		policy.Rules = drawRules(t, 0)
		policy.ClaimTTL = rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "claim_ttl")
		policy.DenyThreshold = rapid.IntRange(1, 3).Draw(t, "deny_threshold")
	}
	return ClaimFacts{Requester: l.people["alice"], Role: &role, Policy: &policy, Roster: l.roster(), MaxWindow: 24 * time.Hour}
}

// drawEvent draws something that happens to the request, legal or not.
func (l *life) drawEvent(t *rapid.T) Event {
	who := l.people[rapid.SampledFrom(everybody).Draw(t, "who")]
	alice := l.people["alice"]
	comment := rapid.SampledFrom([]string{"", "", "", "ok", "fine"}).Draw(t, "comment")
	switch rapid.SampledFrom([]string{"approve", "approve", "approve", "approve", "deny", "withdraw", "cancel", "claim", "claim", "keep", "keep", "abandon", "grant", "grant", "end", "confirm", "fail"}).Draw(t, "event") {
	case "approve":
		return Decide{Approver: who, Requester: alice, Verdict: Approve, Comment: comment}
	case "deny":
		return Decide{Approver: who, Requester: alice, Verdict: Deny, Comment: comment}
	case "withdraw":
		return Withdraw{who}
	case "cancel":
		return Cancel{who}
	case "claim":
		claimer := rapid.SampledFrom([]Person{alice.Person, alice.Person, alice.Person, who.Person, {}}).Draw(t, "claimer")
		return StartClaim{claimer, l.facts(t)}
	case "keep":
		return KeepToken{rapid.SampledFrom([]string{"accessor-1", "accessor-2", ""}).Draw(t, "accessor")}
	case "abandon":
		return AbandonClaim{}
	case "grant":
		window := rapid.SampledFrom([]time.Duration{time.Hour, time.Minute, 0, 2 * time.Hour}).Draw(t, "window")
		return Succeed{Grant{ClaimedAt: l.now, ExpiresAt: l.now.Add(window), Accessor: rapid.SampledFrom([]string{"accessor-1", "accessor-2", ""}).Draw(t, "accessor")}}
	case "end":
		by := &who.Person
		if rapid.Bool().Draw(t, "by Vault") {
			by = nil
		}
		return BeginEnd{Reason: rapid.SampledFrom([]EndReason{WindowEnd, Revoked, LeaseRevoked, ""}).Draw(t, "reason"), By: by}
	case "confirm":
		return ConfirmEnd{}
	}
	return FailEnd{"upstream is down"}
}

func (l *life) happens(t *rapid.T) {
	event := l.drawEvent(t)
	before, record, state := l.request, asText(t, l.request), l.request.State(l.now)
	next, err := Apply(before, event, l.now)

	wantEqual(t, "the request given", asText(t, before), record)
	if err != nil {
		if err.Error() == "" {
			t.Fatal("a refusal without a word")
		}
		wantEqual(t, "the request after a refusal", next, before)
		return
	}
	l.request = next
	switch event := event.(type) {
	case Decide:
		l.wantDecided(t, before, event)
	case Withdraw:
		if next.Counted().Quorum && !before.Counted().Quorum {
			t.Fatal("a withdrawal added a quorum")
		}
	case KeepToken:
		wantEqual(t, "state in which a token is kept", state, Claiming)
		wantEqual(t, "leftover before", before.Leftover(), "")
		wantEqual(t, "leftover", next.Leftover(), event.Accessor)
	case StartClaim:
		wantEqual(t, "who claims", event.Claimer.Name, "alice")
		wantState(t, next, l.now, Claiming)
		wantEqual(t, "leftover before", before.Leftover(), "")
	case Succeed:
		wantEqual(t, "state in which it is granted", state, Claiming)
		l.grants++
		if next.Grant.ExpiresAt.After(l.now.Add(next.Ask.TTL)) {
			t.Fatal("granted for longer than was asked")
		}
	case AbandonClaim:
		wantEqual(t, "leftover", next.Leftover(), "")
	case Cancel:
		wantEqual(t, "who cancelled", event.Requester.Name, "alice")
		wantState(t, next, l.now, Cancelled)
	case BeginEnd:
		wantState(t, next, l.now, Ended)
		if next.End.At.After(next.Grant.ExpiresAt) || (next.End.Reason == Revoked) != (next.End.By != nil) {
			t.Fatalf("the end is %+v", next.End)
		}
	case ConfirmEnd:
		wantEqual(t, "finished", next.Finished(l.now), true)
	case FailEnd:
		wantEqual(t, "finished", next.Finished(l.now), false)
	}
}

// wantDecided checks a decision that was accepted against who gave it.
func (l *life) wantDecided(t *rapid.T, before Request, event Decide) {
	t.Helper()
	who := event.Approver
	if !who.Exists || who.Disabled || len(l.request.Ask.Policy.eligible(who.Groups)) == 0 {
		t.Fatalf("the word of %s was accepted", who.Name)
	}
	if who.Name == "alice" && !l.request.Ask.Policy.AllowSelfApproval {
		t.Fatal("the word of alice was accepted")
	}
	for _, d := range l.request.Decisions {
		if samePerson(d.Approver, who.Person) && (d.Approver.EntityID != who.EntityID || d.Verdict != event.Verdict || d.Comment != event.Comment) {
			t.Fatalf("%s said %s, and the record has %+v", who.Name, event.Verdict, d)
		}
	}
	for _, d := range before.Decisions {
		kept := slices.ContainsFunc(l.request.Decisions, func(k Decision) bool { return k.Approver.EntityID == d.Approver.EntityID })
		if !kept && !samePerson(d.Approver, who.Person) {
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
		t.Fatalf("granted %d times, and the record holds %v", l.grants, r.Grant)
	}
	if l.dead != "" {
		wantEqual(t, "state of what was dead", state, l.dead)
	} else if !state.Open() {
		l.dead = state
	}
	if r.Finished(l.now) {
		if state.Open() || r.Leftover() != "" || (r.Grant != nil && (r.End == nil || !r.End.Confirmed())) {
			t.Fatalf("finished, though %s with leftover %q", state, r.Leftover())
		}
		if r.FinishedAt().After(l.now) {
			t.Fatalf("finished %s from now", r.FinishedAt().Sub(l.now))
		}
	}
	counted := r.Counted()
	if quorum := model(r.Ask.Policy, r.Ask.Requester, r.Decisions, frozen(r)).quorum; quorum != counted.Quorum || quorum == r.QuorumAt().IsZero() {
		t.Fatalf("quorum by the model is %t, counted %t, stands since %s", quorum, counted.Quorum, r.QuorumAt())
	}
	if (state == Approved || state == Claiming) && (!counted.Quorum || counted.Denied) {
		t.Fatalf("%s without quorum", state)
	}
	if state == Pending && counted.Quorum {
		t.Fatal("pending with a quorum")
	}
	if (state == Claiming) != (state.Open() && r.Claim != nil && r.Grant == nil && counted.Quorum) {
		t.Fatalf("%s, with claim %v", state, r.Claim)
	}
	if r.Grant == nil && r.Deadline().After(start.Add(r.Ask.Policy.RequestTTL+r.Ask.Policy.ClaimTTL)) {
		t.Fatalf("nobody has claimed it, and still it lives until %s", r.Deadline().Sub(start))
	}
	if state.Open() && !l.now.Before(r.Deadline()) {
		t.Fatalf("%s after its deadline", state)
	}
	if (r.Ending(l.now) == nil) != (state != Ended) {
		t.Fatalf("%s, and its ending is %v", state, r.Ending(l.now))
	}
	for _, who := range l.people {
		if r.Decidable(who, l.people["alice"], l.now) {
			if _, err := Apply(r, Decide{Approver: who, Requester: l.people["alice"], Verdict: Deny}, l.now); err != nil {
				t.Fatalf("in the inbox of %s, who is refused: %v", who.Name, err)
			}
			if !r.MaySee(who, false) {
				t.Fatalf("in the inbox of %s, who may not see it", who.Name)
			}
		}
	}
	l.survivesStorage(t)
}

// frozen is the roster of approvers as they were when they decided.
func frozen(r Request) Roster {
	roster := Roster{}
	for _, d := range r.Decisions {
		roster[d.Approver.EntityID] = Standing{Person: d.Approver, Exists: true, Groups: d.Groups}
	}
	return roster
}

func (l *life) survivesStorage(t *rapid.T) {
	t.Helper()
	text := asText(t, l.request)
	var back Request
	if err := json.Unmarshal([]byte(text), &back); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "the record stored once more", asText(t, back), text)
	wantEqual(t, "state of what was stored", back.State(l.now), l.request.State(l.now))
	wantEqual(t, "digest of what was stored", back.Digest, l.request.Digest)
	if !back.Intact() || !l.request.Intact() {
		t.Fatal("a stored request is not intact")
	}
}

// run lets so many things happen, without looking.
func (l *life) run(t *rapid.T, most int) {
	for range rapid.IntRange(0, most).Draw(t, "steps") {
		switch rapid.IntRange(0, 7).Draw(t, "step") {
		case 0:
			l.passes(t)
		case 1:
			l.changes(t)
		default:
			l.happens(t)
		}
	}
}

func TestWhateverHappensTheRulesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		t.Repeat(map[string]func(*rapid.T){
			"":              l.holds,
			"happens":       l.happens,
			"happens, too":  l.happens,
			"happens again": l.happens,
			"time passes":   l.passes,
			"things change": l.changes,
		})
	})
}

// The way of a request that goes well, with chance at every step, so that the rules are seen to hold to the end.
func TestWhateverHappensOnTheWayToAGrantTheRulesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		for _, name := range someDeciders[1:] {
			l.run(t, 1)
			if next, err := Apply(l.request, approve(l.people[name]), l.now); err == nil {
				l.request = next
			}
		}
		for _, event := range []Event{StartClaim{person("alice"), l.facts(t)}, KeepToken{"accessor-1"}, nil, BeginEnd{Reason: LeaseRevoked}, ConfirmEnd{}} {
			l.run(t, 1)
			if event == nil {
				event = Succeed{Grant{ClaimedAt: l.now, ExpiresAt: l.now.Add(time.Hour), Accessor: "accessor-1"}}
			}
			if next, err := Apply(l.request, event, l.now); err == nil {
				if next.Grant != nil && l.request.Grant == nil {
					l.grants++
				}
				l.request = next
			}
			l.holds(t)
		}
	})
}
