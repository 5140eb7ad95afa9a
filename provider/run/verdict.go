package run

import (
	"fmt"
	"strings"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// Waits reports whether a request still waits to be decided on or claimed.
func Waits(request wire.Request) bool { return !request.IsOver() && !request.IsActive() }

// describeMissing says what stands between the request and its claim.
func describeMissing(request wire.Request) string {
	if len(request.Obstacles) > 0 {
		return strings.Join(request.Obstacles, "; ")
	}
	var lacking []string
	for _, rule := range request.Rules {
		if !rule.Satisfied {
			lacking = append(lacking, fmt.Sprintf("rule %q has %d of %d approvals", rule.Name, rule.ApprovalsCounted, rule.ApprovalsRequired))
		}
	}
	if len(lacking) == 0 {
		return "nothing is missing"
	}
	return strings.Join(lacking, "; ")
}

// Describe says how the request was decided, for whoever waits for it.
func Describe(request wire.Request) string {
	verdict := fmt.Sprintf("request %s for role %q is %s", request.ID, request.Role, request.State)
	switch approval.State(request.State) {
	case approval.StateDenied:
		for _, decision := range request.Decisions {
			if decision.Verdict == string(approval.Deny) && decision.Counts {
				verdict += fmt.Sprintf("; %s denied it: %q", decision.Approver.Name, decision.Comment)
			}
		}
	case approval.StateEnded, approval.StateActive:
		verdict += "; a request is granted once"
		if request.Grant != nil && request.Grant.EndReason != "" {
			verdict += fmt.Sprintf(", and this grant ended at %s (%s)", request.Grant.EndedAt, request.Grant.EndReason)
		}
	case approval.StateExpired:
		verdict += "; it waited too long for its quorum or its claim: " + describeMissing(request)
	case approval.StateCancelled:
		verdict += " by its requester"
	case approval.StatePending, approval.StateApproved, approval.StateClaiming:
		verdict += "; " + describeMissing(request)
	}
	return verdict
}
