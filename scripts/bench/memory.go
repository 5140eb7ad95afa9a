package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// memory makes many requests and reads how much memory the plugin then takes.
func (s *setting) memory(ctx context.Context) error {
	progress("%d requests, all of them open", s.volume)
	var many timing
	if err := many.load(ctx, s.clients, 0, s.volume, func(ctx context.Context, n int) error {
		if n > 0 && n%(s.volume/10) == 0 {
			progress("%d requests", n)
		}
		_, err := s.ask(ctx, s.requesters[n%len(s.requesters)])
		return err
	}); err != nil {
		return fmt.Errorf("many requests: %w", err)
	}
	pids, err := s.Nodes[0].PluginPIDs()
	if err != nil {
		return err
	}
	fmt.Printf("\nMemory of the plugin after %d more requests, all of them open:\n\n", s.volume)
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return fmt.Errorf("reading the plugin's memory: %w", err)
		}
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
				fmt.Print("  ", line)
			}
		}
	}
	return nil
}
