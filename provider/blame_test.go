package provider

import (
	"errors"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
)

func TestRefusalsLandOnTheArgumentTheyAreAbout(t *testing.T) {
	policy, role := policySchema().Attributes, roleSchema().Attributes
	for _, c := range []struct {
		attributes map[string]schema.Attribute
		message    string
		want       string
	}{
		{policy, `policy "p": rules[0].approvals: it is 0 in rule "dba"; it must be at least 1`, "rules"},
		{policy, `policy "p": rule "dba": there is no approver group "x"; create it first`, "rules"},
		{policy, `policy "p" could never be met: rule "dba" needs 3 approvals`, "rules"},
		{policy, `policy "p": rules[1].name: it is empty`, "rules"},
		{policy, `policy "p": deny_threshold: it is 0; it must be at least 1`, "deny_threshold"},
		{policy, `policy "p": reason_pattern: "(" is not a regular expression`, "reason_pattern"},
		{policy, `max_ttl: "x" is not accepted`, "max_ttl"},
		{policy, `policy "p" was changed by somebody else at the same time; try again`, ""},
		{role, `role "r": there is no policy "x"; create it first`, "policy"},
		{role, `role "r": parameters.x.pattern: it is empty`, "parameters"},
		{role, `role "r": data.ip: {{.X}} is not known`, "data"},
		{role, `role "r": grant_policies[0]: it is "X", which is not a policy name`, "grant_policies"},
	} {
		var diags diag.Diagnostics
		blame(&diags, "refused", errors.New(c.message), c.attributes)
		got := ""
		if at, ok := diags[0].(diag.DiagnosticWithPath); ok {
			got = at.Path().String()
		}
		if got != c.want {
			t.Errorf("%q is blamed on %q, want %q", c.message, got, c.want)
		}
	}
}
