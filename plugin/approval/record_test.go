package approval

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// A record is what a request is in storage: JSON, read back by this version or a later one.

func TestNumbersOfTheAskOutliveStorageExactly(t *testing.T) {
	question := asking(prod(rule("dba", 1, "dbas")))
	question.Role.Operation = Write
	question.Role.Data = map[string]any{"id": json.Number("12345678901234567890"), "share": json.Number("1.0")}
	r, err := NewRequest(requestID, question, start)
	if err != nil {
		t.Fatal(err)
	}
	var exact, rounded Request
	decoder := json.NewDecoder(strings.NewReader(asText(t, r)))
	decoder.UseNumber()
	if err := decoder.Decode(&exact); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "intact", exact.Intact(), true)
	wantEqual(t, "data", exact.Ask.Grant.Data, r.Ask.Grant.Data)
	// Whoever reads numbers as floats has another ask, and is told so.
	if err := json.Unmarshal([]byte(asText(t, r)), &rounded); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "intact after rounding", rounded.Intact(), false)
}

func FuzzAnyRecordHasAStateAndMakesNoQuorumOfNothing(f *testing.F) {
	policy := prod(rule("dba", 2, "dbas"))
	bob, carol := standing("bob", "dbas"), standing("carol", "dbas")
	pending := asked(f, policy)
	quorum := applied(f, pending, start, approve(bob), approve(carol))
	holding := applied(f, quorum, start, StartClaim{person("alice"), factsOf(quorum, bob, carol)}, KeepToken{"accessor-1"})
	active := applied(f, holding, start, Succeed{grantUntil(after(time.Hour))})
	for _, r := range []Request{
		{}, pending, quorum, holding, active,
		applied(f, quorum, start, deny(standing("dave", "dbas"))),
		applied(f, pending, start, Cancel{standing("alice")}),
		applied(f, active, start, BeginEnd{Reason: LeaseRevoked}, FailEnd{"upstream is down"}),
	} {
		f.Add([]byte(asText(f, r)))
	}
	f.Add([]byte(`{"ask":{"policy":{"rules":[{"approvals":0},{"approvals":-1,"approver_groups":[""]}]}},"decisions":[{},{"verdict":"approve"}]}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		var r Request
		if json.Unmarshal(record, &r) != nil {
			return
		}
		for _, now := range []time.Time{{}, start, after(time.Hour), after(24 * time.Hour)} {
			state := r.State(now)
			if !slices.Contains(States(), state) {
				t.Fatalf("state is %q", state)
			}
			if (state == Approved || state == Claiming) && r.Ask.Policy.Validate() == nil && len(r.Decisions) == 0 {
				t.Fatalf("%s without a decision", state)
			}
			if r.Finished(now) && (state.Open() || r.Leftover() != "") {
				t.Fatalf("finished, though %s", state)
			}
			r.Due()
			r.FinishedAt()
			r.Intact()
			role := dba()
			if len(r.Claimable(ClaimFacts{}, now).Obstacles) == 0 || len(r.Claimable(ClaimFacts{Requester: standing("alice"), Role: &role, Policy: &policy, MaxWindow: time.Hour}, now).Obstacles) == 0 {
				t.Fatal("claimable without anybody who approves")
			}
			for _, event := range []Event{approve(bob), Withdraw{bob}, Cancel{standing("alice")}, KeepToken{"accessor-1"}, AbandonClaim{}, Succeed{grantUntil(now.Add(time.Hour))}, BeginEnd{Reason: LeaseRevoked}, ConfirmEnd{}, FailEnd{"x"}} {
				before := asText(t, r)
				if _, err := Apply(r, event, now); asText(t, r) != before {
					t.Fatalf("%T changed the record it was given (%v)", event, err)
				}
			}
		}
	})
}

// A reading of the clock that only this process understands would make two equal records differ.
func TestTimesAreKeptWithoutTheProcessClock(t *testing.T) {
	now := time.Now()
	r, err := NewRequest(requestID, asking(prod(rule("dba", 1, "dbas"))), now)
	if err != nil {
		t.Fatal(err)
	}
	r, err = Apply(r, approve(standing("bob", "dbas")), now)
	if err != nil {
		t.Fatal(err)
	}
	var back Request
	if err := json.Unmarshal([]byte(asText(t, r)), &back); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "time of the ask", back.Ask.At, r.Ask.At)
	wantEqual(t, "time of the decision", back.Decisions[0].At, r.Decisions[0].At)
}
