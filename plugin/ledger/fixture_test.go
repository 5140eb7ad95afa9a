package ledger

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/engine/enginetest/watch"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/session"
	"github.com/vault-jit/vault-jit/plugin/store"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
)

func TestMain(m *testing.M) { vaulttest.Main(m, vaulttest.Options{}) }

// fixture is a ledger of which a test sees every call, with people around it: alice and anna ask for role "otp", which
// policy "one" guards: one of approver group "dba" has to approve, which is bob and carol. audrey is an auditor, mallory
// nobody in particular.
type fixture struct {
	*Ledger
	*steps
	t         testing.TB
	disk      *logical.InmemStorage
	storage   logical.Storage // disk, with steps, as the latest instance is given it
	store     *store.Store[struct{}]
	directory *people.Fake
	clock     *clock
	vault     atomic.Pointer[issuer.Issuer] // nil while no Vault is connected

	connection session.Connection
	mount      *vaulttest.Mount
	ssh        *vaulttest.Upstream
}

const auditors = "group-of-auditors"

// newFixture has no Vault: whatever needs one fails.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{
		t: t, steps: &steps{}, disk: &logical.InmemStorage{},
		directory: &people.Fake{Entities: map[string]*logical.Entity{}, Groups: map[string][]string{"audrey": {auditors}}},
		clock:     &clock{now: time.Now().UTC().Round(0)},
	}
	for _, name := range []string{"alice", "anna", "bob", "carol", "audrey", "mallory"} {
		f.directory.Entities[name] = &logical.Entity{ID: name, Name: name, Aliases: []*logical.Alias{{MountAccessor: "login", Name: name}}}
	}
	f.restart()
	must(t, f.store.Groups.Put(t.Context(), f.storage, "dba", approval.ApproverGroup{Name: "dba", EntityIDs: []string{"bob", "carol"}}))
	f.setPolicy(1)
	f.setRole(grant.Secret{Path: "database/creds/app", Operation: grant.Read, GrantPolicies: []string{"app"}})
	return f
}

// newVaultFixture reaches a real Vault, where role "otp" gives one-time passwords.
func newVaultFixture(t testing.TB) *fixture {
	t.Helper()
	f := newFixture(t)
	cluster := vaulttest.Shared(t)
	var err error
	f.mount, err = cluster.Mount(t.Context(), vaulttest.MountOptions{Unconfigured: true})
	must(t, err)
	f.ssh, err = cluster.EnableSSHOTP(t.Context(), "ssh-"+f.mount.Path, "otp")
	must(t, err)
	must(t, f.mount.AllowGrants(t.Context(), f.ssh.Policy))
	address, err := url.Parse(cluster.Address())
	must(t, err)
	proxy := httptest.NewServer(watch.HTTP(address, f.step))
	t.Cleanup(proxy.Close)
	f.connection = session.Connection{
		Address: proxy.URL, AuthMount: "approle", RoleID: f.mount.RoleID, SecretID: f.mount.SecretID, TokenRole: f.mount.TokenRole,
	}
	f.connect(f.connection)
	f.setRole(grant.Secret{Path: f.ssh.Path, Operation: grant.Write, Data: map[string]any{"ip": "127.0.0.1"}, GrantPolicies: []string{f.ssh.Policy}})
	return f
}

// connect goes on with another session; the one before ends as soon as nobody uses it.
func (f *fixture) connect(c session.Connection) {
	f.t.Helper()
	s, err := session.New(c)
	must(f.t, err)
	f.t.Cleanup(s.Close)
	if previous := f.vault.Swap(issuer.New(s, f.clock.read)); previous != nil {
		previous.Session().Retire()
	}
}

// restart goes on with another instance over the same storage, and leaves the one before as it is.
func (f *fixture) restart() {
	f.store = store.New[struct{}]()
	f.Ledger = New(f.store.Requests, func(context.Context, logical.Storage) (*issuer.Issuer, error) {
		if vault := f.vault.Load(); vault != nil {
			return vault, nil
		}
		return nil, errors.New("no Vault is connected")
	}, f.clock.read, hclog.NewNullLogger())
	f.storage = f.Guard(watch.Storage(f.disk, f.step)) // as the engine does
}

