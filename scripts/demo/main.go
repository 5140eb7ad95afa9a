// Command demo shows the engine at work on a real Vault and a real PostgreSQL, both started for it and gone
// when it ends: alice asks for access to a database, bob and carol approve, alice logs in, access ends.
//
//	go run ./scripts/demo          tells the story and ends
//	go run ./scripts/demo -stay    sets the scene, and leaves the story to you
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stay := flag.Bool("stay", false, "set everything up, say what to type, and stay until Ctrl-C")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo takes no arguments, but was given %q\n", flag.Args())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, *stay); err != nil {
		if ctx.Err() != nil {
			fmt.Println("\nInterrupted; everything has been ended and removed.")
			os.Exit(130) //nolint:gocritic // stop has nothing left to do
		}
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stay bool) (err error) {
	screen := newScreen(os.Stdout)
	s, err := setUp(ctx, screen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if stay {
		s.invite()
		<-ctx.Done()
		fmt.Println()
		return nil
	}
	return s.tell(ctx)
}
