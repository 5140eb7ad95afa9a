package approval

import (
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

func TestThoseWhoAnswerForAGrantMayRevokeIt(t *testing.T) {
	r := granted(t) // bob and carol approved
	at := after(3 * time.Minute)
	for _, c := range []struct {
		name    string
		revoke  Revoke
		refusal string
	}{
		{"the requester", Revoke{By: standing("alice")}, ""},
		{"the requester under another entity", Revoke{By: merged(standing("alice2"), "alice")}, ""},
		{"an approver who decided", Revoke{By: standing("bob", "dbas")}, ""},
		{"an approver who did not decide", Revoke{By: standing("erin", "dbas")}, ""},
		{"an auditor", Revoke{By: standing("frank"), Auditor: true}, ""},
		{"an operator", Revoke{By: standing("grace"), Operator: true}, ""},
		{"an operator without a name", Revoke{Operator: true}, "whoever ends a grant as an operator needs a name"},
		{"an operator without entity", Revoke{By: Standing{Person: Person{Name: "root"}}, Operator: true}, ""},
		{"a former approver", Revoke{By: standing("bob")}, `you may not end this grant: its requester may, whoever is in an approver group of policy "prod" now, and auditors`},
		{"a stranger", Revoke{By: standing("mallory", "others")}, "you may not end this grant"},
		{"nobody", Revoke{}, "your entity no longer exists in Vault"},
		{"nobody, though called an auditor", Revoke{Auditor: true}, "your entity no longer exists in Vault"},
		{"a disabled requester", Revoke{By: disabled("alice")}, "your entity is disabled in Vault"},
		{"a disabled approver", Revoke{By: disabled("bob", "dbas")}, "your entity is disabled in Vault"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended, err := do(r, c.revoke, at)
			if c.refusal != "" {
				wantRefusal(t, err, c.refusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, "end", ended.End, &End{At: at, Reason: Revoked, By: &c.revoke.By.Person})
		})
	}
}

func TestEndSaysWhatEndedTheGrant(t *testing.T) {
	end := after(32 * time.Minute)
	bob := standing("bob", "dbas")
	active := granted(t)
	for _, c := range []struct {
		name    string
		command Command
		at      time.Time
		want    End
	}{
		{"revoked by somebody", Revoke{By: bob}, after(3 * time.Minute), End{At: after(3 * time.Minute), Reason: Revoked, By: &bob.Person}},
		{"revoked by somebody at the last moment", Revoke{By: bob}, end.Add(-1), End{At: end.Add(-1), Reason: Revoked, By: &bob.Person}},
		{"revoked by somebody when it was over", Revoke{By: bob}, end, End{At: end, Reason: WindowEnd}},
		{"revoked by somebody long after", Revoke{By: bob}, after(2 * time.Hour), End{At: end, Reason: WindowEnd}},
		{"lease revoked by Vault", LeaseEnded{}, after(3 * time.Minute), End{At: after(3 * time.Minute), Reason: LeaseRevoked}},
		{"lease ended a bit early", LeaseEnded{}, end.Add(-2 * time.Second), End{At: end.Add(-2 * time.Second), Reason: WindowEnd}},
		{"lease ended earlier than that", LeaseEnded{}, end.Add(-2*time.Second - 1), End{At: end.Add(-2*time.Second - 1), Reason: LeaseRevoked}},
		{"lease ended late", LeaseEnded{}, end.Add(1), End{At: end, Reason: WindowEnd}},
		{"the window's end, with the first handle", Gone{Handle: "lease"}, end, End{At: end, Reason: WindowEnd}},
		{"the claim gave nothing out", AbortClaim{Token: theToken}, after(3 * time.Minute), End{At: after(3 * time.Minute), Reason: ClaimFailed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustDo(t, active, c.at, c.command)
			wantEqual(t, "end", *r.End, c.want)
			wantState(t, r, start, StateEnded)
		})
	}
}

func TestEndIsRetriedUntilConfirmedAndThenStays(t *testing.T) {
	alice := standing("alice")
	r := mustDo(t, granted(t), after(3*time.Minute), Revoke{By: alice})
	end := End{At: after(3 * time.Minute), Reason: Revoked, By: &alice.Person}
	wantEqual(t, "tasks", Next(r, after(3*time.Minute)), []Task{EndHandle{theToken}, EndHandle{r.Held[1].Handle}})

	r = r.Failed("token", "vault is sealed", after(3*time.Minute)).Failed("lease", "upstream is down", after(3*time.Minute))
	end.LastError = "vault is sealed; upstream is down"
	wantEqual(t, "end", *r.End, end)
	r = mustDo(t, r, after(4*time.Minute), Gone{Handle: "token"})
	end.LastError = "upstream is down"
	wantEqual(t, "end", *r.End, end)
	wantEqual(t, "confirmed", r.End.Confirmed(), false)
	wantEqual(t, "revoking it once more", len(mustDo(t, r, after(4*time.Minute), Revoke{By: alice}).Events), len(r.Events))
	wantEqual(t, "tasks", Next(r, after(4*time.Minute)), []Task{EndHandle{r.Held[1].Handle}})

	r = mustDo(t, r, after(6*time.Minute), Gone{Handle: "lease"})
	end.LastError, end.ConfirmedAt = "", after(6*time.Minute)
	wantEqual(t, "end", *r.End, end)
	wantEqual(t, "confirmed", r.End.Confirmed(), true)
	wantEqual(t, "tasks", Next(r, after(6*time.Minute)), []Task{File{}})
}

func TestConfirmationIsTheLastHandlesWhicheverThatIs(t *testing.T) {
	r := mustDo(t, granted(t), after(3*time.Minute), LeaseEnded{})
	r = mustDo(t, r, after(4*time.Minute), Gone{Handle: "lease"})
	r = mustDo(t, r, after(5*time.Minute), Gone{Handle: "token"})
	wantEqual(t, "confirmed at", r.End.ConfirmedAt, after(5*time.Minute))
	// The clock may have gone back meanwhile.
	back := mustDo(t, mustDo(t, granted(t), after(3*time.Minute), LeaseEnded{}), after(5*time.Minute), Gone{Handle: "token"})
	back = mustDo(t, back, after(4*time.Minute), Gone{Handle: "lease"})
	wantEqual(t, "confirmed at", back.End.ConfirmedAt, after(5*time.Minute))
}

func TestGoneOfWhatIsGoneGivesNothing(t *testing.T) {
	r := mustDo(t, granted(t), after(3*time.Minute), LeaseEnded{}, Gone{Handle: "token"})
	for _, key := range []string{"token", "member", ""} {
		events, err := Do(r, Gone{Handle: key}, after(4*time.Minute))
		if err != nil || events != nil {
			t.Errorf("%q gives %v, %v", key, events, err)
		}
	}
}

func TestNextHasNoTaskWhileARequestLives(t *testing.T) {
	quorum, _ := quorate(t, prod(rule("dba", 2, "dbas")))
	for _, r := range []Request{newRequest(t, prod(rule("dba", 2, "dbas"))), quorum, granted(t)} {
		wantEqual(t, "tasks", Next(r, after(3*time.Minute)), nil)
		wantEqual(t, "listed as due", r.Listing().Due(after(3*time.Minute)), false)
	}
	EndHandle{}.task()
	File{}.task()
}

// The longer an end fails, the longer until the next try, up to ten minutes.
func TestAttemptsKeepSinceAndGrowApart(t *testing.T) {
	since := after(3 * time.Minute)
	r := mustDo(t, granted(t), since, LeaseEnded{})
	now, last := since, time.Duration(0)
	for now.Before(since.Add(3 * time.Hour)) {
		before := asText(t, r)
		failed := r.Failed("token", "upstream is down", now)
		wantEqual(t, "the request given", asText(t, r), before)
		r = failed
		attempt := r.Attempts["token"]
		wantEqual(t, "since, at", []time.Time{attempt.Since, attempt.At}, []time.Time{since, now})
		wait := attempt.Next.Sub(now)
		if wait < last || wait > 10*time.Minute || (now.Sub(since) < 4*time.Minute) != (wait == 0) {
			t.Fatalf("after %s it waits %s, before that %s", now.Sub(since), wait, last)
		}
		if wait > 0 {
			// The other handle waits for nothing.
			wantEqual(t, "tasks", Next(r, now), []Task{EndHandle{r.Held[1].Handle}})
			wantEqual(t, "tasks when it is due", len(Next(r, attempt.Next)), 2)
		}
		now, last = now.Add(max(wait, time.Minute)), wait
	}
	wantEqual(t, "longest wait", last, 10*time.Minute)
	wantEqual(t, "LastError after storage", replayed(t, r).End.LastError, "upstream is down")
	gone := mustDo(t, r, now, Gone{Handle: "token"})
	wantEqual(t, "attempts", len(gone.Attempts), 0)
	wantEqual(t, "LastError", gone.End.LastError, "")
	wantEqual(t, "attempts of the request before", len(r.Attempts), 1)
}

// The record says nothing of the end of the window until something of the grant is gone.
func TestWindowWhoseEndFailsIsDueWhenTheNextTryIs(t *testing.T) {
	r := granted(t)
	over := r.Grant.Until
	for _, key := range []string{"token", "lease"} {
		r = r.Failed(key, "upstream is down", over).Failed(key, "upstream is down", over.Add(20*time.Minute))
	}
	next := over.Add(25 * time.Minute)
	wantEqual(t, "tasks before", Next(r, next.Add(-1)), nil)
	wantEqual(t, "listed as due before", r.Listing().Due(next.Add(-1)), false)
	wantEqual(t, "tasks", len(Next(r, next)), 2)
	wantEqual(t, "listed as due", r.Listing().Due(next), true)
	// A try that fails while the grant lives ends nothing.
	early := granted(t).Failed("token", "upstream is down", after(3*time.Minute)).Failed("lease", "upstream is down", after(3*time.Minute))
	wantEqual(t, "tasks", Next(early, after(4*time.Minute)), nil)
	wantEqual(t, "listed as due", early.Listing().Due(after(4*time.Minute)), false)
}

func TestAttemptsAreClearedWithTheClaimTheyBelongTo(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	at := after(2 * time.Minute)
	failed := mustDo(t, quorum, at, claim(world)).Failed("token", "vault is sealed", at)
	wantEqual(t, "attempts", len(failed.Attempts), 1)
	wantEqual(t, "attempts after storage", len(replayed(t, failed).Attempts), 1)
	wantEqual(t, "attempts once the claim has ended", len(mustDo(t, failed, at, Gone{Handle: "token"}).Attempts), 0)
	active := mustDo(t, failed, at, give(world, after(time.Hour)))
	wantEqual(t, "attempts once it is granted", len(active.Attempts), 0)
	wantEqual(t, "LastError of the grant's end", mustDo(t, active, at, LeaseEnded{}).End.LastError, "")
	// An attempt of what is not held any more is not read again.
	stale := stored(t, quorum)
	stale.Attempts = map[string]Attempt{"token": {Since: at, At: at, Next: after(time.Hour), Problem: "x"}}
	r, err := Replay(stale)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "attempts of nothing", len(r.Attempts), 0)
	half := stored(t, mustDo(t, granted(t), after(3*time.Minute), LeaseEnded{}, Gone{Handle: "token"}))
	half.Attempts = stale.Attempts
	if r, err = Replay(half); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "attempts of what is gone", len(r.Attempts), 0)
}

