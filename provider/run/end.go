package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

const (
	// endTries bounds how often End looks again because somebody else moved the request on meanwhile.
	endTries = 5
	// Aftermath bounds what is done after Terraform has lost interest: ending what must not be left.
	Aftermath = 30 * time.Second
	// firstPause is that between two attempts.
	firstPause = 500 * time.Millisecond
)

// End leaves the request not open and, if it is to end grants too, no grant of it alive, whatever state it is in.
// Warnings say what of it the engine could not confirm.
func End(ctx context.Context, jit *client.Client, id string, grants bool) (warnings []string, err error) {
	for range endTries {
		request, readErr := jit.Request(ctx, id)
		switch {
		case readErr != nil:
			return nil, readErr
		case request.IsOver(), request.IsActive() && !grants:
			return nil, nil
		case request.IsActive():
			_, warnings, err = jit.Revoke(ctx, id)
		default:
			_, err = jit.Cancel(ctx, id)
		}
		if err == nil || refusal.Of(err) == nil {
			return warnings, err
		}
	}
	return nil, err
}

// endFirmly ends the request, and its grant if it is to end grants too, although Terraform may have lost patience. It
// returns what could not be ended, in sentences.
func endFirmly(ctx context.Context, jit *client.Client, id string, grants bool) []string {
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), Aftermath)
	defer cancel()
	for pause := firstPause; ; pause *= 2 {
		warnings, err := End(firm, jit, id, grants)
		var unavailable *client.UnavailableError
		if !errors.As(err, &unavailable) {
			if err != nil && !errors.Is(err, client.ErrAbsent) && !errors.Is(err, client.ErrNoMount) {
				warnings = append(warnings, fmt.Sprintf("request %s: %v", id, err))
			}
			return warnings
		}
		if pauseFor(firm, pause) != nil {
			return []string{fmt.Sprintf("request %s could not be ended: %v; a grant ends with its window", id, err)}
		}
	}
}

// pauseFor waits for so long, or until the context ends.
func pauseFor(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}
