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

// newTokens are those that live now and did not before, but for the engine's own.
func (w *world) newTokens(before []string) []*vaulttest.Token {
	w.t.Helper()
	tokens, err := w.Tokens(w.t.Context(), func(token *vaulttest.Token) bool {
		return !slices.Contains(before, token.Accessor) && token.Meta["role_name"] != w.mount.AppRole
	})
	must(w.t, err)
	return tokens
}

// A path that gives tokens would give more than the window: an orphan does not end with the grant token that made it.
func TestTokensThatAPathGivesAreRevokedEvenOrphansAndWrappedOnes(t *testing.T) {
	w := newWorld(t, vaulttest.MountOptions{})
	powers := w.mount.Path + "-powers"
	must(t, w.Policy(t.Context(), powers, `
path "auth/token/create"        { capabilities = ["update"] }
path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }
path "sys/wrapping/rewrap"      { capabilities = ["update"] }`))
	must(t, w.mount.AllowGrants(t.Context(), powers))
	// Somebody has wrapped a token, and the role would pass on the wrapping.
	wrapping, err := w.Client(w.Root().Token())
	must(t, err)
	wrapping.SetWrappingLookupFunc(func(string, string) string { return "1h" })
	wrapped, err := wrapping.Logical().WriteWithContext(t.Context(), "auth/token/create-orphan", map[string]any{"policies": []string{powers}})
	must(t, err)
	before, err := w.TokenAccessors(t.Context())
	must(t, err)

	for role, spec := range map[string]map[string]any{
		"child":   {"path": "auth/token/create", "data": map[string]any{"policies": powers}},
		"orphan":  {"path": "auth/token/create-orphan", "data": map[string]any{"policies": powers, "ttl": "720h"}},
		"batch":   {"path": "auth/token/create", "data": map[string]any{"policies": powers, "type": "batch"}},
		"wrapped": {"path": "sys/wrapping/rewrap", "data": map[string]any{"token": wrapped.WrapInfo.Token}},
	} {
		spec["operation"], spec["grant_policies"], spec["allow_unleased"] = "write", powers, true
		w.quick(role, spec)
		id := w.approved(role, "10m")
		w.refuses(w.alice, "claim", map[string]any{"id": id}, "answered", "nothing was given out")
		w.wantState(id, "approved")
	}
	if left := w.newTokens(before); len(left) > 0 {
		t.Errorf("%d tokens are left: %+v", len(left), left[0])
	}
}

// What cannot be taken back can at least end with the window, if its path takes a duration.
func TestACertificateEndsWithItsWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vaulttest.MountOptions{})
	pki := "pki-" + w.mount.Path
	must(t, w.Root().Sys().MountWithContext(t.Context(), pki, &api.MountInput{Type: "pki"}))
	for path, data := range map[string]map[string]any{
		pki + "/root/generate/internal": {"common_name": "test", "ttl": "24h"},
		pki + "/roles/web":              {"allow_any_name": true, "max_ttl": "24h"},
	} {
		_, err := w.Root().Logical().WriteWithContext(t.Context(), path, data)
		must(t, err)
	}
	must(t, w.Policy(t.Context(), pki, `path "`+pki+`/issue/web" { capabilities = ["update"] }`))
	must(t, w.mount.AllowGrants(t.Context(), pki))
	spec := map[string]any{
		"path": pki + "/issue/web", "operation": "write", "grant_policies": pki,
		"data": map[string]any{"common_name": "{{.Requester.Name}}.example.com", "ttl": "{{.TTL}}s"},
	}
	w.quick("certificate", spec)
	id := w.approved("certificate", "7m")
	w.refuses(w.alice, "claim", map[string]any{"id": id}, "without a lease", "allow_unleased=true")

	spec["allow_unleased"] = true
	w.quick("certificate", spec)
	w.refuses(w.alice, "claim", map[string]any{"id": id}, "changed since the request was made")
	id = w.approved("certificate", "7m")
	shown := w.request(w.bob, id)
	if shown["cannot_be_taken_back"] != true || fmt.Sprint(shown["data"]) != "map[common_name:"+w.alice.Name+".example.com ttl:420s]" {
		t.Errorf("approvers see %v and %v", shown["cannot_be_taken_back"], shown["data"])
	}
	credential := w.claim(w.alice, id)
	if len(credential.Warnings) == 0 || !strings.Contains(strings.Join(credential.Warnings, " "), "cannot be taken back") {
		t.Errorf("the claim warns %q", credential.Warnings)
	}
	block, _ := pem.Decode([]byte(credential.Data["certificate"].(string)))
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	if left := time.Until(certificate.NotAfter); left > 7*time.Minute+time.Second || left < 6*time.Minute {
		t.Errorf("the certificate ends in %s, the window in 7m", left)
	}
	w.does(w.alice, "revoke", map[string]any{"id": id})
	w.wantNoTokens()
	w.wantState(id, "ended")
}

// Everything of a grant hangs on one token, and that is known by whom it is for.
func TestAuditLogOfUpstreamNamesThePerson(t *testing.T) {
	cluster := vaulttest.New(t, vaulttest.Options{RawAudit: true, LogLevel: "error"})
	w := worldOn(t, cluster, vaulttest.MountOptions{})
	w.otp("one", map[string]any{"rules": []any{rule("dba", 1, "dba")}})
	id := w.approved("otp", "10m")
	w.claim(w.alice, id)
	audit, err := cluster.AuditLog()
	must(t, err)
	found := false
	for line := range strings.Lines(audit) {
		var entry audited
		must(t, json.Unmarshal([]byte(line), &entry))
		if entry.Request.Path == "ssh-"+w.mount.Path+"/creds/otp" {
			found = true
			for _, want := range []string{`"jit_request":"` + id + `"`, `"jit_requester":"` + w.alice.Name + `"`, `"jit_requester_entity_id":"` + w.alice.EntityID + `"`, `"jit_role":"otp"`} {
				if !strings.Contains(line, want) {
					t.Errorf("the audit log of the upstream call does not hold %s", want)
				}
			}
		}
	}
	if !found {
		t.Error("the audit log does not hold the upstream call")
	}
}
