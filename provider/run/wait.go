package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/client"
	"github.com/vault-jit/vault-jit/plugin/refusal"
	"github.com/vault-jit/vault-jit/plugin/wire"
)

// claimTimeout bounds the claim, which is seen through whatever happens, because it makes a credential.
const claimTimeout = 60 * time.Second

// An Order is what an ephemeral resource wants of a request.
type Order struct {
	ID string
	// Patience is how long to wait for the quorum.
	Patience time.Duration
	// Token is what waits and claims.
	Token Token
	// Cancels is whether the request is cancelled if nothing comes of the wait: this run made it.
	Cancels bool
	// Again says how to ask again; Later what to do about a request that is left as it is.
	Again, Later string
}

// A Token ends, and with it whatever it claimed.
type Token interface {
	// Last has the token live for the whole wait, or says that it cannot.
	Last(ctx context.Context, wait time.Duration) error
	// Outlast has the token live as long as a grant that is claimed within the given time, or warns.
	Outlast(ctx context.Context, window, within time.Duration) (warning string)
}

// await waits until the request can be claimed, and claims it.
func (h *hold) await(ctx context.Context, order Order) (client.Credential, error) {
	limited, cancel := context.WithTimeout(ctx, order.Patience)
	defer cancel()
	w := watch{order: order, stop: cancel}
	for {
		request, err := h.jit.Wait(limited, order.ID, func(seen wire.Request, err error) { w.look(ctx, seen, err) })
		switch {
		case w.short != nil:
			return client.Credential{}, fmt.Errorf("%s: %w", Describe(request), w.short)
		case err != nil && limited.Err() != nil:
			return client.Credential{}, explainInterruption(ctx, order, request)
		case err != nil:
			return client.Credential{}, err
		case !request.Claimable:
			return client.Credential{}, h.explainLateness(request, order)
		}
		credential, err := h.claim(ctx, order, request.TTL.Duration())
		var unavailable *client.UnavailableError
		switch {
		case errors.As(err, &unavailable): // the next look tells what became of it
			tflog.Warn(ctx, "the answer to the claim is lost", map[string]any{"request_id": order.ID, "error": err.Error()})
		case refusal.Of(err) == nil:
			return credential, err
		case w.refused:
			return credential, fmt.Errorf("request %s for role %q is approved, but its claim is refused: %w", order.ID, request.Role, err)
		default:
			// Somebody had second thoughts between the look and the claim, and the next look tells; or else it is the role.
			w.refused = true
			tflog.Info(ctx, "the claim was refused", map[string]any{"request_id": order.ID, "why": err.Error()})
		}
		if pauseFor(limited, firstPause) != nil {
			return client.Credential{}, explainInterruption(ctx, order, request)
		}
	}
}

// A watch is what is noticed while a request waits for people.
type watch struct {
	order Order
	stop  context.CancelFunc
	// told is what the log says is missing.
	told string
	// refused is whether a claim was, since the request was approved.
	refused bool
	// waited is whether there was anything to wait for; short says that the token does not live that long.
	waited bool
	short  error
}

func (w *watch) look(ctx context.Context, request wire.Request, err error) {
	switch {
	case err != nil: // a step-down or a restart; people take longer
		tflog.Warn(ctx, "cannot see the request now", map[string]any{"request_id": w.order.ID, "error": err.Error()})
		return
	case request.Claimable || !Waits(request):
		return
	}
	w.refused = false
	if !w.waited {
		w.waited = true
		if w.short = w.order.Token.Last(ctx, w.order.Patience); w.short != nil {
			w.stop()
			return
		}
	}
	if missing := describeMissing(request); missing != w.told {
		tflog.Info(ctx, "waiting for approval", map[string]any{"request_id": request.ID, "role": request.Role, "state": request.State, "missing": missing})
		w.told = missing
	}
}

// explainLateness says why a request that is granted, or over, gives no credential.
func (h *hold) explainLateness(request wire.Request, order Order) error {
	if request.IsActive() && h.claimed.Load() {
		return fmt.Errorf("the answer to the claim of request %s is lost, and the credential with it; its grant is ended. %s", request.ID, order.Again)
	}
	return fmt.Errorf("%s. %s", Describe(request), order.Again)
}

// explainInterruption says why the wait is over although nothing was decided.
func explainInterruption(ctx context.Context, order Order, last wire.Request) error {
	why := fmt.Sprintf("no quorum within timeouts.open (%s)", order.Patience)
	switch {
	case ctx.Err() != nil:
		why = "Terraform was interrupted"
	case last.State != string(approval.StatePending):
		why = fmt.Sprintf("it could not be claimed within timeouts.open (%s)", order.Patience)
	}
	if last.ID == "" {
		return errors.New(why + ", and the request could not be read")
	}
	if why += ": " + Describe(last); !order.Cancels {
		why += ". " + order.Later
	}
	return errors.New(why)
}

// claim is seen through even if Terraform is interrupted meanwhile: whether a credential was made has to be known, so
// that it can be ended.
func (h *hold) claim(ctx context.Context, order Order, window time.Duration) (client.Credential, error) {
	firm, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	early := order.Token.Outlast(firm, window, claimTimeout)
	before := h.claimed.Swap(true)
	credential, err := h.jit.Claim(firm, order.ID)
	var denied *client.DeniedError
	switch {
	case refusal.Of(err) != nil, errors.As(err, &denied):
		h.claimed.Store(before) // if an earlier answer was lost, that claim may have made a grant
		return client.Credential{}, err
	case err != nil:
		return client.Credential{}, err
	case ctx.Err() != nil:
		return client.Credential{}, errors.New("Terraform was interrupted while the request was claimed")
	}
	if early != "" {
		credential.Warnings = append(credential.Warnings, early)
	}
	return credential, nil
}
