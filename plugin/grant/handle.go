package grant

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Handle is one thing that a grant consists of. How it ends follows from what it is. It never holds a secret.
//
//sumtype:decl
type Handle interface {
	// Key names the handle in a request's record; a grant has at most one of each.
	Key() string

	handle()
}

type (
	// Token is a Vault token, ended by its accessor, and with it all that it made.
	Token struct {
		Accessor string `json:"accessor"`
	}
	// Lease is a lease of Vault's, ended by its id.
	Lease struct {
		ID string `json:"id"`
		// Inert says that Vault answers yes to the end of this lease and nothing happens.
		Inert bool `json:"inert,omitempty"`
	}
	// Answer was given without a lease, and ends by itself or not at all.
	Answer struct {
		Serial     string    `json:"serial,omitempty"`
		WorksUntil time.Time `json:"works_until,omitzero"`
	}
	// Member is an entity's place in a Vault identity group.
	Member struct {
		GroupID  string `json:"group_id"`
		EntityID string `json:"entity_id"`
	}
)

func (Token) handle()  {}
func (Lease) handle()  {}
func (Answer) handle() {}
func (Member) handle() {}

// Key is "token".
func (Token) Key() string { return "token" }

// Key is "lease".
func (Lease) Key() string { return "lease" }

// Key is "answer".
func (Answer) Key() string { return "answer" }

// Key is "member".
func (Member) Key() string { return "member" }

// Handles is a list of handles. Its stored form has each under its key; unknown keys and fields are refused.
type Handles []Handle

// MarshalJSON writes each handle under its key.
func (hs Handles) MarshalJSON() ([]byte, error) {
	out := make([]map[string]Handle, len(hs))
	for i, h := range hs {
		out[i] = map[string]Handle{h.Key(): h}
	}
	return json.Marshal(out)
}

// UnmarshalJSON refuses what this release does not know.
func (hs *Handles) UnmarshalJSON(text []byte) error {
	var in []json.RawMessage
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	out := make(Handles, 0, len(in))
	for _, one := range in {
		key, body, err := onlyKey(one)
		if err != nil {
			return fmt.Errorf("handle: %w", err)
		}
		var h Handle
		switch key {
		case Token{}.Key():
			h, err = DecodeStrictly[Token](body)
		case Lease{}.Key():
			h, err = DecodeStrictly[Lease](body)
		case Answer{}.Key():
			h, err = DecodeStrictly[Answer](body)
		case Member{}.Key():
			h, err = DecodeStrictly[Member](body)
		default:
			err = fmt.Errorf("it is not known to this release")
		}
		if err != nil {
			return fmt.Errorf("handle %q: %w", key, err)
		}
		out = append(out, h)
	}
	*hs = out
	return nil
}

// Find returns the handle with the key, or nil.
func (hs Handles) Find(key string) Handle {
	for _, h := range hs {
		if h.Key() == key {
			return h
		}
	}
	return nil
}
