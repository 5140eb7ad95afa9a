package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/vault-jit/vault-jit/plugin/approval"
	"github.com/vault-jit/vault-jit/plugin/grant"
	"github.com/vault-jit/vault-jit/plugin/issuer"
	"github.com/vault-jit/vault-jit/plugin/people"
	"github.com/vault-jit/vault-jit/plugin/refusal"
)

// Claim grants the request to its requester, or leaves nothing. world gathers what the claim depends on.
//
// It writes twice: that the claim began, with the grant token, before anything is made with that token; and what it
// granted. Whatever an interrupted claim made is found by the first, or ends with its window.
func (l *Ledger) Claim(ctx context.Context, s logical.Storage, id string, who people.Caller,
	world func(approval.Request) (approval.World, error),
) (approval.Request, issuer.Made, error) {
	v := l.look(id)
	defer v.leave()
	c := &claim{Ledger: l, view: v, storage: s, gather: world, caller: ctx}
	if err := c.check(ctx, who); err != nil {
		return v.request, issuer.Made{}, err
	}
	land, err := l.flights.begin(id, l.now())
	if err != nil {
		return v.request, issuer.Made{}, err
	}
	defer land()
	if v.isStale() { // somebody may have claimed it meanwhile
		if err := c.check(ctx, who); err != nil {
			return v.request, issuer.Made{}, err
		}
	}
	vault, err := l.issuer(ctx, s)
	if err != nil {
		return v.request, issuer.Made{}, err
	}
	defer vault.Session().Use()()
	made, err := c.run(vault) //nolint:contextcheck // it outlasts its caller for a moment
	return v.request, made, err
}

// claim is one attempt to turn a request into a grant.
type claim struct {
	*Ledger
	*view
	storage logical.Storage
	claimer approval.Standing
	world   approval.World
	gather  func(approval.Request) (approval.World, error)
	caller  context.Context //nolint:containedctx // asked only whether the caller is still there
	// unrecorded is why a step could not be recorded, or may not be taken any more.
	unrecorded error
}

// check refuses somebody who cannot claim the request as it is now.
func (c *claim) check(ctx context.Context, who people.Caller) (err error) {
	c.seenAt = c.changes.Load()
	if c.claimer, err = c.see(ctx, c.storage, c.view, who); err != nil {
		return err
	}
	if c.world, err = c.gather(c.request); err != nil {
		return err
	}
	return approval.MayClaim(c.request, c.claimer, approval.Judge(c.request, c.world, c.now()))
}

func (c *claim) run(vault *issuer.Issuer) (issuer.Made, error) {
	ctx, done, err := c.life.begin(c.caller, makingTime)
	if err != nil {
		return issuer.Made{}, err
	}
	defer done()
	if err := c.clear(ctx); err != nil {
		return issuer.Made{}, err
	}
	ask := c.request.Ask
	made, err := vault.Make(ctx, issuer.Order{
		RequestID: ask.ID, Role: ask.Role, RequesterName: ask.Requester.Name, RequesterEntityID: ask.Requester.EntityID,
		Grant: ask.Grant, Window: ask.TTL,
	}, func(token grant.Token, began time.Time) error { return c.begin(ctx, token, began) })
	if err == nil {
		if err = c.finish(ctx, made); err == nil {
			return made, nil
		}
	}
	return issuer.Made{}, c.giveUp(made, err)
}

// clear ends what an earlier claim left behind.
func (c *claim) clear(ctx context.Context) error {
	if !c.request.Holding() {
		return nil
	}
	var abort approval.AbortClaim
	if c.request.Claim != nil {
		abort.Token = c.request.Claim.Token
	}
	err := c.end(ctx, c.storage, c.view, abort, c.request.Handles())
	if err == nil && c.request.Holding() {
		err = errors.New(c.request.Problem())
	}
	if err != nil {
		return fmt.Errorf("an earlier claim left something behind that must go first: %w", err)
	}
	return nil
}

// begin records the token of the claim. From here on something may be made with it: if that cannot be undone, the record
// and the world are looked at once more.
func (c *claim) begin(ctx context.Context, token grant.Token, began time.Time) error {
	if c.request.Ask.Grant.CannotBeUndone() {
		c.forget()
	}
	return c.step(ctx, began, func() approval.Command {
		return approval.BeginClaim{Claimer: c.claimer, World: c.world, Token: token}
	})
}

// finish records the grant, unless nobody is there to take it. It looks at the record and the world once more, whoever
// changed them meanwhile.
func (c *claim) finish(ctx context.Context, made issuer.Made) error {
	if c.caller.Err() != nil {
		c.unrecorded = context.Cause(c.caller) //nolint:contextcheck // why the caller went
		return c.unrecorded
	}
	c.forget()
	return c.step(ctx, made.Answered, func() approval.Command {
		return approval.GiveGrant{World: c.world, Handles: made.Handles, Until: made.Until}
	})
}

// step records one step of the claim. If the record was loaded again, it is judged by the world as it is now.
func (c *claim) step(ctx context.Context, now time.Time, command func() approval.Command) error {
	err := c.update(ctx, c.storage, c.view, func(r approval.Request, grown bool) (_ approval.Request, err error) {
		if grown {
			if c.world, err = c.gather(r); err != nil {
				return r, err
			}
		}
		events, err := approval.Do(r, command(), now)
		if err != nil {
			return r, err
		}
		return r.With(events...)
	})
	if err != nil {
		c.unrecorded = err
	}
	return err
}

// giveUp ends whatever the claim made, and says why nothing was given.
func (c *claim) giveUp(made issuer.Made, cause error) error {
	// It goes on while the life ends, which waits for run. Nobody else ends anything of a request that is being claimed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.caller), handlerTime-makingTime)
	defer cancel()
	token, _ := made.Handles.Find(grant.Token{}.Key()).(grant.Token)
	if err := c.endNow(ctx, c.storage, c.view, approval.AbortClaim{Token: token, NothingSent: !made.Sent}, made.Handles, false); err != nil {
		return errors.Join(cause, fmt.Errorf("taking back what the claim made: %w", err))
	}
	if c.request.Holding() {
		return errors.Join(cause, errors.New("what was made for the claim could not be revoked yet; the engine tries again"))
	}
	if c.unrecorded != nil {
		return cause
	}
	if made.Sent && c.request.Ask.Grant.CannotBeUndone() {
		return refusal.Newf("", "the claim failed and nothing was given out; it may have made what cannot be taken back, so ask again: %v", cause)
	}
	return refusal.Newf("", "the claim failed and nothing was given out; the request can be claimed again: %v", cause)
}