func (f *fixture) setPolicy(approvals int) {
	f.t.Helper()
	policy := approval.NewPolicy("one")
	policy.Rules = []approval.Rule{{Name: "dba", ApproverGroups: []string{"dba"}, Approvals: approvals}}
	policy.Revision = approval.Revision{Version: 1, UpdatedAt: f.clock.read()}
	must(f.t, f.store.Policies.Put(f.t.Context(), f.storage, "one", policy))
}

func (f *fixture) setRole(gives grant.Secret) {
	f.t.Helper()
	must(f.t, f.store.Roles.Put(f.t.Context(), f.storage, "otp", approval.Role{Name: "otp", Policy: "one", Gives: grant.Stored{Spec: gives}}))
}

// call is one call of somebody's: what it asked the directory is known for its length.
type call struct {
	who    people.Caller
	lookup *people.Lookup
}

func (f *fixture) call(name string) call {
	f.t.Helper()
	source := people.Source{
		Directory: f.directory, Groups: f.store.Groups, Roles: f.store.Roles, Policies: f.store.Policies,
		Session: func(context.Context, logical.Storage) (*session.Session, error) {
			return nil, errors.New("these tests know no members")
		},
		MaxWindow: func() time.Duration { return 24 * time.Hour }, Logger: hclog.NewNullLogger(),
	}
	lookup := source.Lookup(f.storage)
	who, err := lookup.Caller(name, []string{auditors})
	must(f.t, err)
	return call{who, lookup}
}

// ask makes a request and returns its id.
func (f *fixture) ask(by string) string {
	f.t.Helper()
	return f.askRole(by, "otp", 0).ID
}

func (f *fixture) askRole(by, name string, ttl time.Duration) approval.Request {
	f.t.Helper()
	ctx, c := f.t.Context(), f.call(by)
	role, err := f.store.Roles.Get(ctx, f.storage, name)
	must(f.t, err)
	policy, err := f.store.Policies.Get(ctx, f.storage, role.Policy)
	must(f.t, err)
	r, err := f.Ask(ctx, f.storage, by, func(id string, waiting int) (approval.Record, error) {
		return approval.New(id, approval.Question{
			Role: *role, Policy: *policy, Requester: c.who.Standing, Reason: "INC-1", TTL: ttl, MaxWindow: c.lookup.LongestLease(),
			Waiting: waiting, MaxWaiting: 10_000,
		}, f.clock.read())
	})
	must(f.t, err)
	return r
}

// decision builds somebody's word on a request.
func (c call) decision(verdict approval.DecisionVerdict, comment string) Build {
	return func(r approval.Request, who approval.Standing) (approval.Command, error) {
		requester, err := c.lookup.Entity(r.Ask.Requester.EntityID)
		return approval.Decide{Approver: who, Requester: requester, Verdict: verdict, Comment: comment}, err
	}
}

func (f *fixture) tryDecide(ctx context.Context, id, by string, verdict approval.DecisionVerdict) error {
	f.t.Helper()
	c := f.call(by)
	_, err := f.Change(ctx, f.storage, id, c.who, c.decision(verdict, ""))
	return err
}

func (f *fixture) approve(id string, by ...string) {
	f.t.Helper()
	for _, name := range by {
		must(f.t, f.tryDecide(f.t.Context(), id, name, approval.Approve))
	}
}

func (f *fixture) deny(id, by string) {
	f.t.Helper()
	must(f.t, f.tryDecide(f.t.Context(), id, by, approval.Deny))
}

func (f *fixture) withdraw(id, by string) {
	f.t.Helper()
	_, err := f.Change(f.t.Context(), f.storage, id, f.call(by).who, func(_ approval.Request, who approval.Standing) (approval.Command, error) {
		return approval.Withdraw{Approver: who}, nil
	})
	must(f.t, err)
}

