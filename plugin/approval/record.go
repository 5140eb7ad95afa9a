package approval

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// RecordVersion is the version of a [Record] that this release writes.
const RecordVersion = 1

// Record is what is stored of one request. Attempts are no history: nothing is decided from them but when to try again.
type Record struct {
	V  int    `json:"v"`
	ID string `json:"id"`
	// Asked is an [Ask], byte for byte as it was first written. Digest is the hex SHA-256 of these bytes.
	Asked  json.RawMessage `json:"asked"`
	Digest string          `json:"digest"`
	Events Events          `json:"events"`
	// Attempts are the last failed tries to end something, by the key of its handle.
	Attempts map[string]Attempt `json:"attempts,omitempty"`
}

// Attempt is the last try of something that has failed since Since.
type Attempt struct {
	Since   time.Time `json:"since"`
	At      time.Time `json:"at"`
	Next    time.Time `json:"next"`
	Problem string    `json:"problem"`
}

// Stamp is when an event happened, and who did it; By is nil where the engine or Vault did.
type Stamp struct {
	At time.Time `json:"at"`
	By *Person   `json:"by,omitempty"`
}

func (s Stamp) stamp() Stamp { return s }

// An Event is something that happened to a request.
//
//sumtype:decl
type Event interface {
	kind() string
	stamp() Stamp
}

// The events, in the order of a request's life.
type (
	// Decided is an approver's word. Groups are the approver groups of the policy that the approver was in then.
	Decided struct {
		Stamp
		Verdict DecisionVerdict `json:"verdict"`
		Comment string          `json:"comment,omitempty"`
		Groups  []string        `json:"groups"`
	}
	// Withdrew takes back the word of the same person.
	Withdrew struct{ Stamp }
	// Cancelled is the requester's own end of a request that was not granted.
	Cancelled struct{ Stamp }
	// ClaimBegan says that a claim made a grant token, and that from here on something may be made with it.
	ClaimBegan struct {
		Stamp
		Token grant.Token `json:"token"`
	}
	// ClaimEnded says that a claim gave nothing.
	ClaimEnded struct {
		Stamp
		// NothingSent says that the claim failed before anything was made with its token.
		NothingSent bool `json:"nothing_sent,omitempty"`
		// Left is what the claim made that has not ended yet. Each of it is gone only when Ended says so.
		Left grant.Handles `json:"left,omitempty"`
	}
	// Granted is the grant that a claim produced, until when it lasts and what it consists of.
	Granted struct {
		Stamp
		Until   time.Time     `json:"until"`
		Handles grant.Handles `json:"handles"`
	}
	// EndBegan says that a grant is over and why; each of its handles is gone only when Ended says so.
	EndBegan struct {
		Stamp
		Reason EndReason `json:"reason"`
	}
	// Ended says that one handle is gone: of a grant that is over, or of what a failed claim left.
	Ended struct {
		Stamp
		Handle string `json:"handle"`
	}
)

func (Decided) kind() string    { return "decided" }
func (Withdrew) kind() string   { return "withdrew" }
func (Cancelled) kind() string  { return "cancelled" }
func (ClaimBegan) kind() string { return "claim_began" }
func (ClaimEnded) kind() string { return "claim_ended" }
func (Granted) kind() string    { return "granted" }
func (EndBegan) kind() string   { return "end_began" }
func (Ended) kind() string      { return "ended" }

// Events is a list of events. Its stored form has each under the name of its kind.
type Events []Event

// MarshalJSON writes each event under its kind.
func (es Events) MarshalJSON() ([]byte, error) {
	out := make([]map[string]Event, len(es))
	for i, e := range es {
		out[i] = map[string]Event{e.kind(): e}
	}
	return json.Marshal(out)
}

var decoders = map[string]func(json.RawMessage) (Event, error){
	Decided{}.kind():    decodeEvent[Decided],
	Withdrew{}.kind():   decodeEvent[Withdrew],
	Cancelled{}.kind():  decodeEvent[Cancelled],
	ClaimBegan{}.kind(): decodeEvent[ClaimBegan],
	ClaimEnded{}.kind(): decodeEvent[ClaimEnded],
	Granted{}.kind():    decodeEvent[Granted],
	EndBegan{}.kind():   decodeEvent[EndBegan],
	Ended{}.kind():      decodeEvent[Ended],
}

func decodeEvent[E Event](text json.RawMessage) (Event, error) { return grant.DecodeStrictly[E](text) }

// UnmarshalJSON refuses kinds and fields that this release does not know: half a history must not pass for a history.
func (es *Events) UnmarshalJSON(text []byte) error {
	var in []map[string]json.RawMessage
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if in == nil {
		return errors.New("the events are missing") // not the same as none yet
	}
	out := make(Events, 0, len(in))
	for i, one := range in {
		if len(one) != 1 {
			return fmt.Errorf("event %d has %d kinds", i, len(one))
		}
		for kind, body := range one {
			decode, known := decoders[kind]
			if !known {
				return fmt.Errorf("event %d: %q is not known to this release", i, kind)
			}
			e, err := decode(body)
			if err != nil {
				return fmt.Errorf("event %d, %s: %w", i, kind, err)
			}
			out = append(out, e)
		}
	}
	*es = out
	return nil
}
