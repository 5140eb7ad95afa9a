package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

// await waits until the request can be claimed, and claims it. An error says how it was decided, or what is missing.
func (e *engine) await(ctx context.Context, id string, patience time.Duration) (*api.Secret, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause, told := firstPause, ""
	var last requestAnswer
	for {
		a, err := e.request(limited, id)
		var passing *passingError
		switch {
		case err == nil:
			last = a
		case errors.As(err, &passing): // a step-down or a restart; people take longer
			tflog.Warn(ctx, "cannot see the request now; trying again", map[string]any{"request_id": id, "error": err.Error()})
		case limited.Err() == nil:
			return nil, err
		}
		if err == nil {
			credential, over, err := e.advance(ctx, a)
			if over {
				return credential, err
			}
			if missing := a.missing(); missing != told {
				tflog.Info(ctx, "waiting for approval", map[string]any{"request_id": id, "role": a.Role, "state": string(a.State), "missing": missing})
				told = missing
			}
		}
		select {
		case <-limited.Done():
			return nil, interrupted(ctx, patience, last)
		case <-time.After(pause):
			pause = min(pause*3/2, longestPause)
		}
	}
}

// overBefore is the verdict on a request that an earlier run made and that is over; "" if there may be a credential.
func (e *engine) overBefore(ctx context.Context, id string) string {
	if _, now := e.made.Load(id); now {
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
func interrupted(ctx context.Context, patience time.Duration, last requestAnswer) error {
	why := fmt.Sprintf("no quorum within timeouts.open (%s)", patience)
	if ctx.Err() != nil {
		why = "Terraform was interrupted"
	}
	if last.ID == "" {
		return errors.New(why + ", and the request could not be read")
	}
	return fmt.Errorf("%s: %s", why, last.verdict())
}

// advance takes the request further if it can be. Over means that there is nothing to wait for any more.
func (e *engine) advance(ctx context.Context, a requestAnswer) (credential *api.Secret, over bool, err error) {
	if a.over() || a.State == approval.Active {
		return nil, true, fmt.Errorf("%s. To ask again, give the vaultjit_request new keepers", a.verdict())
	}
	if !a.Claimable {
		return nil, false, nil
	}
	credential, err = e.claim(ctx, a.ID)
	var refused *refusalError
	if errors.As(err, &refused) {
		// Somebody had second thoughts between the look and the claim: the next look tells.
		tflog.Info(ctx, "the claim was refused", map[string]any{"request_id": a.ID, "why": refused.message})
		return nil, false, nil
	}
	return credential, true, err
}

// claim is seen through even if Terraform is interrupted meanwhile: whether a credential was made has to be known, so
// that it can be ended.
func (e *engine) claim(ctx context.Context, id string) (*api.Secret, error) {
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	credential, err := e.write(firm, below("claim", id), nil)
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, errors.New("Terraform was interrupted while the request was claimed")
	case credential == nil:
		return nil, errors.New("the claim gave nothing")
	}
	return credential, nil
}

// giveUp leaves neither a request open nor a grant alive, although Terraform may have lost patience. It returns what
// could not be ended, in sentences.
func (e *engine) giveUp(ctx context.Context, id string) []string {
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), aftermath)
	defer cancel()
	pause := firstPause
	for {
		warnings, err := e.settle(firm, id)
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
	if err := e.ready(ctx); err != nil {
		return err
	}
	_, err := e.writing.Logical().WriteWithContext(ctx, "sys/leases/renew", map[string]any{
		"lease_id": held.LeaseID, "increment": int(time.Until(held.ExpiresAt).Seconds()),
	})
	if err == nil {
		return nil
	}
	var answer *api.ResponseError
	if errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest {
		a, readErr := e.request(ctx, held.RequestID)
		if readErr != nil {
			return readErr
		}
		if a.State == approval.Active {
			return nil // a lease that cannot be renewed further still has its window
		}
		return errors.New(a.verdict())
	}
	return explain(e.writing, "sys/leases/renew", err)
}
