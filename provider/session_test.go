package provider_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/provider/login"
)

// ci gives the pipeline an AppRole of its own, whose tokens live so long, and a configuration that logs in with it.
// Anybody in the approver group sees its requests.
func (p *pipeline) ci(t *testing.T, ttl, maxTTL, command string) (w *workspace, policy string) {
	t.Helper()
	policy = "ci-" + ttl + "-" + p.mount.Path
	if err := p.Policy(t.Context(), policy, fmt.Sprintf("path \"%s/*\" { capabilities = [\"create\", \"update\", \"read\", \"list\"] }", p.mount.Path)); err != nil {
		t.Fatal(err)
	}
	role := "auth/approle/role/" + policy
	put(t, p.Root(), role, map[string]any{"token_policies": policy, "token_ttl": ttl, "token_max_ttl": maxTTL})
	id, err := p.Root().Logical().ReadWithContext(t.Context(), role+"/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := p.Root().Logical().WriteWithContext(t.Context(), role+"/secret-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(p.config(command, "1m"), "provider \"vaultjit\" {", "provider \"vaultjit\" {\n  auth_login_approle = {}", 1)
	w = newWorkspace(t, findCLI(t), config)
	w.Env = append(w.Env, "VAULT_ADDR="+p.Address(), fmt.Sprint("VAULT_ROLE_ID=", id.Data["role_id"]), fmt.Sprint("VAULT_SECRET_ID=", secret.Data["secret_id"]))
	p.alice = p.carol
	return w, policy
}

// approvedAfter approves when the token of the login would have ended.
func (p *pipeline) approvedAfter(wait time.Duration) <-chan string {
	return p.approver(func(id string) error {
		time.Sleep(wait)
		return p.approve(id)
	})
}

// loginsEnd waits until no token with the policy is left.
func (p *pipeline) loginsEnd(policy string) {
	p.t.Helper()
	vaulttest.Eventually(p.t, "the logins' tokens are revoked", func(ctx context.Context) error {
		listed, err := p.Root().Logical().ListWithContext(ctx, "auth/token/accessors")
		if err != nil {
			return err
		}
		for _, accessor := range listed.Data["keys"].([]any) {
			about, err := p.Root().Logical().WriteWithContext(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
			if err == nil && strings.Contains(fmt.Sprint(about.Data["policies"]), policy) {
				return fmt.Errorf("a token of the login is left")
			}
		}
		return nil
	})
}

func TestALoginsTokenLivesAsLongAsItsGrantAndNoLongerThanTheRun(t *testing.T) {
	p := newPipeline(t)
	w, policy := p.ci(t, "4s", "1h", "sleep 6")
	decided := p.approvedAfter(6 * time.Second)
	output := w.does("apply", "-auto-approve", "-no-color")
	<-decided
	if strings.Contains(output, "Warning") {
		t.Errorf("it warns:\n%s", output)
	}
	p.nothingLeft()
	p.loginsEnd(policy)
}

func TestALoginThatCannotOutliveItsGrantIsMadeAgainAndWarnedOf(t *testing.T) {
	p := newPipeline(t)
	w, policy := p.ci(t, "5s", "5s", "true")
	decided := p.approvedAfter(6 * time.Second)
	w.says(w.does("apply", "-auto-approve", "-no-color"), "The grant ends with the login that claims it", "token_max_ttl of more than 5m0s")
	<-decided
	p.nothingLeft()
	p.loginsEnd(policy)
}

func TestTokenIsSaidToEndBeforeTheWait(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	renewable, fixed := true, false
	for name, c := range map[string]struct {
		token api.TokenCreateRequest
		lasts bool
	}{
		"renewable":                {api.TokenCreateRequest{TTL: "10s", Renewable: &renewable}, true},
		"not renewable":            {api.TokenCreateRequest{TTL: "30s", Renewable: &fixed}, false},
		"long enough":              {api.TokenCreateRequest{TTL: "2h", Renewable: &fixed}, true},
		"limited":                  {api.TokenCreateRequest{TTL: "10s", ExplicitMaxTTL: "30m", Renewable: &renewable}, false},
		"periodic":                 {api.TokenCreateRequest{Period: "10s", Renewable: &renewable}, true},
		"periodic and limited":     {api.TokenCreateRequest{Period: "10s", ExplicitMaxTTL: "30m", Renewable: &renewable}, false},
		"may not look itself up":   {api.TokenCreateRequest{TTL: "10s", NoDefaultPolicy: true}, true},
		"without an end of itself": {api.TokenCreateRequest{Policies: []string{"root"}}, true},
	} {
		if c.token.Policies == nil {
			c.token.Policies = []string{f.mount.UserPolicy}
		}
		made, err := f.Root().Auth().Token().CreateWithContext(t.Context(), &c.token)
		if err != nil {
			t.Fatal(err)
		}
		logins := &login.Logins{}
		session, err := login.Config{Address: types.StringValue(f.Address()), Token: types.StringValue(made.Auth.ClientToken), Mount: types.StringValue(f.mount.Path)}.
			Session("0.1.0", logins)
		if err == nil {
			_, err = session.Client(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Last(t.Context(), time.Hour); (err == nil) != c.lasts {
			t.Errorf("%s: %v", name, err)
		}
		logins.End(t.Context())
		if _, err := f.Root().Auth().Token().LookupAccessorWithContext(t.Context(), made.Auth.Accessor); err != nil {
			t.Errorf("%s: a token that was given does not live on: %v", name, err)
		}
	}
}
