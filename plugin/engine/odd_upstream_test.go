package engine_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// listNewTokens lists the tokens that exist now and did not exist before, without the engine's own.
func (f *fixture) listNewTokens(before []string) []*vaulttest.Token {
	f.t.Helper()
	tokens, err := f.Tokens(f.t.Context(), func(token *vaulttest.Token) bool {
		return !slices.Contains(before, token.Accessor) && token.Meta["role_name"] != f.mount.AppRole
	})
	must(f.t, err)
	return tokens
}

// A token made by a path could outlive the window: an orphan does not end with the grant token that made it.
func TestTokensInAnUpstreamAnswerAreRevoked(t *testing.T) {
	f := newFixture(t, vaulttest.MountOptions{})
	powers := f.mount.Path + "-powers"
	must(t, f.Policy(t.Context(), powers, `
path "auth/token/create"        { capabilities = ["update"] }
path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }
path "sys/wrapping/rewrap"      { capabilities = ["update"] }`))
	must(t, f.mount.AllowGrants(t.Context(), powers))
	// The role would give the requester a token that somebody else wrapped.
	wrapping, err := f.Client(f.Root().Token())
	must(t, err)
	wrapping.SetWrappingLookupFunc(func(string, string) string { return "1h" })
	wrapped, err := wrapping.Logical().WriteWithContext(t.Context(), "auth/token/create-orphan", map[string]any{"policies": []string{powers}})
	must(t, err)
	before, err := f.TokenAccessors(t.Context())
	must(t, err)

	for name, gives := range map[string]wire.Specification{
		"child":   {Path: "auth/token/create", Data: map[string]any{"policies": powers}},
		"orphan":  {Path: "auth/token/create-orphan", Data: map[string]any{"policies": powers, "ttl": "720h"}},
		"batch":   {Path: "auth/token/create", Data: map[string]any{"policies": powers, "type": "batch"}},
		"wrapped": {Path: "sys/wrapping/rewrap", Data: map[string]any{"token": wrapped.WrapInfo.Token}},
	} {
		role := newRole("one", &vaulttest.Upstream{Path: gives.Path, Policy: powers})
		role.Operation, role.Data, role.AllowUnleased = "write", gives.Data, true
		f.addRole(name, role)
		id := f.askApproved(wire.Ask{Role: name, TTL: 10 * minute}, f.bob)
		f.wantClaimRefused(id, "answered", "nothing was given out")
		f.wantState(id, "approved")
	}
	if left := f.listNewTokens(before); len(left) > 0 {
		t.Errorf("%d tokens are left: %+v", len(left), left[0])
	}
}

// The engine cannot revoke a certificate, but it can ask for one that ends with the window.
func TestCertificateEndsWithItsWindow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, vaulttest.MountOptions{})
	pki := "pki-" + f.mount.Path
	must(t, f.Root().Sys().MountWithContext(t.Context(), pki, &api.MountInput{Type: "pki"}))
	for path, data := range map[string]map[string]any{
		pki + "/root/generate/internal": {"common_name": "test", "ttl": "24h"},
		pki + "/roles/web":              {"allow_any_name": true, "max_ttl": "24h"},
	} {
		_, err := f.Root().Logical().WriteWithContext(t.Context(), path, data)
		must(t, err)
	}
	must(t, f.Policy(t.Context(), pki, `path "`+pki+`/issue/web" { capabilities = ["update"] }`))
	must(t, f.mount.AllowGrants(t.Context(), pki))
	role := newRole("one", &vaulttest.Upstream{Path: pki + "/issue/web", Policy: pki})
	role.Operation, role.Data = "write", map[string]any{"common_name": "{{.Requester.Name}}.example.com", "ttl": "{{.TTL}}s"}
	f.addRole("certificate", role)
	id := f.askApproved(wire.Ask{Role: "certificate", TTL: 7 * minute}, f.bob)
	f.wantClaimRefused(id, "without a lease", "allow_unleased=true")

	role.AllowUnleased = true
	f.addRole("certificate", role)
	f.wantClaimRefused(id, "changed since the request was made")
	id = f.askApproved(wire.Ask{Role: "certificate", TTL: 7 * minute}, f.bob)
	shown := f.readRequest(f.bob, id)
	if !shown.CannotBeTakenBack || shown.Data["common_name"] != f.alice.Name+".example.com" || shown.Data["ttl"] != "420s" {
		t.Errorf("approvers see %+v", shown.Summary)
	}
	credential := f.claim(f.alice, id)
	wantWarning(t, credential.Warnings, "cannot be taken back")
	block, _ := pem.Decode([]byte(credential.Data["certificate"].(string)))
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	if left := time.Until(certificate.NotAfter); left > 7*time.Minute+time.Second || left < 6*time.Minute {
		t.Errorf("the certificate ends in %s, the window in 7m", left)
	}
	f.revoke(f.alice, id)
	f.wantNoGrantTokens()
	f.wantState(id, "ended")
}

// Every upstream call is made with the grant token, whose metadata names the requester.
func TestUpstreamAuditEntryNamesTheRequester(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{RawAudit: true, LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", newPolicy(1))
	id := f.askApproved(wire.Ask{Role: "otp", TTL: 10 * minute}, f.bob)
	f.claim(f.alice, id)
	audit, err := cluster.AuditLog()
	must(t, err)
	found := false
	for line := range strings.Lines(audit) {
		var entry auditEntry
		must(t, json.Unmarshal([]byte(line), &entry))
		if entry.Request.Path == "ssh-"+f.mount.Path+"/creds/otp" {
			found = true
			for _, want := range []string{`"jit_request":"` + id + `"`, `"jit_requester":"` + f.alice.Name + `"`, `"jit_requester_entity_id":"` + f.alice.EntityID + `"`, `"jit_role":"otp"`} {
				if !strings.Contains(line, want) {
					t.Errorf("the audit entry of the upstream call lacks %s", want)
				}
			}
		}
	}
	if !found {
		t.Error("the audit log lacks the upstream call")
	}
}
