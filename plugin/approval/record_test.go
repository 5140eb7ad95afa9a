package approval

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// A record is what a request is in storage: JSON, read back by this release or a later one.

func TestNumbersOfTheAskKeepTheirDigits(t *testing.T) {
	question := asking(prod(rule("dba", 1, "dbas")))
	data := map[string]any{"id": json.Number("12345678901234567890"), "share": json.Number("1.0")}
	changeSecret(&question.Role, func(s *grant.Secret) { s.Operation, s.Data = grant.Write, data })
	wantEqual(t, "data", replayed(t, askedWith(t, question)).Ask.Grant.Data, data)
}

// Whatever is changed in the ask, byte by byte, the record is refused.
func TestDigestCoversEveryByteOfTheAsk(t *testing.T) {
	question := asking(prod(rule("dba", 2, "dbas")))
	changeSecret(&question.Role, func(s *grant.Secret) {
		s.Parameters = grant.Parameters{"db": {Pattern: "[a-z]+", Default: "orders"}}
		s.Operation, s.Data = grant.Write, map[string]any{"a": "b"}
	})
	record := stored(t, mustDo(t, askedWith(t, question), start, approve(standing("bob", "dbas"))))
	if _, err := Replay(record); err != nil {
		t.Fatal(err)
	}
	asked := record.Asked
	for i := range asked {
		for _, flip := range []byte{1, 0x20} {
			record.Asked = slices.Clone(asked)
			record.Asked[i] ^= flip
			_, err := Replay(record)
			wantRefusal(t, err, "its digest does not match what was asked")
		}
	}
	for _, other := range []json.RawMessage{nil, {}, append(slices.Clone(asked), ' '), asked[:len(asked)-1]} {
		record.Asked = other
		_, err := Replay(record)
		wantRefusal(t, err, "its digest does not match what was asked")
	}
}

// Every field of the ask, found by reflection so that no new one is forgotten, is in the bytes that the digest covers.
func TestEveryFieldOfTheAskIsStored(t *testing.T) {
	question := asking(prod(rule("dba", 2, "dbas")))
	changeSecret(&question.Role, func(s *grant.Secret) {
		s.Parameters = grant.Parameters{"db": {Pattern: "[a-z]+", Default: "orders"}}
		s.Operation, s.Data = grant.Write, map[string]any{"a": "b"}
	})
	ask := askedWith(t, question).Ask
	base := asText(t, ask)
	changed := 0
	// differs sees the text differ for each value that can be changed in v, and leaves v as it was.
	var differs func(path string, v reflect.Value)
	differs = func(path string, v reflect.Value) {
		another := reflect.New(v.Type()).Elem()
		at, isTime := v.Interface().(time.Time)
		switch {
		case isTime:
			another.Set(reflect.ValueOf(at.Add(1)))
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				differs(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				differs(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
			another.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		case v.Kind() == reflect.Map:
			another.Set(reflect.MakeMap(v.Type()))
			another.SetMapIndex(reflect.ValueOf("another"), reflect.Zero(v.Type().Elem()))
		case v.Kind() == reflect.String:
			another.SetString(v.String() + "x")
		case v.Kind() == reflect.Bool:
			another.SetBool(!v.Bool())
		case v.CanInt():
			another.SetInt(v.Int() + 1)
		default:
			t.Fatalf("%s is a %s, of which this test knows nothing", path, v.Kind())
		}
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		v.Set(another)
		changed++
		if asText(t, ask) == base {
			t.Errorf("%s is not stored", path)
		}
		v.Set(was)
	}
	differs("Ask", reflect.ValueOf(&ask).Elem())
	wantEqual(t, "the ask afterwards", asText(t, ask), base)
	if changed < 30 {
		t.Fatalf("only %d fields were changed", changed)
	}
}

func TestDamagedRecordIsRefusedByName(t *testing.T) {
	whole := stored(t, granted(t))
	sealed := func(asked string) func(*Record) {
		return func(r *Record) { r.Asked, r.Digest = json.RawMessage(asked), digestOf([]byte(asked)) }
	}
	for _, c := range []struct {
		name    string
		change  func(*Record)
		problem string
	}{
		{"the zero record", func(r *Record) { *r = Record{} }, "it has version 0, this release knows 1"},
		{"a newer version", func(r *Record) { r.V = 2 }, "it has version 2, this release knows 1"},
		{"no digest", func(r *Record) { r.Digest = "" }, "its digest does not match"},
		{"no ask and the digest of none", sealed(""), "what was asked: EOF"},
		{"another digest", func(r *Record) { r.Digest = digestOf([]byte("x")) }, "its digest does not match"},
		{"the digest in upper case", func(r *Record) { r.Digest = strings.ToUpper(r.Digest) }, "its digest does not match"},
		{"another id", func(r *Record) { r.ID = "other" }, `it holds the ask of request "` + requestID + `"`},
		{"an ask of another request", sealed(`{"id":"other"}`), `it holds the ask of request "other"`},
		{"an ask with an unknown field", sealed(`{"id":"` + requestID + `","conditions":[]}`), `what was asked: json: unknown field "conditions"`},
		{"an ask whose policy has an unknown field", sealed(`{"policy":{"freezes":1}}`), `what was asked: json: unknown field "freezes"`},
		{"an ask that is no object", sealed(`[]`), "what was asked: json: cannot unmarshal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			record := whole
			c.change(&record)
			r, err := Replay(record)
			wantRefusal(t, err, c.problem)
			wantEqual(t, "the request", r, Request{})
		})
	}
}

func TestUnknownEventsAreRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		`[{"extended":{}}]`:                   `event 0: "extended" is not known to this release`,
		`[{"cancelled":{}},{"Cancelled":{}}]`: `event 1: "Cancelled" is not known to this release`,
		`null`:                                "the events are missing",
		`[{}]`:                                "event 0 has 0 kinds",
		`[null]`:                              "event 0 has 0 kinds",
		`[{"cancelled":{},"withdrew":{}}]`:    "event 0 has 2 kinds",
		`[{"cancelled":{"why":"x"}}]`:         `event 0, cancelled: json: unknown field "why"`,
		`[{"decided":{"by":{"entity":"x"}}}]`: `event 0, decided: json: unknown field "entity"`,
		`[{"granted":{"handles":[{"cookie":{}}]}}]`:    `event 0, granted: handle "cookie": it is not known`,
		`[{"claim_began":{"token":{"secret":"s.1"}}}]`: `event 0, claim_began: json: unknown field "secret"`,
		`[{"ended":[]}]`:   "event 0, ended: json: cannot unmarshal",
		`{"cancelled":{}}`: "cannot unmarshal object",
		`["cancelled"]`:    "cannot unmarshal string",
	} {
		var events Events
		wantRefusal(t, json.Unmarshal([]byte(text), &events), want)
		wantEqual(t, "what is left", len(events), 0)
	}
}

