package issuer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-secure-stdlib/strutil"
	"github.com/hashicorp/vault/api"
)

// need is one path the engine calls, and what is lost without it.
type need struct {
	path       string
	capability string
	// lost is empty for a path without which the engine cannot work.
	lost string
}

func (i *Issuer) needs(appRole string) []need {
	needs := []need{
		{path: "auth/token/create/" + i.connection.TokenRole, capability: "update"},
		{path: "auth/token/revoke-accessor", capability: "update"},
		{path: "auth/token/renew-accessor", capability: "update"},
		{path: "auth/token/lookup-accessor", capability: "update"},
		{path: "sys/leases/revoke", capability: "update"},
		{path: "sys/leases/renew", capability: "update"},
	}
	if appRole != "" {
		secretID := i.secretIDPath(appRole)
		needs = append(needs,
			need{path: secretID, capability: "update"},
			need{path: secretID + "/destroy", capability: "update"},
			need{path: secretID + "/lookup", capability: "update"})
	}
	return append(needs,
		need{path: "identity/group/id/*", capability: "read", lost: "messages and checks cannot name the members of identity groups"},
		need{path: "auth/token/roles/" + i.connection.TokenRole, capability: "read", lost: "the token role cannot be checked before the first claim"})
}

// Warnings logs in and tells what the engine's identity lacks, each with the policy line that would give it,
// and what is wrong with the token role.
func (i *Issuer) Warnings(ctx context.Context) ([]string, error) {
	current, err := i.login(ctx, "")
	if err != nil {
		return nil, err
	}
	needs := i.needs(current.appRole)
	var paths []string
	for _, n := range needs {
		paths = append(paths, probe(n.path))
	}
	var granted map[string][]string
	err = i.as(ctx, func(client *api.Client) (err error) {
		granted, err = i.capabilities(ctx, client, paths)
		return err
	})
	if err != nil {
		return []string{fmt.Sprintf("the engine's own capabilities could not be checked (%v); give it: %s",
			told(err), policyLine("sys/capabilities-self", "update"))}, nil
	}
	var warnings []string
	for _, n := range needs {
		has := granted[probe(n.path)]
		switch {
		case slices.Contains(has, "root") || slices.Contains(has, n.capability):
		case n.lost == "":
			warnings = append(warnings, fmt.Sprintf("the engine's identity may not %s %s; give it: %s", n.capability, n.path, policyLine(n.path, n.capability)))
		default:
			warnings = append(warnings, fmt.Sprintf("without %s on %s, %s; if wanted, give it: %s", n.capability, n.path, n.lost, policyLine(n.path, n.capability)))
		}
	}
	return append(warnings, i.tokenRoleWarnings(ctx)...), nil
}

// probe is a path that a policy for the given one covers.
func probe(path string) string {
	return strings.Replace(path, "*", "00000000-0000-0000-0000-000000000000", 1)
}

func policyLine(path, capability string) string {
	if capability == "update" {
		return fmt.Sprintf(`path %q { capabilities = ["create", "update"] }`, path)
	}
	return fmt.Sprintf(`path %q { capabilities = [%q] }`, path, capability)
}

func (i *Issuer) capabilities(ctx context.Context, client *api.Client, paths []string) (map[string][]string, error) {
	secret, err := client.Logical().WriteWithContext(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil {
		return nil, err
	}
	granted := map[string][]string{}
	if secret == nil {
		return granted, nil
	}
	for _, path := range paths {
		list, _ := secret.Data[path].([]any)
		for _, word := range list {
			if text, ok := word.(string); ok {
				granted[path] = append(granted[path], text)
			}
		}
	}
	return granted, nil
}

// tokenRole is the token role as it is now; nil if there is none.
func (i *Issuer) tokenRole(ctx context.Context) (role *api.Secret, err error) {
	err = i.as(ctx, func(client *api.Client) (err error) {
		role, err = client.Logical().ReadWithContext(ctx, "auth/token/roles/"+i.connection.TokenRole)
		return err
	})
	return role, err
}

// PolicyWarnings tells which of the policies the token role does not allow, if the engine may look.
func (i *Issuer) PolicyWarnings(ctx context.Context, policies []string) []string {
	role, err := i.tokenRole(ctx)
	if err != nil || role == nil {
		return nil
	}
	allowed, globs := words(role.Data["allowed_policies"]), words(role.Data["allowed_policies_glob"])
	if len(allowed)+len(globs) == 0 {
		return nil
	}
	var warnings []string
	for _, policy := range policies {
		if !slices.Contains(allowed, policy) && !strutil.StrListContainsGlob(globs, policy) {
			warnings = append(warnings, fmt.Sprintf("token role %q does not allow %q, so every claim will fail until its allowed_policies list it",
				i.connection.TokenRole, policy))
		}
	}
	return warnings
}

// GroupWarnings tells which ids are of no identity group, if the engine may look.
func (i *Issuer) GroupWarnings(ctx context.Context, ids []string) []string {
	var warnings []string
	for _, id := range ids {
		if group, err := i.group(ctx, id); err == nil && group == nil {
			warnings = append(warnings, fmt.Sprintf("Vault knows no identity group with the id %q (a group's name is not its id)", id))
		}
	}
	return warnings
}

// tokenRoleWarnings looks at the token role, if it may, for settings that would make every claim fail.
func (i *Issuer) tokenRoleWarnings(ctx context.Context) []string {
	role, err := i.tokenRole(ctx)
	if err != nil {
		return nil // that it may not be read is said already
	}
	if role == nil {
		return []string{fmt.Sprintf("the token role %q does not exist; every claim will fail until it does", i.connection.TokenRole)}
	}
	var warnings []string
	warn := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf("token role %q: ", i.connection.TokenRole)+fmt.Sprintf(format, args...))
	}
	if orphan, _ := role.Data["orphan"].(bool); !orphan {
		warn("orphan must be true, or grants would end with the engine's own token")
	}
	if kind, _ := role.Data["token_type"].(string); kind != "service" && kind != "default-service" {
		warn("token_type is %q; it must be service, because nothing can be attached to another kind", kind)
	}
	if allowed, _ := role.Data["allowed_policies"].([]any); len(allowed) == 0 {
		warn("allowed_policies is empty, so it does not limit what a grant can get; list the grant policies there")
	}
	return warnings
}
