package engine_test

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

func TestMain(m *testing.M) { vaulttest.Main(m, vaulttest.Options{Race: true}) }

// Durations on the wire, which has seconds.
const (
	minute wire.Seconds = 60
	hour                = 60 * minute
)

// fixture is one mount and its people: alice makes requests, bob and carol are the approver group "dba", and mallory is
// a stranger.
type fixture struct {
	*vaulttest.Cluster
	t                          testing.TB
	mount                      *vaulttest.Mount
	alice, bob, carol, mallory *vaulttest.Person
	dba                        *vaulttest.Group
}

func newFixture(t testing.TB, o vaulttest.MountOptions) *fixture {
	t.Helper()
	return newFixtureOn(t, vaulttest.Shared(t), o)
}

func newFixtureOn(t testing.TB, cluster *vaulttest.Cluster, o vaulttest.MountOptions) *fixture {
	t.Helper()
	ctx := t.Context()
	mount, err := cluster.Mount(ctx, o)
	must(t, err)
	f := &fixture{Cluster: cluster, t: t, mount: mount}
	for name, person := range map[string]**vaulttest.Person{"alice": &f.alice, "bob": &f.bob, "carol": &f.carol, "mallory": &f.mallory} {
		*person, err = mount.Person(ctx, name)
		must(t, err)
	}
	f.dba, err = cluster.Group(ctx, "dba", f.bob, f.carol)
	must(t, err)
	f.must(f.operated().ApproverGroups().Change(t.Context(), "dba", map[string]any{"identity_group_ids": []string{f.dba.ID}}))
	return f
}

// as is the engine's client with the person's token.
func (f *fixture) as(person *vaulttest.Person) *client.Client {
	f.t.Helper()
	jit, err := f.mount.As(person)
	must(f.t, err)
	return jit
}

// operated is the engine's client with the root token.
func (f *fixture) operated() *client.Client {
	f.t.Helper()
	jit, err := f.mount.Operated()
	must(f.t, err)
	return jit
}

// at is the engine's client with the person's token, at one node of the cluster.
func (f *fixture) at(node *vaulttest.Node, person *vaulttest.Person) *client.Client {
	f.t.Helper()
	there := *person
	var err error
	there.Client, err = person.At(node)
	must(f.t, err)
	return f.as(&there)
}

// must fails the test unless a call succeeded whose answer does not matter.
func (f *fixture) must(_ any, err error) {
	f.t.Helper()
	must(f.t, err)
}

// errorOf is the error of a call whose answer does not matter.
func errorOf(_ any, err error) error { return err }

// writeRaw writes what the Go client would not send.
func (f *fixture) writeRaw(vault *api.Client, path string, data map[string]any) (*api.Secret, error) {
	return vault.Logical().WriteWithContext(f.t.Context(), f.mount.Path+"/"+path, data)
}

// readRaw reads with a query that the Go client would not send, or for the answer as it is.
func (f *fixture) readRaw(vault *api.Client, path string, query map[string][]string) (*api.Secret, error) {
	return vault.Logical().ReadWithDataWithContext(f.t.Context(), f.mount.Path+"/"+path, query)
}

// wantRefusal checks that the engine refused, and that its sentence has all the words.
func wantRefusal(t testing.TB, err error, words ...string) {
	t.Helper()
	if !isRefusal(err) {
		t.Fatalf("the engine did not refuse, but answered %v; the refusal should say %q", err, words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the refusal does not say %q: %v", word, err)
		}
	}
}

// isRefusal reports whether the error is a 400 of the engine's.
func isRefusal(err error) bool {
	var response *api.ResponseError
	return refusal.Of(err) != nil || errors.As(err, &response) && response.StatusCode == http.StatusBadRequest
}

