package main

import (
	"context"
	"fmt"
)

// cycle measures the whole way of a credential, approved, beside the same credential without approval.
func (s *setting) cycle(ctx context.Context) error {
	fmt.Printf("\nWhole cycles of a leased SSH one-time password, %d of each, %d people, %d at once:\n\n", s.cycles, len(s.requesters), s.clients)
	progress("cycles")
	issue := func(ctx context.Context, n int) error {
		who := s.requesters[n%len(s.requesters)]
		answer, err := who.Write(ctx, s.upstream.Path, map[string]any{"ip": "127.0.0.1"})
		if err != nil {
			return err
		}
		return s.revoke(ctx, who, answer.LeaseID)
	}
	approve := func(ctx context.Context, n int) error {
		who := s.requesters[n%len(s.requesters)]
		id, err := s.ask(ctx, who)
		if err != nil {
			return err
		}
		if err := s.approve(ctx, id); err != nil {
			return err
		}
		leaseID, err := s.claim(ctx, who, id)
		if err != nil {
			return err
		}
		return s.revoke(ctx, who, leaseID)
	}
	direct, approved, err := beside(ctx, s.clients, s.cycles, issue, approve)
	if err != nil {
		return fmt.Errorf("cycles: %w", err)
	}
	fmt.Printf("  direct     %6.0f cycles/s   p50 %s ms   p99 %s ms\n", direct.perSecond(), milliseconds(direct.percentile(50)), milliseconds(direct.percentile(99)))
	fmt.Printf("  approved   %6.0f cycles/s   p50 %s ms   p99 %s ms\n", approved.perSecond(), milliseconds(approved.percentile(50)), milliseconds(approved.percentile(99)))
	fmt.Printf("  ratio      %6.2f of direct\n", approved.perSecond()/direct.perSecond())
	return nil
}
