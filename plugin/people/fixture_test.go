package people_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/session/sessiontest"
	"github.com/vault-jit/vault-jit/plugin/store"
)

// fixture is a made-up directory and definitions in a real store: bob is in approver group "named" by his entity, carol in
// "through" by identity group "g-dba", audrey in identity group "g-audit". Policy "two" wants one of each approver group.
type fixture struct {
	people.Source
	t         *testing.T
	directory *people.Fake
	store     *store.Store[struct{}]
	storage   *logical.InmemStorage
	// vault is asked for the members of identity groups; nil if none is connected.
	vault *session.Session
	// asked counts how often a session was asked for.
	asked int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		t: t, storage: &logical.InmemStorage{}, store: store.New[struct{}](),
		directory: &people.Fake{
			Entities: map[string]*logical.Entity{},
			Groups:   map[string][]string{"carol": {"g-other", "g-dba"}, "audrey": {"g-audit"}},
		},
	}
	for _, name := range []string{"alice", "bob", "carol", "audrey", "mallory"} {
		f.directory.Entities[name] = &logical.Entity{
			ID: name, Name: "entity-of-" + name, Metadata: map[string]string{"team": "t-" + name},
			Aliases: []*logical.Alias{{MountAccessor: "userpass", Name: name + "-2"}, {MountAccessor: "oidc", Name: name}},
		}
	}
	f.Source = people.Source{
		Directory: f.directory, Groups: f.store.Groups, Roles: f.store.Roles, Policies: f.store.Policies,
		Session: func(context.Context, logical.Storage) (*session.Session, error) {
			f.asked++
			if f.vault == nil {
				return nil, errors.New("no Vault is connected")
			}
			return f.vault, nil
		},
		MaxWindow: func() time.Duration { return 24 * time.Hour }, Logger: hclog.NewNullLogger(),
	}
	f.setGroup("named", []string{"bob"}, nil)
	f.setGroup("through", nil, []string{"g-dba"})
	f.setPolicy("named", "through")
	must(t, f.store.Roles.Put(t.Context(), f.storage, "db", role()))
	return f
}

func role() approval.Role {
	return approval.Role{Name: "db", Policy: "two", Gives: grant.Stored{Spec: grant.Secret{
		Path: "database/creds/app", Operation: grant.Read, GrantPolicies: []string{"app"},
	}}}
}

func (f *fixture) setGroup(name string, entities, identityGroups []string) {
	f.t.Helper()
	must(f.t, f.store.Groups.Put(f.t.Context(), f.storage, name, approval.ApproverGroup{Name: name, EntityIDs: entities, IdentityGroupIDs: identityGroups}))
}

func policy(groups ...string) approval.Policy {
	p := approval.NewPolicy("two")
	for _, group := range groups {
		p.Rules = append(p.Rules, approval.Rule{Name: group, ApproverGroups: []string{group}, Approvals: 1})
	}
	return p
}

func (f *fixture) setPolicy(groups ...string) {
	f.t.Helper()
	must(f.t, f.store.Policies.Put(f.t.Context(), f.storage, "two", policy(groups...)))
}

// lookup is a new call.
func (f *fixture) lookup() *people.Lookup { return f.Lookup(f.storage) }

// request is one of alice's, on which the named ones have decided.
func (f *fixture) request(approvers ...string) approval.Request {
	f.t.Helper()
	id, err := f.store.Requests.NewID(f.t.Context(), f.storage, "alice")
	must(f.t, err)
	alice, err := f.lookup().Entity("alice")
	must(f.t, err)
	record, err := approval.New(id, approval.Question{
		Role: role(), Policy: policy("named", "through"), Requester: alice, Reason: "INC-1", MaxWindow: 24 * time.Hour, MaxWaiting: 1,
	}, time.Now())
	must(f.t, err)
	r, err := approval.Replay(record)
	must(f.t, err)
	for _, name := range approvers {
		approver, err := f.lookup().Standing(f.t.Context(), name, []string{"named", "through"})
		must(f.t, err)
		events, err := approval.Do(r, approval.Decide{Approver: approver, Requester: alice, Verdict: approval.Approve}, time.Now())
		must(f.t, err)
		r, err = r.With(events...)
		must(f.t, err)
	}
	return r
}

// spoil makes what is stored unreadable.
func (f *fixture) spoil(key string) {
	f.t.Helper()
	must(f.t, f.storage.Put(f.t.Context(), &logical.StorageEntry{Key: key, Value: []byte(`{"v":1,"body":{"surprise":true}}`)}))
	f.store.Invalidate(key)
}

// wantAsked fails unless the directory was asked so often since the last time.
func (f *fixture) wantAsked(want int64, what string) {
	f.t.Helper()
	if got := f.directory.Asked.Swap(0); got != want {
		f.t.Errorf("%s: the directory was asked %d times, it should be %d", what, got, want)
	}
}

func must(t testing.TB, err error) { t.Helper(); sessiontest.Must(t, err) }

func wantRefusal(t testing.TB, err error, words string) {
	t.Helper()
	if refusal.Of(err) == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v; it should be refused with %q", err, words)
	}
}