func wantEqual[T any](t testing.TB, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// wantWarning checks that one of the warnings has the text.
func wantWarning(t testing.TB, warnings []string, text string) {
	t.Helper()
	if !slices.ContainsFunc(warnings, func(warning string) bool { return strings.Contains(warning, text) }) {
		t.Errorf("the warnings are %q, want one that says %q", warnings, text)
	}
}

func (f *fixture) ask(person *vaulttest.Person, ask wire.Ask) string {
	f.t.Helper()
	if ask.Reason == "" {
		ask.Reason = "INC-1"
	}
	request, err := f.as(person).Ask(f.t.Context(), ask)
	must(f.t, err)
	return request.ID
}

func (f *fixture) approve(id string, people ...*vaulttest.Person) {
	f.t.Helper()
	for _, person := range people {
		f.must(f.as(person).Approve(f.t.Context(), id, ""))
	}
}

// askApproved makes a request of alice's that the people approve, and returns its id.
func (f *fixture) askApproved(ask wire.Ask, people ...*vaulttest.Person) string {
	f.t.Helper()
	id := f.ask(f.alice, ask)
	f.approve(id, people...)
	return id
}

func (f *fixture) claim(person *vaulttest.Person, id string) client.Credential {
	f.t.Helper()
	credential, err := f.as(person).Claim(f.t.Context(), id)
	must(f.t, err)
	return credential
}

func (f *fixture) wantClaimRefused(id string, words ...string) {
	f.t.Helper()
	wantRefusal(f.t, errorOf(f.as(f.alice).Claim(f.t.Context(), id)), words...)
}

func (f *fixture) wantApprovalRefused(id string, person *vaulttest.Person, words ...string) {
	f.t.Helper()
	wantRefusal(f.t, errorOf(f.as(person).Approve(f.t.Context(), id, "")), words...)
}

// revoke ends a grant and returns the warnings.
func (f *fixture) revoke(person *vaulttest.Person, id string) (revoked wire.Revoked, warnings []string) {
	f.t.Helper()
	revoked, warnings, err := f.as(person).Revoke(f.t.Context(), id)
	must(f.t, err)
	return revoked, warnings
}

func (f *fixture) readRequest(person *vaulttest.Person, id string) wire.Request {
	f.t.Helper()
	request, err := f.as(person).Request(f.t.Context(), id)
	must(f.t, err)
	return request
}

// sees reports whether there is a request that the person may see.
func (f *fixture) sees(person *vaulttest.Person, id string) bool {
	f.t.Helper()
	_, err := f.as(person).Request(f.t.Context(), id)
	if errors.Is(err, client.ErrAbsent) {
		return false
	}
	must(f.t, err)
	return true
}

func (f *fixture) wantState(id, state string) {
	f.t.Helper()
	if got := f.readRequest(f.alice, id).State; got != state {
		f.t.Errorf("request %s is %s, want %s", id, got, state)
	}
}

// readEnd reads the grant of a request of alice's.
func (f *fixture) readEnd(id string) wire.Grant {
	f.t.Helper()
	grant := f.readRequest(f.alice, id).Grant
	if grant == nil {
		f.t.Fatalf("request %s has no grant", id)
	}
	return *grant
}

func (f *fixture) readStatus() wire.Status {
	f.t.Helper()
	status, err := f.operated().Status(f.t.Context())
	must(f.t, err)
	return status
}

// newPolicy needs so many approvals of dba.
func newPolicy(approvals int) wire.Policy {
	policy := wire.NewPolicy()
	policy.Rules = []wire.Rule{{Name: "dba", ApproverGroups: []string{"dba"}, Approvals: approvals}}
	return policy
}

// newRole is a role for what the upstream gives.
func newRole(policy string, upstream *vaulttest.Upstream) wire.Role {
	role := wire.NewRole()
	role.Policy, role.Path, role.GrantPolicies = policy, upstream.Path, []string{upstream.Policy}
	return role
}

// newOTPRole is a role for SSH one-time passwords.
func newOTPRole(policy string, upstream *vaulttest.Upstream) wire.Role {
	role := newRole(policy, upstream)
	role.Operation, role.Data = "write", map[string]any{"ip": "127.0.0.1"}
	return role
}

// addOTPRole adds the role "otp" for SSH one-time passwords, and the policy that guards it.
func (f *fixture) addOTPRole(name string, policy wire.Policy) *vaulttest.Upstream {
	f.t.Helper()
	upstream, err := f.EnableSSHOTP(f.t.Context(), "ssh-"+f.mount.Path, "otp")
	must(f.t, err)
	must(f.t, f.mount.AllowGrants(f.t.Context(), upstream.Policy))
	f.must(f.operated().Policies().Write(f.t.Context(), name, policy))
	f.must(f.operated().Roles().Write(f.t.Context(), "otp", newOTPRole(name, upstream)))
	return upstream
}

// connectTo is a configuration for the engine of the mount, at an address of its Vault.
func connectTo(address string, mount *vaulttest.Mount) map[string]any {
	return map[string]any{"address": address, "role_id": mount.RoleID, "secret_id": mount.SecretID, "token_role": mount.TokenRole}
}

// rule is a rule of a policy for calls that the Go client does not make.
func rule(name string, approvals int, groups ...string) map[string]any {
	return map[string]any{"name": name, "approvals": approvals, "approver_groups": groups}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// addDatabaseRole adds the role "db" for PostgreSQL users. Two people of dba must approve.
func (f *fixture) addDatabaseRole() *vaulttest.Postgres {
	f.t.Helper()
	pg := vaulttest.SharedPostgres(f.t)
	f.addDatabaseRoleOn(pg)
	return pg
}

func (f *fixture) addDatabaseRoleOn(pg *vaulttest.Postgres) {
	f.t.Helper()
	upstream, err := f.EnableDatabase(f.t.Context(), "database-"+f.mount.Path, pg, "app", time.Hour, 24*time.Hour)
	must(f.t, err)
	must(f.t, f.mount.AllowGrants(f.t.Context(), upstream.Policy))
	f.must(f.operated().Policies().Write(f.t.Context(), "two", newPolicy(2)))
	f.must(f.operated().Roles().Write(f.t.Context(), "db", newRole("two", upstream)))
}

func (f *fixture) wantLogin(pg *vaulttest.Postgres, credential client.Credential, works bool) {
	f.t.Helper()
	user, password := credential.Data["username"].(string), credential.Data["password"].(string)
	err := pg.CanLogin(f.t.Context(), user, password)
	if works != (err == nil) {
		f.t.Errorf("logging in to PostgreSQL as %s: %v, want success: %v", user, err, works)
	}
}