func (f *fixture) cancel(id, by string) {
	f.t.Helper()
	_, err := f.Change(f.t.Context(), f.storage, id, f.call(by).who, func(_ approval.Request, who approval.Standing) (approval.Command, error) {
		return approval.Cancel{Requester: who}, nil
	})
	must(f.t, err)
}

func (f *fixture) approved() string {
	f.t.Helper()
	id := f.ask("alice")
	f.approve(id, "bob")
	return id
}

func (f *fixture) tryClaim(id, by string) (approval.Request, issuer.Made, error) {
	f.t.Helper()
	ctx, c := f.t.Context(), f.call(by)
	return f.Claim(ctx, f.storage, id, c.who, func(r approval.Request) (approval.World, error) { return c.who.WorldNow(ctx, r) })
}

func (f *fixture) claim(id string) approval.Request {
	f.t.Helper()
	r, made, err := f.tryClaim(id, "alice")
	must(f.t, err)
	if made.Data["key"] == nil && made.Data["username"] == nil {
		f.t.Fatalf("the claim gave %v", made.Data)
	}
	return r
}

// active is a request with a live grant.
func (f *fixture) active() approval.Request {
	f.t.Helper()
	return f.claim(f.approved())
}

func (f *fixture) tryRevoke(ctx context.Context, id, by string) (approval.Request, error) {
	f.t.Helper()
	who := f.call(by).who
	return f.Revoke(ctx, f.storage, id, who, func(_ approval.Request, standing approval.Standing) (approval.Command, error) {
		return approval.Revoke{By: standing, Auditor: who.Auditor}, nil
	})
}

func (f *fixture) revoke(id, by string) approval.Request {
	f.t.Helper()
	r, err := f.tryRevoke(f.t.Context(), id, by)
	must(f.t, err)
	return r
}

func (f *fixture) work() {
	f.t.Helper()
	must(f.t, f.Work(f.t.Context(), f.storage))
}

// stored is the request as a new instance would find it.
func (f *fixture) stored(id string) approval.Request {
	f.t.Helper()
	r, err := store.New[struct{}]().Requests.Load(f.t.Context(), f.disk, id)
	must(f.t, err)
	if r == nil {
		f.t.Fatalf("request %s is not stored", id)
	}
	return *r
}

func (f *fixture) wantState(id string, want approval.State) {
	f.t.Helper()
	if got := f.stored(id).State(f.clock.peek()); got != want {
		f.t.Errorf("the request is %s, it should be %s", got, want)
	}
}

// wantEnded fails without an end for the reason, of which nothing is left.
func (f *fixture) wantEnded(id string, reason approval.EndReason) {
	f.t.Helper()
	r := f.stored(id)
	if r.End == nil || r.End.Reason != reason || !r.End.Confirmed() || r.Holding() {
		f.t.Errorf("the end is %+v, and held is %+v; it should be a confirmed %s", r.End, r.Held, reason)
	}
}

func (f *fixture) liveTokens() int {
	f.t.Helper()
	live, err := f.mount.GrantTokens(f.t.Context())
	must(f.t, err)
	return len(live)
}

// wantNothingLives looks into Vault. It takes back what hangs on a revoked token in the background.
func (f *fixture) wantNothingLives() {
	f.t.Helper()
	if n := f.liveTokens(); n > 0 {
		f.t.Errorf("%d grant tokens live", n)
		return // so what hangs on them does, too
	}
	vaulttest.Eventually(f.t, "the one-time passwords to be gone", func(ctx context.Context) error {
		leases, err := f.ssh.Leases(ctx)
		if err == nil && len(leases) > 0 {
			err = errors.New("some are left")
		}
		return err
	})
}

// hold takes the lock of a request's record.
func (f *fixture) hold(id string) (release func()) {
	f.t.Helper()
	record := f.records.join(id)
	must(f.t, record.acquire(f.t.Context()))
	return sync.OnceFunc(func() {
		record.release()
		record.leave()
	})
}

