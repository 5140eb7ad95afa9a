package client_test

import (
	"context"
	"errors"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// fixture is one mount where alice can ask for the role otp, and bob approves.
type fixture struct {
	cluster    *vaulttest.Cluster
	mount      *vaulttest.Mount
	alice, bob *vaulttest.Person
}

// theFixture is there for the examples, which take nothing.
var theFixture fixture

func TestMain(m *testing.M) {
	code := 1
	err := theFixture.start(context.Background())
	if err == nil {
		code = m.Run()
	}
	if theFixture.cluster != nil {
		err = errors.Join(err, theFixture.cluster.Close())
	}
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

func (f *fixture) start(ctx context.Context) (err error) {
	if f.cluster, err = vaulttest.Start(ctx, vaulttest.Options{}); err != nil {
		return err
	}
	upstream, err := f.cluster.EnableSSHOTP(ctx, "ssh", "otp")
	if err != nil {
		return err
	}
	if f.mount, err = f.cluster.Mount(ctx, vaulttest.MountOptions{AllowedPolicies: []string{upstream.Policy}}); err != nil {
		return err
	}
	for name, person := range map[string]**vaulttest.Person{"alice": &f.alice, "bob": &f.bob} {
		if *person, err = f.mount.Person(ctx, name); err != nil {
			return err
		}
	}
	admin, err := f.mount.Operated()
	if err != nil {
		return err
	}
	policy, role := wire.NewPolicy(), wire.NewRole()
	policy.Rules = []wire.Rule{{Name: "dba", ApproverGroups: []string{"dba"}, Approvals: 1}}
	role.Policy, role.Path, role.Operation, role.Data = "one", upstream.Path, "write", map[string]any{"ip": "127.0.0.1"}
	role.GrantPolicies = []string{upstream.Policy}
	_, groupErr := admin.ApproverGroups().Write(ctx, "dba", wire.ApproverGroup{EntityIDs: []string{f.bob.EntityID}})
	_, policyErr := admin.Policies().Write(ctx, "one", policy)
	_, roleErr := admin.Roles().Write(ctx, "otp", role)
	return errors.Join(groupErr, policyErr, roleErr)
}

// actAs is the engine with somebody's token.
func actAs(person *vaulttest.Person) *client.Client {
	jit, err := theFixture.mount.As(person)
	must(err)
	return jit
}

// askThroughProxy is alice's client behind a proxy that answers each call for the first time as if Vault were away. The
// client repeats a read so many times by itself.
func askThroughProxy(t *testing.T, retries int) (jit *client.Client, asked func() []string) {
	t.Helper()
	target, err := url.Parse(theFixture.cluster.Address())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var mu sync.Mutex
	var all []string
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		mu.Lock()
		call := req.Method + " " + strings.TrimPrefix(req.URL.Path, "/v1/"+theFixture.mount.Path+"/")
		first := !strings.Contains(strings.Join(all, "\n"), call)
		all = append(all, call)
		mu.Unlock()
		if first {
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(out, req)
	}))
	t.Cleanup(server.Close)
	config := api.DefaultConfig()
	config.Address, config.MaxRetries, config.MinRetryWait = server.URL, retries, time.Millisecond
	vault, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	vault.SetToken(theFixture.alice.Client.Token())
	if jit, err = client.New(vault, theFixture.mount.Path); err != nil {
		t.Fatal(err)
	}
	return jit, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestReadsAreRepeatedAndWritesNever(t *testing.T) {
	jit, asked := askThroughProxy(t, 1)
	if _, err := jit.Requests(t.Context(), wire.Query{}); err != nil {
		t.Error(err)
	}
	_, err := jit.Ask(t.Context(), wire.Ask{Role: "otp", Reason: "INC-1"})
	var unavailable *client.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Errorf("the error is %v", err)
	}
	if got := strings.Join(asked(), ", "); got != "GET requests, GET requests, PUT request" {
		t.Errorf("asked was %s", got)
	}
}

func TestWaitGoesOnWhereVaultIsAwayForAMoment(t *testing.T) {
	jit, _ := askThroughProxy(t, 0)
	request, err := actAs(theFixture.alice).Ask(t.Context(), wire.Ask{Role: "otp", Reason: "INC-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := actAs(theFixture.bob).Deny(t.Context(), request.ID, ""); err != nil {
		t.Fatal(err)
	}
	var away []error
	last, err := jit.Wait(t.Context(), request.ID, func(_ wire.Request, err error) { away = append(away, err) })
	if err != nil || last.State != "denied" {
		t.Errorf("the wait gave %v, %v", last.State, err)
	}
	if len(away) != 2 || away[0] == nil || away[1] != nil {
		t.Errorf("it looked %d times, and saw %v", len(away), away)
	}
}

func TestErrorsSayWhatTheyAre(t *testing.T) {
	alice := actAs(theFixture.alice)
	nowhere, err := client.New(theFixture.cluster.Root(), "nowhere")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := theFixture.mount.Operated()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := theFixture.mount.As(theFixture.alice)
	if err != nil {
		t.Fatal(err)
	}
	stranger.SetToken("nonsense")
	var denied *client.DeniedError
	const someID = "01999d3c-7c38-7d2a-b4a0-5c33b9a6d3d1"
	for name, c := range map[string]struct {
		call func() error
		is   func(error) bool
	}{
		"no such request": {func() error { _, err := alice.Request(t.Context(), someID); return err }, func(err error) bool { return errors.Is(err, client.ErrAbsent) }},
		"no mount":        {func() error { _, err := nowhere.Status(t.Context()); return err }, func(err error) bool { return errors.Is(err, client.ErrNoMount) }},
		"denied":          {func() error { _, err := alice.Status(t.Context()); return err }, func(err error) bool { return errors.As(err, &denied) && !denied.Forgotten }},
		"no such token":   {func() error { _, err := stranger.Status(t.Context()); return err }, func(err error) bool { return errors.As(err, &denied) && denied.Forgotten }},
		"refused":         {func() error { _, err := alice.Ask(t.Context(), wire.Ask{Role: "none", Reason: "x"}); return err }, func(err error) bool { return refusal.Of(err) != nil && refusal.Of(err).Field == "role" }},
		"another path":    {func() error { _, err := admin.Policies().Read(t.Context(), "../roles/otp"); return err }, func(err error) bool { return refusal.Of(err) != nil }},
		"empty list": {func() error {
			page, err := actAs(theFixture.bob).Inbox(t.Context(), wire.Page{After: someID})
			if err == nil && len(page.Requests) == 0 {
				return nil
			}
			return errors.Join(errors.New("there is something"), err)
		}, func(err error) bool { return err == nil }},
	} {
		if err := c.call(); !c.is(err) {
			t.Errorf("%s: the error is %T %v", name, err, err)
		}
	}
}
