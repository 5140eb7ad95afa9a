package engine_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/vaulttest"
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

	for role, spec := range map[string]map[string]any{
		"child":   {"path": "auth/token/create", "data": map[string]any{"policies": powers}},
		"orphan":  {"path": "auth/token/create-orphan", "data": map[string]any{"policies": powers, "ttl": "720h"}},
		"batch":   {"path": "auth/token/create", "data": map[string]any{"policies": powers, "type": "batch"}},
		"wrapped": {"path": "sys/wrapping/rewrap", "data": map[string]any{"token": wrapped.WrapInfo.Token}},
	} {
		spec["operation"], spec["grant_policies"], spec["allow_unleased"] = "write", powers, true
		f.addRole(role, spec)
		id := f.askApproved(role, "10m")
		f.wantRefused(f.alice, "claim/"+id, nil, "answered", "nothing was given out")
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
	spec := map[string]any{
		"path": pki + "/issue/web", "operation": "write", "grant_policies": pki,
		"data": map[string]any{"common_name": "{{.Requester.Name}}.example.com", "ttl": "{{.TTL}}s"},
	}
	f.addRole("certificate", spec)
	id := f.askApproved("certificate", "7m")
	f.wantRefused(f.alice, "claim/"+id, nil, "without a lease", "allow_unleased=true")

	spec["allow_unleased"] = true
	f.addRole("certificate", spec)
	f.wantRefused(f.alice, "claim/"+id, nil, "changed since the request was made")
	id = f.askApproved("certificate", "7m")
	shown := f.readRequest(f.bob, id)
	if shown["cannot_be_taken_back"] != true || fmt.Sprint(shown["data"]) != "map[common_name:"+f.alice.Name+".example.com ttl:420s]" {
		t.Errorf("approvers see %v and %v", shown["cannot_be_taken_back"], shown["data"])
	}
	credential := f.claim(f.alice, id)
	if len(credential.Warnings) == 0 || !strings.Contains(strings.Join(credential.Warnings, " "), "cannot be taken back") {
		t.Errorf("the claim warns %q", credential.Warnings)
	}
	block, _ := pem.Decode([]byte(credential.Data["certificate"].(string)))
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	if left := time.Until(certificate.NotAfter); left > 7*time.Minute+time.Second || left < 6*time.Minute {
		t.Errorf("the certificate ends in %s, the window in 7m", left)
	}
	f.mustWriteAs(f.alice, "revoke", map[string]any{"id": id})
	f.wantNoGrantTokens()
	f.wantState(id, "ended")
}

// Every upstream call is made with the grant token, whose metadata names the requester.
func TestUpstreamAuditEntryNamesTheRequester(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{RawAudit: true, LogLevel: "error"})
	f := newFixtureOn(t, cluster, vaulttest.MountOptions{})
	f.addOTPRole("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := f.askApproved("otp", "10m")
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
