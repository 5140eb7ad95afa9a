// Command bench-provider measures the Terraform provider: 500 policies and 500 roles in one configuration, applied,
// refreshed and destroyed by the real terraform against a one-node Raft Vault. Beside it stands what Vault itself takes
// for as many plain writes, reads and deletions of its own policies, ten at a time as terraform does it, and, if
// TERRAFORM_PROVIDER_VAULT names the binary of HashiCorp's provider, as many of its vault_policy.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"
)

func main() {
	log.SetFlags(0)
	each := flag.Int("n", 500, "how many policies, and as many roles")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *each); err != nil {
		stop()
		log.Fatal(err) //nolint:gocritic // stop was called
	}
}

// times are what one contender took for all of its objects.
type times struct {
	name                    string
	apply, refresh, destroy time.Duration
}

func run(ctx context.Context, each int) (err error) {
	s, err := newScene(ctx, each)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := s.close(); err == nil {
			err = closeErr
		}
	}()
	var results []times
	for _, contender := range s.contenders() {
		log.Printf("Measuring %s …", contender.name)
		took, err := contender.measure(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", contender.name, err)
		}
		took.name = contender.name
		results = append(results, took)
	}
	show(results, 2*each)
	return nil
}

func show(results []times, objects int) {
	fmt.Printf("%-50s%9s%20s%10s\n", fmt.Sprintf("%d objects", objects), "apply", "refresh-only plan", "destroy")
	for _, r := range results {
		fmt.Printf("%-50s%7.1f s%18.1f s%8.1f s\n", r.name, r.apply.Seconds(), r.refresh.Seconds(), r.destroy.Seconds())
	}
}
