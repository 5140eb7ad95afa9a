package approval

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vault-jit/vault-jit/plugin/grant"
)

// Request is what a record amounts to. [Replay] computes it once for a call, and everyone reads from it.
type Request struct {
	Record
	Ask Ask
	// Decisions are the current one of each person, in the order of their making.
	Decisions []Decision
	// Counted is the tally that stood when the decisions were made, under the frozen policy.
	Counted Tally
	// QuorumAt is when the quorum that stands came to stand; zero while there is none.
	QuorumAt    time.Time
	CancelledAt time.Time
	// Claim is a claim that has neither granted nor ended: under way, or dead half-way.
	Claim *ClaimBegan
	Grant *Grant
	End   *End
	// Held is what was made and how far it has ended: the token of a claim, or the handles of a grant.
	Held []Held
}

// Grant is what a claim produced.
type Grant struct {
	ClaimedAt time.Time
	// Until is the end of the window; earlier than ClaimedAt + TTL if Vault or upstream gave less.
	Until time.Time
}

// EndReason says why a grant ended.
type EndReason string

const (
	WindowEnd    EndReason = "window_end"
	Revoked      EndReason = "revoked"
	LeaseRevoked EndReason = "lease_revoked"
	// ClaimFailed is the end of a grant that was recorded and never given out.
	ClaimFailed EndReason = "claim_failed"
)

var endReasons = []EndReason{WindowEnd, Revoked, LeaseRevoked, ClaimFailed}

// End is the end of a grant, whether or not everything that it held is gone.
type End struct {
	At     time.Time
	Reason EndReason
	// By is who revoked it, for the reason Revoked.
	By *Person
	// ConfirmedAt is when the last handle was known to be gone; zero while one is not.
	ConfirmedAt time.Time
	// LastError is what stood in the way at the last try.
	LastError string
}

// Confirmed reports whether nothing of the grant is left.
func (e End) Confirmed() bool { return !e.ConfirmedAt.IsZero() }

// Held is a handle with what is known of it.
type Held struct {
	Handle grant.Handle
	// Gone is when it was known to have ended; zero while it is not.
	Gone time.Time
}

// retryAtMost bounds how long the engine waits before it tries again to end something.
const retryAtMost = 10 * time.Minute

// Failed is the request after a try to end a handle that failed. The longer it has failed, the longer until the next
// try; for the first minutes it is due again at once.
func (r Request) Failed(handle, problem string, now time.Time) Request {
	attempt := Attempt{Since: now, At: now, Problem: problem}
	if last, known := r.Attempts[handle]; known {
		attempt.Since = last.Since
	}
	wait := now.Sub(attempt.Since) / 4
	if wait < time.Minute {
		wait = 0
	}
	attempt.Next = now.Add(min(wait, retryAtMost))
	return r.withAttempt(handle, attempt)
}

func (r Request) withAttempt(handle string, attempt Attempt) Request {
	attempts := map[string]Attempt{}
	maps.Copy(attempts, r.Attempts)
	attempts[handle] = attempt
	r.Attempts = attempts
	return finishEnd(r)
}

// Problem is what stood in the way of ending what is held, at the last tries; empty if nothing did.
func (r Request) Problem() string {
	var problems []string
	for _, handle := range r.Handles() {
		if attempt, failed := r.Attempts[handle.Key()]; failed {
			problems = append(problems, attempt.Problem)
		}
	}
	return strings.Join(problems, "; ")
}

// Knows reports whether the handle is on record, gone or not.
func (r Request) Knows(handle grant.Handle) bool {
	return slices.ContainsFunc(r.Held, func(h Held) bool { return h.Handle == handle })
}

// Unknown are those of the handles that are not on record.
func (r Request) Unknown(handles grant.Handles) grant.Handles {
	return slices.DeleteFunc(slices.Clone(handles), r.Knows)
}

// Handles are what is held and not gone.
func (r Request) Handles() grant.Handles {
	var handles grant.Handles
	for _, held := range r.Held {
		if held.Gone.IsZero() {
			handles = append(handles, held.Handle)
		}
	}
	return handles
}
