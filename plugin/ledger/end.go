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
	"github.com/vault-jit/vault-jit/plugin/store"
)

// Revoke ends a grant for somebody who may. Who did it is recorded first, if that is possible; what is held is ended
// whatever that write said. The request says what is left.
func (l *Ledger) Revoke(ctx context.Context, s logical.Storage, id string, who people.Caller, build Build) (approval.Request, error) {
	v := l.look(id)
	defer v.leave()
	var command approval.Command
	err := l.change(ctx, s, v, who, func(r approval.Request, standing approval.Standing) (made approval.Command, err error) {
		made, err = build(r, standing)
		command = made
		return made, err
	})
	if err == nil {
		command = approval.LeaseEnded{} // why it ended is on record
	} else if command == nil || refusal.Of(err) != nil {
		return v.request, err
	}
	err = l.end(ctx, s, v, command, v.request.Handles())
	if err == nil && v.request.End == nil {
		err = fmt.Errorf("the end of request %s could not be recorded: it is gone or cannot be read", id)
	}
	return v.request, err
}

// EndLease ends a grant because its lease is over in Vault. The handles that the lease itself carries are ended also when
// the record is gone or cannot be read. It returns nil only when all is gone and that is written.
func (l *Ledger) EndLease(ctx context.Context, s logical.Storage, id string, inHand grant.Handles) error {
	v := l.look(id)
	defer v.leave()
	err := l.end(ctx, s, v, approval.LeaseEnded{}, inHand)
	if err == nil && v.request.Holding() {
		err = fmt.Errorf("the grant of request %s has not ended: %s", id, v.request.Problem())
	}
	return err
}

// Settle does what the core says has to be done about an open request, and leaves one that is being claimed alone.
func (l *Ledger) Settle(ctx context.Context, s logical.Storage, id string) (approval.Request, error) {
	v := l.look(id)
	defer v.leave()
	r, err := l.requests.LoadOpen(ctx, s, id)
	if err != nil || r == nil {
		return approval.Request{}, err
	}
	v.request = *r
	err = l.end(ctx, s, v, nil, nil)
	return v.request, err
}

// end ends something as the only one, and goes on for a moment if the caller goes away; waiting for somebody else who
// ends the same ends with the caller.
func (l *Ledger) end(caller context.Context, s logical.Storage, v *view, because approval.Command, inHand grant.Handles) error {
	ending := l.settling.join(v.name)
	defer ending.leave()
	arrived := ending.changes.Load()
	if err := ending.acquire(caller); err != nil {
		return err
	}
	defer ending.release()
	defer ending.changes.Add(1)
	shared := ending.changes.Load() != arrived
	if because == nil && l.flights.has(v.name, l.now()) {
		return nil
	}
	ctx, done, err := l.life.begin(caller, handlerTime)
	if err != nil {
		return err
	}
	defer done()
	return l.endNow(ctx, s, v, because, inHand, shared)
}

// endNow is the only code that ends anything. It ends what the request holds and is over, and what the caller has in hand,
// and then records what is gone. because says why it is over, if the record may not say so yet; without it, only what is
// due for another try is tried. What somebody else just tried, while the caller waited, is shared.
func (l *Ledger) endNow(ctx context.Context, s logical.Storage, v *view, because approval.Command, inHand grant.Handles, shared bool) error {
	changed := v.isStale()
	known, err := l.refresh(ctx, s, v)
	if err != nil || !known {
		// What is in hand does not stay for the record's sake.
		return errors.Join(append(l.endAll(ctx, s, inHand).problemsOff(approval.Request{}), err)...)
	}
	isOver := v.request.End != nil && v.request.End.Confirmed()
	if isOver && (because != nil || changed) {
		// Whoever confirmed the end has filed the request, or the periodic work does.
		return errors.Join(l.endAll(ctx, s, v.request.Unknown(inHand)).problemsOff(v.request)...)
	}
	ending, err := l.over(v.request, because)
	if err != nil {
		return err
	}
	ends := l.endAll(ctx, s, choose(ending, because, inHand, shared, l.now()))
	if abort, ok := because.(approval.AbortClaim); ok {
		abort.Left = ends.failed()
		because = abort
	}
	// However long that took, what came of it is recorded.
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err = l.update(recording, s, v, func(r approval.Request, _ bool) (approval.Request, error) {
		over, err := l.over(r, because)
		if err != nil {
			return r, err
		}
		return l.noteEnds(over, ends)
	})
	return errors.Join(append(ends.problemsOff(v.request), err)...)
}

