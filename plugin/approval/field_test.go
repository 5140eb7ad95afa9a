package approval

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// oddTexts are accepted by some fields and refused by others.
var oddTexts = []string{
	"", "a", "a b", "A", "root", ".", "../x", "a\x00", "\u202e", "\xff", "(", `\Q`, "[a-z]+", ".*", "{{", "{{.TTL}}", "{{.Foo}}", "{{.Parameters.a}}",
	"{{.Requester.Metadata.a}}", strings.Repeat("a", 5000), strings.Repeat("a", 20_000),
}

var (
	oddText     = rapid.SampledFrom(oddTexts)
	oddList     = rapid.SliceOfN(oddText, 0, 3)
	oddDuration = rapid.SampledFrom([]time.Duration{-time.Second, 0, 1, time.Second, 1500 * time.Millisecond, time.Hour, 100 * time.Hour})
	oddCount    = rapid.IntRange(-1, 101)
)

// mostly is what is good, and now and then something odd; so that what is looked at last is reached, too.
func mostly[T any](t *rapid.T, field string, good T, odd *rapid.Generator[T]) T {
	if rapid.IntRange(0, 5).Draw(t, field+" is good") > 0 {
		return good
	}
	return odd.Draw(t, field)
}

func someSecret(t *rapid.T) grant.Secret {
	return grant.Secret{
		Path:      mostly(t, "path", "a/{{.Parameters.a}}", oddText),
		Operation: mostly(t, "operation", grant.Write, rapid.Just(grant.Read)),
		Data:      map[string]any{mostly(t, "key", "a", oddText): []any{mostly(t, "data", "{{.TTL}}", oddText)}},
		Parameters: grant.Parameters{mostly(t, "parameter", "a", oddText): {
			Pattern: mostly(t, "pattern", "(?s).*", oddText), Default: mostly(t, "default", "a", oddText),
			Required: mostly(t, "required", false, rapid.Just(true)),
		}},
		GrantPolicies: mostly(t, "grant_policies", []string{"a"}, oddList),
	}
}

func somePolicy(t *rapid.T) Policy {
	policy := Policy{
		Name: "prod", DenyThreshold: mostly(t, "deny_threshold", 1, oddCount), RequireReason: rapid.Bool().Draw(t, "require_reason"),
		ReasonPattern: mostly(t, "reason_pattern", "(?s).*", oddText),
		RequestTTL:    mostly(t, "request_ttl", time.Hour, oddDuration), ClaimTTL: mostly(t, "claim_ttl", time.Hour, oddDuration),
		MaxTTL: mostly(t, "max_ttl", time.Hour, oddDuration), DefaultTTL: mostly(t, "default_ttl", time.Hour, oddDuration),
	}
	for _, name := range []string{"a", "b"} {
		policy.Rules = append(policy.Rules, rule(mostly(t, "name", name, oddText), mostly(t, "approvals", 1, oddCount),
			mostly(t, "approver_groups", []string{"dbas"}, oddList)...))
	}
	return policy
}

// However bad what somebody writes is, the refusal says in which field. That somebody or the number of requests is at
// fault is in another test's table.
func TestRefusalOfAnythingWrittenNamesAField(t *testing.T) {
	writeAll := func(t *rapid.T) {
		role := dba()
		role.RequesterEntityIDs = []string{"entity-alice"}
		role.Gives.Spec = someSecret(t)
		question := asking(somePolicy(t))
		question.Role = role
		question.Reason, question.TTL = mostly(t, "reason", "a", oddText), mostly(t, "ttl", time.Hour, oddDuration)
		question.MaxWindow = mostly(t, "max_window", time.Hour, oddDuration)
		question.Parameters = map[string]string{mostly(t, "given", "a", oddText): mostly(t, "value", "a", oddText)}
		_, asked := New(requestID, question, start)
		for what, err := range map[string]error{
			"group":   ApproverGroup{EntityIDs: oddList.Draw(t, "entity_ids"), IdentityGroupIDs: oddList.Draw(t, "groups")}.Validate(),
			"policy":  question.Policy.Validate(),
			"role":    role.Validate(),
			"request": asked,
		} {
			if err == nil {
				continue
			}
			refused := refusal.Of(err)
			if refused == nil || refused.Field == "" {
				t.Errorf("the %s is refused without a field: %v", what, err)
			} else if fields := []string{"role", "reason", "ttl", "parameters"}; what == "request" && !slices.Contains(fields, strings.FieldsFunc(refused.Field, isPunctuation)[0]) {
				t.Errorf("the request is refused for what is no field of it: %v", err)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		for range 30 { // a hundred of each would miss what is rare
			writeAll(t)
		}
	})
}

func isPunctuation(char rune) bool { return strings.ContainsRune(`.["`, char) }