func TestEachEventIsStoredUnderItsKind(t *testing.T) {
	r := granted(t)
	r = mustDo(t, r, after(3*time.Minute), LeaseEnded{}, Gone{Handle: "token"})
	all := append(slices.Clone(r.Events), Withdrew{}, Cancelled{}, ClaimEnded{})
	var stored []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(asText(t, all)), &stored); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for i, event := range all {
		if len(stored[i]) != 1 || stored[i][event.kind()] == nil {
			t.Errorf("%T is stored as %v", event, stored[i])
		}
		kinds[event.kind()] = true
	}
	wantEqual(t, "kinds", len(kinds), len(decoders))
	var back Events
	if err := json.Unmarshal([]byte(asText(t, all)), &back); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "events after storage", asText(t, back), asText(t, all))
}

// What a damaged or forged record says in an order in which nothing happens is no history.
func TestEventsOutOfOrderAreRefused(t *testing.T) {
	at := Stamp{At: after(time.Minute)}
	bob := person("bob")
	began := ClaimBegan{at, theToken}
	whole := Granted{at, after(time.Hour), grant.Handles{theToken}}
	over := EndBegan{at, WindowEnd}
	yes := Decided{Stamp: Stamp{at.At, &bob}, Verdict: Approve}
	const order = "nothing before it leads there"
	for _, c := range []struct {
		name    string
		events  Events
		problem string
	}{
		{"granted without claim", Events{whole}, "event 0, granted: " + order},
		{"claimed without token", Events{ClaimBegan{Stamp: at}}, "event 0, claim_began: " + order},
		{"claimed twice", Events{began, began}, "event 1, claim_began: " + order},
		{"claimed once granted", Events{began, whole, began}, "event 2, claim_began: " + order},
		{"granted twice", Events{began, whole, whole}, "event 2, granted: " + order},
		{"granted once the claim has ended", Events{began, ClaimEnded{Stamp: at}, whole}, "event 2, granted: " + order},
		{"two tokens left by one claim", Events{began, ClaimEnded{Stamp: at, Left: grant.Handles{theToken, theToken}}}, "event 1, claim_ended: " + order},
		{"claimed while something is left", Events{began, ClaimEnded{Stamp: at, Left: grant.Handles{theToken}}, began}, "event 2, claim_began: " + order},
		{"a handle that ends twice", Events{began, ClaimEnded{Stamp: at, Left: grant.Handles{theToken}}, Ended{at, "token"}, Ended{at, "token"}}, "event 3, ended: " + order},
		{"a handle that ends with its claim under way", Events{began, Ended{at, "token"}}, "event 1, ended: " + order},
		{"no claim ended", Events{ClaimEnded{Stamp: at}}, "event 0, claim_ended: " + order},
		{"a claim ended once granted", Events{began, whole, ClaimEnded{Stamp: at}}, "event 2, claim_ended: " + order},
		{"the end of no grant", Events{over}, "event 0, end_began: " + order},
		{"the end of a claim", Events{began, over}, "event 1, end_began: " + order},
		{"two ends", Events{began, whole, over, over}, "event 3, end_began: " + order},
		{"a handle that ends before the grant", Events{began, whole, Ended{at, "token"}}, "event 2, ended: " + order},
		{"a handle that is none", Events{began, whole, over, Ended{at, "lease"}}, "event 3, ended: " + order},
		{"decided by nobody", Events{Decided{Stamp: at, Verdict: Approve}}, "event 0, decided: " + order},
		{"withdrawn by nobody", Events{Withdrew{at}}, "event 0, withdrew: " + order},
		{"decided neither way", Events{Decided{Stamp: yes.Stamp, Verdict: "perhaps"}}, "event 0, decided: " + order},
		{"decided once cancelled", Events{Cancelled{at}, yes}, "event 1, decided: " + order},
		{"decided once granted", Events{began, whole, yes}, "event 2, decided: " + order},
		{"withdrawn once granted", Events{began, whole, Withdrew{yes.Stamp}}, "event 2, withdrew: " + order},
		{"cancelled once granted", Events{began, whole, Cancelled{at}}, "event 2, cancelled: " + order},
		{"cancelled twice", Events{Cancelled{at}, Cancelled{at}}, "event 1, cancelled: " + order},
		{"claimed once cancelled", Events{Cancelled{at}, began}, "event 1, claim_began: " + order},
		{"granted once cancelled", Events{began, Cancelled{at}, whole}, "event 2, granted: " + order},
		{"granted without a handle", Events{began, Granted{at, after(time.Hour), nil}}, "event 1, granted: " + order},
		{"granted with another token", Events{began, Granted{at, after(time.Hour), grant.Handles{grant.Token{Accessor: "x"}}}}, "event 1, granted: " + order},
		{"granted with one handle twice", Events{began, Granted{at, after(time.Hour), grant.Handles{theToken, theToken}}}, "event 1, granted: " + order},
		{"over for no reason", Events{began, whole, EndBegan{Stamp: at}}, "event 2, end_began: " + order},
		{"over for an unknown reason", Events{began, whole, EndBegan{at, "boredom"}}, "event 2, end_began: " + order},
		{"a handle gone twice", Events{began, whole, over, Ended{at, "token"}, Ended{at, "token"}}, "event 4, ended: " + order},
		{"cancelled at no time", Events{Cancelled{}}, "event 0, cancelled: it has no time"},
		{"a handle gone at no time", Events{began, whole, over, Ended{Handle: "token"}}, "event 3, ended: it has no time"},
		{"nothing", Events{nil}, "an event is nothing"},
		{"a pointer", Events{&Cancelled{at}}, "event 0, cancelled: it is no event of a request"},
		{"the second of two", Events{Withdrew{Stamp{after(time.Minute), &bob}}, whole}, "event 1, granted: " + order},
	} {
		t.Run(c.name, func(t *testing.T) {
			fresh := newRequest(t, prod(rule("dba", 1, "dbas")))
			record := fresh.Record
			record.Events = c.events
			r, err := Replay(record)
			wantRefusal(t, err, c.problem)
			wantEqual(t, "the request", r, Request{})
			_, err = fresh.With(c.events...)
			wantRefusal(t, err, c.problem)
			wantEqual(t, "events of the request given", len(fresh.Events), 0)
		})
	}
}

