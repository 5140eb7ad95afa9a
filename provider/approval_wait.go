package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-log/tflog"
	"github.com/hashicorp/vault/api"

	"github.com/vault-jit/vault-jit/plugin/approval"
)

// Between two looks at a request that waits for people.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 10 * time.Second
)

// await waits until the request can be claimed, and claims it. An error says how it was decided, or what is missing. A
// request that this run did not make is claimed if it is approved, but not waited for: whoever plans, refreshes or
// destroys what an earlier run left comes by here as well.
func (e *engine) await(ctx context.Context, h *hold, patience time.Duration) (*api.Secret, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause, told := firstPause, ""
	var last requestAnswer
	var refused error
	for {
		a, err := e.request(limited, h.id)
		var passing *passingError
		switch {
		case err == nil:
			last = a
		case errors.As(err, &passing): // a step-down or a restart; people take longer
			tflog.Warn(ctx, "cannot see the request now; trying again", map[string]any{"request_id": h.id, "error": err.Error()})
		case limited.Err() == nil:
			return nil, err
		}
		switch {
		case err != nil:
		case a.over() || a.State == approval.StateActive:
			return nil, h.tooLate(a)
		case a.Claimable:
			credential, err := e.claim(ctx, h, time.Duration(a.TTL)*time.Second)
			var refusal *refusalError
			switch {
			case errors.As(err, &passing): // the next look tells what became of it
				tflog.Warn(ctx, "the answer to the claim is lost", map[string]any{"request_id": h.id, "error": err.Error()})
			case !errors.As(err, &refusal):
				return credential, err
			case refused != nil:
				return nil, fmt.Errorf("request %s for role %q is approved, but its claim is refused: %w", a.ID, a.Role, err)
			default:
				// Somebody had second thoughts between the look and the claim, and the next look tells; or else it is the role.
				refused = err
				tflog.Info(ctx, "the claim was refused", map[string]any{"request_id": a.ID, "why": refusal.message})
			}
		case !e.made(h.id):
			return nil, fmt.Errorf("%s. %s and is not waited for. Run again once it is approved, give the vaultjit_request new keepers to ask again, or "+
				"cancel it with `vault write %s/cancel id=%s`", a.verdict(), notOurs, e.mount, a.ID)
		default:
			refused = nil
			if missing := a.missing(); missing != told {
				tflog.Info(ctx, "waiting for approval", map[string]any{"request_id": a.ID, "role": a.Role, "state": string(a.State), "missing": missing})
				told = missing
			}
		}
		select {
		case <-limited.Done():
			return nil, e.interrupted(ctx, patience, last)
		case <-time.After(pause):
			pause = min(pause*3/2, longestPause)
		}
	}
}

// notOurs begins what is said of a request that is left as it is.
const notOurs = "It was not made by this run, so it is left as it is"

// tooLate says why a request that is granted, or over, gives no credential.
func (h *hold) tooLate(a requestAnswer) error {
	if a.State == approval.StateActive && h.claimed.Load() {
		return fmt.Errorf("the answer to the claim of request %s is lost, and the credential with it; its grant is ended. To ask again, give the "+
			"vaultjit_request new keepers", a.ID)
	}
	return fmt.Errorf("%s. To ask again, give the vaultjit_request new keepers", a.verdict())
}

// overBefore is the verdict on a request that an earlier run made and that is over; "" if there may be a credential.
func (e *engine) overBefore(ctx context.Context, id string) string {
	if e.made(id) {
		return ""
	}
	a, err := e.request(ctx, id)
	if err != nil || !a.over() {
		return ""
	}
	return a.verdict() + ". To ask again, give the vaultjit_request new keepers."
}

// endedBefore is the verdict on a request whose grant has ended already; "" if it lives, or if that cannot be told now.
func (e *engine) endedBefore(ctx context.Context, id string) string {
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), aftermath)
	defer cancel()
	if a, err := e.request(firm, id); err == nil && a.over() {
		return a.verdict()
	}
	return ""
}

// interrupted says why the wait is over although nothing was decided.
func (e *engine) interrupted(ctx context.Context, patience time.Duration, last requestAnswer) error {
	why := fmt.Sprintf("no quorum within timeouts.open (%s)", patience)
	switch {
	case ctx.Err() != nil:
		why = "Terraform was interrupted"
	case last.State != approval.StatePending:
		why = fmt.Sprintf("it could not be claimed within timeouts.open (%s)", patience)
	}
	if last.ID == "" {
		return errors.New(why + ", and the request could not be read")
	}
	if why += ": " + last.verdict(); !e.made(last.ID) {
		why += ". " + notOurs
	}
	return errors.New(why)
}

// claim is seen through even if Terraform is interrupted meanwhile: whether a credential was made has to be known, so
// that it can be ended.
func (e *engine) claim(ctx context.Context, h *hold, window time.Duration) (*api.Secret, error) {
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	early := e.outlast(firm, window)
	before := h.claimed.Swap(true)
	credential, err := e.write(firm, joinPath("claim", h.id), nil)
	var refused *refusalError
	var denied *deniedError
	switch {
	case errors.As(err, &refused), errors.As(err, &denied):
		h.claimed.Store(before) // if an earlier answer was lost, that claim may have made a grant
		return nil, err
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, errors.New("Terraform was interrupted while the request was claimed")
	case credential == nil:
		return nil, errors.New("the claim gave nothing")
	}
	if early != "" {
		credential.Warnings = append(credential.Warnings, early)
	}
	return credential, nil
}

// giveUp leaves no request open and, if it is to end grants too, no grant alive, although Terraform may have lost
// patience. It returns what could not be ended, in sentences.
func (e *engine) giveUp(ctx context.Context, id string, grants bool) []string {
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), aftermath)
	defer cancel()
	pause := firstPause
	for {
		warnings, err := e.settle(firm, id, grants)
		var passing *passingError
		if !errors.As(err, &passing) {
			if gone(err) != nil {
				warnings = append(warnings, fmt.Sprintf("request %s: %v", id, err))
			}
			return warnings
		}
		select {
		case <-firm.Done():
			return []string{fmt.Sprintf("request %s could not be ended: %v; a grant ends with its window", id, err)}
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// renew extends the lease within its window.
func (e *engine) renew(ctx context.Context, held lease) error {
	_, err := e.writeTo(ctx, "sys/leases/renew", map[string]any{
		"lease_id": held.LeaseID, "increment": int(time.Until(held.ExpiresAt).Seconds()),
	})
	var refused *refusalError
	if !errors.As(err, &refused) {
		return err
	}
	a, readErr := e.request(ctx, held.RequestID)
	if readErr != nil {
		return readErr
	}
	if a.State == approval.StateActive {
		return nil // a lease that cannot be renewed further still has its window
	}
	return errors.New(a.verdict())
}