func TestRecordSaysNothingOfAttemptsThatAreNone(t *testing.T) {
	if text := asText(t, granted(t).Record); strings.Contains(text, "attempts") {
		t.Error(text)
	}
}

func TestHandlesOfARequestAreThoseNotGone(t *testing.T) {
	r := mustDo(t, granted(t), after(3*time.Minute), LeaseEnded{}, Gone{Handle: "token"})
	lease := r.Held[1].Handle
	wantEqual(t, "handles", r.Handles(), grant.Handles{lease})
	wantEqual(t, "handles of a request without claim", newRequest(t, lenient()).Handles(), nil)
	wantEqual(t, "known are the gone one, the other, and no third", []bool{r.Knows(theToken), r.Knows(lease), r.Knows(grant.Token{Accessor: "accessor-2"})}, []bool{true, true, false})
}

func TestUnleasedGrantIsNotClaimedAgainOnceItMayHaveBeenSent(t *testing.T) {
	policy := prod(rule("dba", 1, "dbas"))
	q := asking(policy)
	changeSecret(&q.Role, func(s *grant.Secret) { s.AllowUnleased = true })
	record, err := New(requestID, q, start)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Replay(record)
	if err != nil {
		t.Fatal(err)
	}
	bob := standing("bob", "dbas")
	approved := mustDo(t, r, start, approve(bob))
	world := worldOf(approved, bob)
	world.Role, err = q.Role.Now("entity-alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := after(time.Minute)
	for name, c := range map[string]struct {
		ended AbortClaim
		says  string
	}{
		"nothing was sent":        {AbortClaim{Token: theToken, NothingSent: true}, ""},
		"something may have been": {AbortClaim{Token: theToken}, "an earlier claim may have made what cannot be taken back, so it is not made again: ask again"},
	} {
		t.Run(name, func(t *testing.T) {
			failed := mustDo(t, approved, at, claim(world), c.ended)
			wantState(t, failed, at, StateApproved)
			wantObstacle(t, Judge(failed, world, at), c.says)
			replayed(t, failed)
		})
	}
}

func TestAnotherNodesClockHoldsUpNoEnd(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	active := mustDo(t, quorum, start, claim(world), give(world, after(time.Hour)))
	over := mustDo(t, active, after(time.Minute), Revoke{By: standing("alice")})
	tried := over
	for _, at := range []time.Duration{20 * time.Minute, 40 * time.Minute} { // by a clock that is ahead
		tried = tried.Failed("token", "upstream is down", after(at))
	}
	tried = mustDo(t, tried, after(40*time.Minute), Gone{Handle: "lease"})
	for at, want := range map[time.Duration]bool{2 * time.Minute: true, 39 * time.Minute: true, 41 * time.Minute: false, 46 * time.Minute: true} {
		wantEqual(t, "tasks after "+at.String(), len(Next(tried, after(at))) > 0, want)
		wantEqual(t, "listed as due after "+at.String(), tried.Listing().Due(after(at)), want)
	}
}

func TestHandlesThatAreNotOnRecordAreToldApart(t *testing.T) {
	quorum, world := quorate(t, prod(rule("dba", 2, "dbas")))
	active := mustDo(t, quorum, start, claim(world), give(world, after(time.Hour)))
	other := grant.Token{Accessor: "another"}
	wantEqual(t, "unknown", active.Unknown(append(active.Handles(), other)), grant.Handles{other})
	wantEqual(t, "problem of what never failed", active.Problem(), "")
}
