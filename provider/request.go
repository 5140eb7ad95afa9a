package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/vault-jit/vault-jit/plugin/approval"

	"github.com/vault-jit/vault-jit/plugin/wire"
	"github.com/vault-jit/vault-jit/provider/object"
)

// requestAnswer is what the engine answers of a request.
type requestAnswer struct {
	ID             string            `json:"id"`
	Role           string            `json:"role"`
	State          approval.State    `json:"state"`
	Reason         string            `json:"reason"`
	TTL            int64             `json:"ttl"`
	Parameters     map[string]string `json:"parameters"`
	Requester      person            `json:"requester"`
	CreatedAt      string            `json:"created_at"`
	ExpiresAt      string            `json:"expires_at"`
	Decisions      []decision        `json:"decisions"`
	Denials        int64             `json:"denials"`
	DenyThreshold  int64             `json:"deny_threshold"`
	Rules          []ruleVerdict     `json:"rules"`
	Grant          *grant            `json:"grant"`
	Path           string            `json:"path"`
	Operation      string            `json:"operation"`
	Data           map[string]any    `json:"data"`
	GrantPolicies  []string          `json:"grant_policies"`
	CannotTakeBack bool              `json:"cannot_be_taken_back"`
	Policy         string            `json:"policy"`
	PolicyVersion  int64             `json:"policy_version"`
	Claimable      bool              `json:"claimable"`
	Obstacles      []string          `json:"obstacles"`
	Digest         string            `json:"digest"`
}

type person struct {
	EntityID string `json:"entity_id" tfsdk:"entity_id"`
	Name     string `json:"name" tfsdk:"name"`
}

var personTypes = map[string]attr.Type{"entity_id": types.StringType, "name": types.StringType}

type decision struct {
	Approver person `json:"approver" tfsdk:"approver"`
	Verdict  string `json:"verdict" tfsdk:"verdict"`
	Comment  string `json:"comment" tfsdk:"comment"`
	At       string `json:"at" tfsdk:"at"`
	Counts   bool   `json:"counts" tfsdk:"counts"`
	Why      string `json:"why" tfsdk:"why"`
}

type ruleVerdict struct {
	Name              string   `json:"name" tfsdk:"name"`
	ApproverGroups    []string `json:"approver_groups" tfsdk:"approver_groups"`
	ApprovalsRequired int64    `json:"approvals_required" tfsdk:"approvals_required"`
	ApprovalsCounted  int64    `json:"approvals_counted" tfsdk:"approvals_counted"`
	Satisfied         bool     `json:"satisfied" tfsdk:"satisfied"`
	Counted           []string `json:"counted" tfsdk:"counted"`
	CanApprove        []string `json:"can_approve" tfsdk:"can_approve"`
}

type grant struct {
	ClaimedAt  string  `json:"claimed_at" tfsdk:"claimed_at"`
	ExpiresAt  string  `json:"expires_at" tfsdk:"expires_at"`
	EndedAt    string  `json:"ended_at" tfsdk:"ended_at"`
	EndReason  string  `json:"end_reason" tfsdk:"end_reason"`
	EndedBy    *person `json:"ended_by" tfsdk:"ended_by"`
	Revocation string  `json:"revocation" tfsdk:"revocation"`
	LastError  string  `json:"last_error" tfsdk:"last_error"`
}

func (a requestAnswer) window() object.Duration { return object.Spell(wire.Seconds(a.TTL)) }

// over reports whether nothing will come of the request any more.
func (a requestAnswer) over() bool { return !a.State.Open() }

// missing says in one sentence what stands between the request and its claim.
func (a requestAnswer) missing() string {
	if len(a.Obstacles) > 0 {
		return strings.Join(a.Obstacles, "; ")
	}
	var lacking []string
	for _, rule := range a.Rules {
		if !rule.Satisfied {
			lacking = append(lacking, fmt.Sprintf("rule %q has %d of %d approvals", rule.Name, rule.ApprovalsCounted, rule.ApprovalsRequired))
		}
	}
	if len(lacking) == 0 {
		return "nothing"
	}
	return strings.Join(lacking, "; ")
}

// verdict says how the request was decided, for whoever waits for it.
func (a requestAnswer) verdict() string {
	text := fmt.Sprintf("request %s for role %q is %s", a.ID, a.Role, a.State)
	switch a.State {
	case approval.StateDenied:
		for _, d := range a.Decisions {
			if d.Verdict == string(approval.Deny) && d.Counts {
				text += fmt.Sprintf("; %s denied it: %q", d.Approver.Name, d.Comment)
			}
		}
	case approval.StateEnded, approval.StateActive:
		text += "; a request is granted once"
		if a.Grant != nil && a.Grant.EndReason != "" {
			text += fmt.Sprintf(", and this grant ended at %s (%s)", a.Grant.EndedAt, a.Grant.EndReason)
		}
	case approval.StateExpired:
		text += "; it waited too long for its quorum or its claim: " + a.missing()
	case approval.StateCancelled:
		text += " by its requester"
	case approval.StatePending, approval.StateApproved, approval.StateClaiming:
		text += "; " + a.missing()
	}
	return text
}

// request reads a request; errAbsent if there is none that this token may see.
func (e *engine) request(ctx context.Context, id string) (requestAnswer, error) {
	answer, err := e.read(ctx, joinPath("requests", id))
	if err != nil {
		return requestAnswer{}, err
	}
	if answer == nil {
		return requestAnswer{}, fmt.Errorf("request %s: %w that this token may see", id, errAbsent)
	}
	return decode[requestAnswer](answer)
}

// settleTries bounds how often settle looks again because somebody else moved the request on meanwhile.
const settleTries = 5

// settle leaves the request not open and, if it is to end grants too, no grant of it alive, whatever state it is in.
// Warnings say what of it the engine could not confirm.
func (e *engine) settle(ctx context.Context, id string, grants bool) (warnings []string, err error) {
	for range settleTries {
		a, readErr := e.request(ctx, id)
		if readErr != nil {
			return nil, readErr
		}
		if a.over() || (a.State == approval.StateActive && !grants) {
			return nil, nil
		}
		verb := "cancel"
		if a.State == approval.StateActive {
			verb = "revoke"
		}
		answer, writeErr := e.write(ctx, verb, map[string]any{"id": id})
		if writeErr == nil {
			if answer != nil {
				warnings = answer.Warnings
			}
			return warnings, nil
		}
		err = writeErr
		var refused *refusalError
		if !errors.As(writeErr, &refused) {
			return nil, err
		}
	}
	return nil, err
}

func stringsMap(values map[string]string) types.Map {
	elements := make(map[string]attr.Value, len(values))
	for name, value := range values {
		elements[name] = types.StringValue(value)
	}
	return types.MapValueMust(types.StringType, elements)
}