// users are how many look at, have or await what has the name.
func (l *locks) usersOf(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own := l.inUse[name]; own != nil {
		return own.users
	}
	return 0
}

// held lists what somebody has the lock of.
func (l *locks) held() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, own := range l.inUse {
		if len(own.turn) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// clock is read and set by tests. It goes on with each reading, so that what happens later has a later time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Millisecond)
	return c.now
}

func (c *clock) peek() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// steps sees every call to the storage and to Vault, and lets some of them stop or go wrong.
type steps struct {
	mu    sync.Mutex
	taken []string
	rules []*rule
	// each, if set, is told of every step.
	each func(name string)
}

// rule is about the steps whose name holds the text, after it has skipped some; about all of them, or one.
type rule struct {
	text string
	skip int
	once bool
	play func(do func() error) error
}

func (s *steps) step(name string, do func() error) error {
	s.mu.Lock()
	s.taken = append(s.taken, name)
	each, play := s.each, func(do func() error) error { return do() }
	for i, r := range s.rules {
		if !strings.Contains(name, r.text) {
			continue
		}
		if r.skip > 0 {
			r.skip--
			continue
		}
		play = r.play
		if r.once {
			s.rules = slices.Delete(s.rules, i, i+1)
		}
		break
	}
	s.mu.Unlock()
	if each != nil {
		each(name)
	}
	return play(do)
}

func (s *steps) add(r *rule) (undo func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, r)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.rules = slices.DeleteFunc(s.rules, func(other *rule) bool { return other == r })
	}
}

// watchEach has every step told to the function.
func (s *steps) watchEach(each func(name string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each = each
}

var errFault = errors.New("injected fault")

// fault is how a step goes wrong.
type fault func(do func() error) error

// refuses fails without effect; losesReply has its effect and reports a failure.
func refuses(func() error) error { return errFault }
func losesReply(do func() error) error {
	_ = do()
	return errFault
}

// breakAt has every step fail whose name holds the text, until it is mended.
func (s *steps) breakAt(text string, how fault) (mend func()) {
	return s.add(&rule{text: text, play: how})
}

// breakOnce has one step fail whose name holds the text, after so many that do not.
func (s *steps) breakOnce(text string, skip int, how fault) {
	s.add(&rule{text: text, skip: skip, once: true, play: how})
}

// stop is a step that stands still.
type stop struct {
	reached chan struct{}
	goOn    func()
}

// stopAt has the next step stand still whose name holds the text.
func (f *fixture) stopAt(text string) stop {
	f.t.Helper()
	opened := make(chan struct{})
	s := stop{reached: make(chan struct{}), goOn: sync.OnceFunc(func() { close(opened) })}
	f.t.Cleanup(s.goOn)
	f.add(&rule{text: text, once: true, play: func(do func() error) error {
		close(s.reached)
		<-opened
		return do()
	}})
	return s
}

// forget begins to count anew.
func (s *steps) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = nil
}

// list returns the steps taken whose name holds the text, in order.
func (s *steps) list(text string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.taken {
		if strings.Contains(name, text) {
			names = append(names, name)
		}
	}
	return names
}

func (s *steps) count(text string) int { return len(s.list(text)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantRefusal fails without a refusal that says the words.
func wantRefusal(t testing.TB, err error, words string) {
	t.Helper()
	if refusal.Of(err) == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v; it should be refused with %q", err, words)
	}
}

// wantFault fails without an error of the system that says the words.
func wantFault(t testing.TB, err error, words string) {
	t.Helper()
	if err == nil || refusal.Of(err) != nil || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v; it should be a fault that says %q", err, words)
	}
}

// await polls for what another goroutine is about to do.
func await(t testing.TB, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Fatal("it never came")
		}
		time.Sleep(time.Millisecond)
	}
}

// whole is long enough for whatever is not held up.
func whole(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (f *fixture) role() approval.Role {
	f.t.Helper()
	role, err := f.store.Roles.Get(f.t.Context(), f.storage, "otp")
	must(f.t, err)
	return *role
}