// Two requests that grow out of one do not see each other's events.
func TestRequestsThatGrowOutOfOneAreApart(t *testing.T) {
	r := mustDo(t, newRequest(t, lenient()), start, approve(standing("bob", "dbas")))
	one := mustDo(t, r, start, approve(standing("carol", "dbas")))
	other := mustDo(t, r, start, Cancel{standing("alice")})
	wantState(t, one, start, StateApproved)
	wantState(t, other, start, StateCancelled)
	wantEqual(t, "kinds", one.Events[1].kind()+" "+other.Events[1].kind(), "decided cancelled")
	ending := mustDo(t, granted(t), after(3*time.Minute), LeaseEnded{}).Failed("token", "x", after(3*time.Minute))
	gone := mustDo(t, ending, after(3*time.Minute), Gone{Handle: "token"})
	wantEqual(t, "gone of the request before", ending.Held[0].Gone, time.Time{})
	wantEqual(t, "gone", gone.Held[0].Gone, after(3*time.Minute))
	wantEqual(t, "attempts of the request before", len(ending.Attempts), 1)
}

func FuzzRecordHasAStateAndMakesNoQuorumOfNothing(f *testing.F) {
	policy := prod(rule("dba", 2, "dbas"))
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	pending := newRequest(f, policy)
	quorum := mustDo(f, pending, start, approve(bob), approve(carol))
	claiming := mustDo(f, quorum, start, claim(worldOf(quorum, bob, carol)))
	active := mustDo(f, claiming, start, give(worldOf(quorum, bob, carol), after(time.Hour)))
	for _, r := range []Request{
		pending, quorum, claiming, active,
		mustDo(f, quorum, start, deny(standing("dave", "dbas"))),
		mustDo(f, pending, start, Cancel{standing("alice")}),
		mustDo(f, active, start, LeaseEnded{}).Failed("lease", "upstream is down", start),
		mustDo(f, active, start, Revoke{By: bob}, Gone{Handle: "token"}, Gone{Handle: "lease"}),
	} {
		f.Add([]byte(r.Asked), []byte(asText(f, r.Events)), []byte(asText(f, r.Attempts)))
	}
	f.Add([]byte(`{"id":"`+requestID+`","policy":{"rules":[{"approvals":0},{"approvals":-1,"approver_groups":[""]}]}}`),
		[]byte(`[{"decided":{"by":{}}},{"decided":{"by":{"entity_id":"x"},"verdict":"approve"}}]`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, ask, events, attempts []byte) {
		// The digest is made here, so that what it would hide is reached.
		record := Record{V: RecordVersion, ID: requestID, Asked: ask, Digest: digestOf(ask)}
		if json.Unmarshal(events, &record.Events) != nil || json.Unmarshal(attempts, &record.Attempts) != nil {
			return
		}
		r, err := Replay(record)
		if err != nil {
			return
		}
		for _, now := range []time.Time{{}, start, after(time.Hour), after(24 * time.Hour)} {
			state := r.State(now)
			if !slices.Contains(States(), state) {
				t.Fatalf("state is %q", state)
			}
			if (state == StateApproved || state == StateClaiming) && len(r.Decisions) == 0 {
				t.Fatalf("%s without a decision", state)
			}
			if r.Finished(now) && (state.Open() || r.Holding()) {
				t.Fatalf("finished, though %s", state)
			}
			Next(r, now)
			r.FinishedAt()
			r.Listing().Due(now)
			role := &RoleNow{Policy: r.Ask.Policy.Name, Fingerprint: r.Ask.RoleFingerprint, MayAsk: true}
			for _, world := range []World{{}, {Requester: standing("alice"), Role: role, Policy: &policy, MaxWindow: time.Hour}} {
				if v := Judge(r, world, now); v.Claimable || len(v.Obstacles) == 0 {
					t.Fatal("claimable without anybody who approves")
				}
			}
			before := asText(t, r)
			for _, command := range []Command{approve(bob), Withdraw{bob}, Cancel{standing("alice")}, claim(World{}), give(World{}, now.Add(time.Hour)), AbortClaim{Token: theToken}, Revoke{By: bob}, LeaseEnded{}, Gone{Handle: "token"}} {
				given, err := Do(r, command, now)
				if next, impossible := r.With(given...); err == nil && impossible == nil && !slices.Contains(States(), next.State(now)) {
					t.Fatalf("%T leads to %q", command, next.State(now))
				}
				if asText(t, r) != before {
					t.Fatalf("%T changed the request it was given (%v)", command, err)
				}
			}
		}
	})
}

// A reading of the clock that only this process understands would make two equal records differ.
func TestTimesAreKeptWithoutTheProcessClock(t *testing.T) {
	now := time.Now()
	r, err := ask(requestID, asking(prod(rule("dba", 1, "dbas"))), now)
	if err != nil {
		t.Fatal(err)
	}
	r = mustDo(t, r, now, approve(standing("bob", "dbas")))
	back := replayed(t, r)
	wantEqual(t, "time of the ask", back.Ask.At, r.Ask.At)
	wantEqual(t, "time of the decision", back.Decisions[0].At, r.Decisions[0].At)
}

func TestFreshRecordSaysOnlyWhatIsThere(t *testing.T) {
	text := asText(t, newRequest(t, prod(rule("dba", 1, "dbas"))).Record)
	for _, absent := range []string{"attempts", "decided", "cancelled", "claim\"", "\"end\"", "parameters"} {
		if strings.Contains(text, absent) {
			t.Errorf("the record of a fresh request speaks of %s: %s", absent, text)
		}
	}
	if !strings.Contains(text, `"events":[]`) {
		t.Errorf("the record of a fresh request has no list of events: %s", text)
	}
}
