package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// config stands for the engine's.
type config struct {
	Address string `json:"address"`
}

var start = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return start.Add(d) }

var errDisk = errors.New("the disk is on fire")

// disk is a storage that counts calls and can fail.
type disk struct {
	logical.InmemStorage
	mu    sync.Mutex
	calls []string
	// fail says for a call, such as "put open/ID", whether it fails: before it has an effect, or after.
	fail func(call string) (before, after bool)
}

func (d *disk) call(call string, do func() error) error {
	d.mu.Lock()
	d.calls = append(d.calls, call)
	fail := d.fail
	d.mu.Unlock()
	var before, after bool
	if fail != nil {
		before, after = fail(call)
	}
	if before {
		return errDisk
	}
	if err := do(); err != nil {
		return err
	}
	if after {
		return errDisk
	}
	return nil
}

func (d *disk) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = d.call("list "+prefix, func() (err error) { keys, err = d.InmemStorage.List(ctx, prefix); return err })
	return keys, err
}

func (d *disk) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = d.call("get "+key, func() (err error) { entry, err = d.InmemStorage.Get(ctx, key); return err })
	return entry, err
}

func (d *disk) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return d.call("put "+entry.Key, func() error { return d.InmemStorage.Put(ctx, entry) })
}

func (d *disk) Delete(ctx context.Context, key string) error {
	return d.call("delete "+key, func() error { return d.InmemStorage.Delete(ctx, key) })
}

// failing lets every call fail whose text holds the fragment; no fragment lets none fail.
func (d *disk) failing(fragment string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = nil
	if fragment != "" {
		d.fail = func(call string) (before, after bool) { return strings.Contains(call, fragment), false }
	}
}

// seen are the calls since the last time this was asked.
func (d *disk) seen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.calls
	d.calls = nil
	return calls
}

// content is everything stored.
func (d *disk) content(ctx context.Context, t rapid.TB) map[string]string {
	t.Helper()
	keys, err := logical.CollectKeys(ctx, &d.InmemStorage)
	must(t, err)
	all := map[string]string{}
	for _, key := range keys {
		entry, err := d.InmemStorage.Get(ctx, key)
		must(t, err)
		all[key] = string(entry.Value)
	}
	return all
}

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

func role(name string) approval.Role {
	return approval.Role{
		Name: name, Policy: "two",
		GrantSpec: approval.GrantSpec{
			GrantType: approval.Secret, Path: "database/creds/app", Operation: approval.Read, GrantPolicies: []string{"app"},
		},
	}
}

// asked is a new request, which is not stored.
func asked(t rapid.TB, by, forRole string, at time.Time) approval.Request {
	t.Helper()
	id, err := store.NewID()
	must(t, err)
	r, err := approval.NewRequest(id, approval.Question{
		Role: role(forRole), Policy: policy(), Requester: standing(by), Reason: "INC-1", TTL: time.Hour, MaxWindow: 24 * time.Hour,
	}, at)
	must(t, err)
	return r
}

func applied(t rapid.TB, r approval.Request, at time.Time, events ...approval.Event) approval.Request {
	t.Helper()
	for _, event := range events {
		next, err := approval.Apply(r, event, at)
		if err != nil {
			t.Fatalf("%T: %v", event, err)
		}
		r = next
	}
	return r
}

func approve(by string, r approval.Request) approval.Event {
	return approval.Decide{Approver: standing(by), Requester: standing(r.Ask.Requester.Name), Verdict: approval.Approve}
}

func deny(by string, r approval.Request) approval.Event {
	return approval.Decide{Approver: standing(by), Requester: standing(r.Ask.Requester.Name), Verdict: approval.Deny}
}

func startClaim(r approval.Request) approval.Event {
	role, policy := role(r.Ask.Role), r.Ask.Policy
	facts := approval.ClaimFacts{
		Requester: standing(r.Ask.Requester.Name), Role: &role, Policy: &policy, MaxWindow: 24 * time.Hour,
		Roster: approval.Roster{},
	}
	for _, d := range r.Decisions {
		facts.Roster[d.Approver.EntityID] = standing(d.Approver.Name)
	}
	return approval.StartClaim{Claimer: r.Ask.Requester, Facts: facts}
}

func succeed(at time.Time) approval.Event {
	return approval.Succeed{Grant: approval.Grant{ClaimedAt: at, ExpiresAt: at.Add(time.Hour), Accessor: "accessor-1", LeaseID: "lease-1"}}
}

// active is a request with a live grant, which is not stored.
func active(t rapid.TB, by string) approval.Request {
	t.Helper()
	r := asked(t, by, "db", start)
	r = applied(t, r, start, approve("bob", r), approve("carol", r))
	return applied(t, r, start, startClaim(r), approval.KeepToken{Accessor: "accessor-1"}, succeed(start))
}

func everything(store.Summary) bool { return true }

func open(ctx context.Context, t rapid.TB, s *store.Store[config], d logical.Storage) []store.Summary {
	t.Helper()
	found, err := s.Requests.Open(ctx, d, everything)
	must(t, err)
	return found
}

func ids(summaries []store.Summary) []string {
	var ids []string
	for _, s := range summaries {
		ids = append(ids, s.ID)
	}
	return ids
}

// stored puts a request where the store would.
func stored(ctx context.Context, t testing.TB, s *store.Store[config], d *disk, requests ...approval.Request) {
	t.Helper()
	for _, r := range requests {
		must(t, s.Requests.Create(ctx, d, r, 1000, start))
	}
}

func asJSON(t rapid.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	must(t, err)
	return string(text)
}

func keysOf(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