// refresh loads a request that was not loaded yet, or has changed since. It is false for one that is gone or cannot be
// understood, so that nothing of it can be recorded.
func (l *Ledger) refresh(ctx context.Context, s logical.Storage, v *view) (known bool, err error) {
	if !v.isStale() {
		return true, nil
	}
	known, err = l.reload(ctx, s, v)
	if errors.Is(err, store.ErrUnreadable) {
		l.logger.Error("a request of which something ends cannot be read", "id", v.name, "problem", err)
		return false, nil
	}
	return known, err
}

// over is the request with its end begun, for the given reason or because its window has passed.
func (l *Ledger) over(r approval.Request, because approval.Command) (approval.Request, error) {
	if because == nil {
		if r.Ending(l.now()) == nil {
			return r, nil
		}
		because = approval.LeaseEnded{}
	}
	return l.do(r, because)
}

// choose is what there is to end now: what the core says, and what is in hand and not on record. A claim that gave up ends
// only what it has in hand. Somebody who wants an end does not wait until the next try is due.
func choose(r approval.Request, because approval.Command, inHand grant.Handles, shared bool, now time.Time) grant.Handles {
	if _, gaveUp := because.(approval.AbortClaim); gaveUp {
		return inHand
	}
	tried := r.Attempts
	if because != nil {
		r.Attempts = nil
	}
	var handles grant.Handles
	for _, task := range approval.Next(r, now) {
		task, ok := task.(approval.EndHandle)
		if !ok {
			continue
		}
		if _, failed := tried[task.Handle.Key()]; !failed || !shared {
			handles = append(handles, task.Handle)
		}
	}
	return append(handles, r.Unknown(inHand)...)
}

// noteEnds records what is gone, and what stood in the way.
func (l *Ledger) noteEnds(r approval.Request, ends ends) (approval.Request, error) {
	for _, e := range ends {
		if !r.Knows(e.handle) {
			continue // in hand, and never recorded
		}
		if e.problem != nil {
			r = r.Failed(e.handle.Key(), e.problem.Error(), l.now())
			continue
		}
		next, err := l.do(r, approval.Gone{Handle: e.handle.Key()})
		if err != nil {
			return r, err
		}
		r = next
	}
	return r, nil
}

// ends are tries to end handles.
type ends []struct {
	handle  grant.Handle
	problem error
}

// failed are the handles that could not be ended.
func (es ends) failed() grant.Handles {
	var failed grant.Handles
	for _, e := range es {
		if e.problem != nil {
			failed = append(failed, e.handle)
		}
	}
	return failed
}

// problemsOff are those of handles that are not on record, where nothing else tells of them.
func (es ends) problemsOff(r approval.Request) []error {
	var problems []error
	for _, e := range es {
		if !r.Knows(e.handle) {
			problems = append(problems, e.problem)
		}
	}
	return problems
}

// endAll tries to end every handle, whatever the ones before it said, each with its own limit.
func (l *Ledger) endAll(ctx context.Context, s logical.Storage, handles grant.Handles) ends {
	if len(handles) == 0 {
		return nil
	}
	all := make(ends, len(handles))
	vault, err := l.issuer(ctx, s)
	if err == nil {
		defer vault.Session().Use()()
	}
	for i, handle := range handles {
		all[i].handle = handle
		if all[i].problem = err; err == nil {
			all[i].problem = endOne(ctx, vault, handle)
		}
	}
	return all
}

func endOne(ctx context.Context, vault *issuer.Issuer, handle grant.Handle) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return vault.End(ctx, handle)
}
