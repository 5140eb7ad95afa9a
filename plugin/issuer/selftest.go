package issuer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-secure-stdlib/strutil"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/session"
)

// need is one path the engine calls, and what is lost without it.
type need struct {
	path       string
	capability string
	// lost is empty for a path without which the engine cannot work.
	lost string
}

func (i *Issuer) listNeeds(secretIDPath string) []need {
	tokenRole := i.session.Connection().TokenRole
	updated := []string{
		"auth/token/create/" + tokenRole, "auth/token/revoke-accessor", "auth/token/renew-accessor", "auth/token/lookup-accessor",
		"sys/leases/revoke", "sys/leases/renew",
	}
	if secretIDPath != "" {
		updated = append(updated, secretIDPath, secretIDPath+"/destroy", secretIDPath+"/lookup")
	}
	var needs []need
	for _, path := range updated {
		needs = append(needs, need{path: path, capability: "update"})
	}
	return append(needs,
		need{path: "identity/group/id/*", capability: "read", lost: "messages and checks cannot name the members of identity groups"},
		need{path: "auth/token/roles/" + tokenRole, capability: "read", lost: "the token role cannot be checked before the first claim"})
}

// probePath is a path that a policy for the need covers.
func (n need) probePath() string {
	return strings.Replace(n.path, "*", "00000000-0000-0000-0000-000000000000", 1)
}

// warn says what is missing, with the policy line that would give it.
func (n need) warn() string {
	line := writePolicyLine(n.path, n.capability)
	if n.lost == "" {
		return fmt.Sprintf("the engine's identity may not %s %s; give it: %s", n.capability, n.path, line)
	}
	return fmt.Sprintf("without %s on %s, %s; if wanted, give it: %s", n.capability, n.path, n.lost, line)
}

func writePolicyLine(path, capability string) string {
	if capability == "update" {
		return fmt.Sprintf(`path %q { capabilities = ["create", "update"] }`, path)
	}
	return fmt.Sprintf(`path %q { capabilities = [%q] }`, path, capability)
}

// Warnings logs in and tells what the engine's identity lacks, each with the policy line that would give it,
// and what is wrong with the token role. The error says why it could not log in.
func (i *Issuer) Warnings(ctx context.Context) ([]string, error) {
	defer i.session.Use()()
	secretIDPath, err := i.session.SecretIDPath(ctx)
	if err != nil {
		return nil, err
	}
	needs := i.listNeeds(secretIDPath)
	var paths []string
	for _, n := range needs {
		paths = append(paths, n.probePath())
	}
	granted, err := i.session.Write(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil {
		return []string{fmt.Sprintf("the engine's own capabilities could not be checked (%v); give it: %s",
			session.Explain(err), writePolicyLine("sys/capabilities-self", "update"))}, nil
	}
	var warnings []string
	for _, n := range needs {
		has := session.ListWords(granted.Data[n.probePath()])
		if !slices.Contains(has, "root") && !slices.Contains(has, n.capability) {
			warnings = append(warnings, n.warn())
		}
	}
	return append(warnings, i.warnOfTokenRole(ctx)...), nil
}

// readTokenRole reads the token role; the answer is empty if there is none.
func (i *Issuer) readTokenRole(ctx context.Context) (*api.Secret, error) {
	return i.session.Read(ctx, "auth/token/roles/"+i.session.Connection().TokenRole)
}

// PolicyWarnings tells which of the policies the token role does not allow, if the engine may look.
func (i *Issuer) PolicyWarnings(ctx context.Context, policies []string) []string {
	role, err := i.readTokenRole(ctx)
	if err != nil {
		return nil
	}
	allowed, globs := session.ListWords(role.Data["allowed_policies"]), session.ListWords(role.Data["allowed_policies_glob"])
	if len(allowed)+len(globs) == 0 {
		return nil
	}
	var warnings []string
	for _, policy := range policies {
		if !slices.Contains(allowed, policy) && !strutil.StrListContainsGlob(globs, policy) {
			warnings = append(warnings, fmt.Sprintf("grant_policies: token role %q does not allow %q, so every claim will fail until its allowed_policies list it",
				i.session.Connection().TokenRole, policy))
		}
	}
	return warnings
}

// warnOfTokenRole looks at the token role, if it may, for settings that would make every claim fail.
func (i *Issuer) warnOfTokenRole(ctx context.Context) []string {
	name := i.session.Connection().TokenRole
	role, err := i.readTokenRole(ctx)
	if err != nil {
		return nil // that it may not be read is said already
	}
	if role.Data == nil {
		return []string{fmt.Sprintf("the token role %q does not exist; every claim will fail until it does", name)}
	}
	var warnings []string
	warn := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf("token role %q: ", name)+fmt.Sprintf(format, args...))
	}
	if orphan, _ := role.Data["orphan"].(bool); !orphan {
		warn("orphan must be true, or grants would end with the engine's own token")
	}
	if kind, _ := role.Data["token_type"].(string); kind != "service" && kind != "default-service" {
		warn("token_type is %q; it must be service, because nothing can be attached to another kind", kind)
	}
	if len(session.ListWords(role.Data["allowed_policies"]))+len(session.ListWords(role.Data["allowed_policies_glob"])) == 0 {
		warn("allowed_policies is empty, so it does not limit what a grant can get; list the grant policies there")
	}
	return warnings
}
