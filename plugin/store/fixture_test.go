package store_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// The fixture of these tests: people ask for role "db", which policy "two" guards: two of group "dba", of which everybody
// is a member, have to approve.

// config stands for the engine's.
type config struct {
	Address string `json:"address"`
	Extra   any    `json:"extra,omitempty"`
}

var start = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return start.Add(d) }

func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t rapid.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("there is no error; it should say %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func standing(name string) approval.Standing {
	return approval.Standing{
		Person: approval.Person{
			EntityID: "entity-" + name, Name: name,
			Aliases: []approval.Alias{{MountAccessor: "auth_userpass_1", Name: name}},
		},
		Exists: true, Groups: []string{"dba"},
	}
}

func policy() approval.Policy {
	return approval.Policy{
		Name: "two", Rules: []approval.Rule{{Name: "dba", ApproverGroups: []string{"dba"}, Approvals: 2}},
		DenyThreshold: 1, RequestTTL: 8 * time.Hour, ClaimTTL: time.Hour, MaxTTL: 8 * time.Hour,
		Revision: approval.Revision{Version: 1, UpdatedAt: start},
	}
}

func role(path string) approval.Role {
	return approval.Role{
		Name: "db", Policy: "two",
		Gives: grant.Stored{Spec: grant.Secret{
			Path: path, Operation: grant.Write, GrantPolicies: []string{"app"},
			Data: map[string]any{"size": json.Number("12345678901234567890.10"), "text": "a<b & é"},
		}},
	}
}

var lastID atomic.Uint32

// idAt is an id of that time, larger than those made before.
func idAt(at time.Time) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], uint64(at.UnixMilli())<<16)
	id[6], id[8] = 0x70, 0x80
	binary.BigEndian.PutUint32(id[9:], lastID.Add(1))
	return id.String()
}

// buildRecord makes the record of a new request, which is not stored.
func buildRecord(id, by string, at time.Time) (approval.Record, error) {
	return approval.New(id, approval.Question{
		Role: role("database/creds/app"), Policy: policy(), Requester: standing(by), Reason: "INC-1", TTL: time.Hour,
		MaxWindow: 24 * time.Hour, MaxWaiting: 1,
	}, at)
}

// newRequest is a new request, which is not stored.
func newRequest(t rapid.TB, by string, at time.Time) approval.Request {
	t.Helper()
	made, err := buildRecord(idAt(at), by, at)
	must(t, err)
	r, err := approval.Replay(made)
	must(t, err)
	return r
}

// apply returns the request after commands that must not be refused.
func apply(t rapid.TB, r approval.Request, at time.Time, commands ...approval.Command) approval.Request {
	t.Helper()
	for _, c := range commands {
		events, err := approval.Do(r, c, at)
		if err != nil {
			t.Fatalf("%T: %v", c, err)
		}
		r, err = r.With(events...)
		must(t, err)
	}
	return r
}

func approve(by string, r approval.Request) approval.Command {
	return approval.Decide{Approver: standing(by), Requester: standing(r.Ask.Requester.Name), Verdict: approval.Approve}
}

func deny(by string, r approval.Request) approval.Command {
	return approval.Decide{Approver: standing(by), Requester: standing(r.Ask.Requester.Name), Verdict: approval.Deny}
}

func cancel(r approval.Request) approval.Command {
	return approval.Cancel{Requester: standing(r.Ask.Requester.Name)}
}

var token, lease = grant.Token{Accessor: "accessor-1"}, grant.Lease{ID: "lease-1"}

func worldOf(t rapid.TB, r approval.Request) approval.World {
	t.Helper()
	now, err := role("database/creds/app").Now(r.Ask.Requester.EntityID, nil)
	must(t, err)
	p := r.Ask.Policy
	w := approval.World{Requester: standing(r.Ask.Requester.Name), Role: now, Policy: &p, Roster: approval.Roster{}, MaxWindow: 24 * time.Hour}
	for _, d := range r.Decisions {
		w.Roster[d.Approver.EntityID] = standing(d.Approver.Name)
	}
	return w
}

func beginClaim(t rapid.TB, r approval.Request) approval.Command {
	t.Helper()
	return approval.BeginClaim{Claimer: standing(r.Ask.Requester.Name), World: worldOf(t, r), Token: token}
}

func giveGrant(t rapid.TB, r approval.Request, until time.Time) approval.Command {
	t.Helper()
	return approval.GiveGrant{World: worldOf(t, r), Handles: grant.Handles{token, lease}, Until: until}
}

func approved(t rapid.TB, by string) approval.Request {
	t.Helper()
	r := newRequest(t, by, start)
	return apply(t, r, start, approve("bob", r), approve("carol", r))
}

// active is a request with a live grant, which is not stored.
func active(t rapid.TB, by string) approval.Request {
	t.Helper()
	r := approved(t, by)
	r = apply(t, r, start, beginClaim(t, r))
	return apply(t, r, start, giveGrant(t, r, after(time.Hour)))
}

func everything(approval.Listing) bool { return true }

// listOpen lists all open requests, the oldest first.
func listOpen(ctx context.Context, t rapid.TB, s *store.Store[config], d logical.Storage) []store.Entry {
	t.Helper()
	entries, err := s.Requests.List(ctx, d, "", 0, everything)
	must(t, err)
	slices.Reverse(entries)
	return entries
}

func idsOf(entries []store.Entry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

// save stores requests.
func save(ctx context.Context, t testing.TB, s *store.Store[config], d logical.Storage, requests ...approval.Request) {
	t.Helper()
	for _, r := range requests {
		must(t, s.Requests.Save(ctx, d, r))
	}
}

// file stores requests as ended ones.
func file(ctx context.Context, t testing.TB, s *store.Store[config], d logical.Storage, requests ...approval.Request) {
	t.Helper()
	for _, r := range requests {
		must(t, s.Requests.File(ctx, d, r))
	}
}

var errTooMany = errors.New("too many")

// create asks for a person of whom at most limit requests may wait.
func create(ctx context.Context, s *store.Store[config], d logical.Storage, by string, limit int, at time.Time) (approval.Request, error) {
	return s.Requests.Create(ctx, d, "entity-"+by, at, func(waiting int) (approval.Record, error) {
		if waiting >= limit {
			return approval.Record{}, errTooMany
		}
		return buildRecord(idAt(at), by, at)
	})
}

func asJSON(t rapid.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	must(t, err)
	return string(text)
}

// show is the whole value, with what it hides.
func show(value any) string { return fmt.Sprintf("%+v", value) }

func keysOf(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
