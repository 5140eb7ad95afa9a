package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// freePort finds a loopback port that nobody listens on. It stays below the range of outgoing connections, so that a
// restarted server finds its port free.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 12000 + rand.IntN(20000) //nolint:gosec // any port will do
		var l net.Listener
		if l, err = net.Listen("tcp", loopbackAddress(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free loopback port found: %w", err)
}

func loopbackAddress(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// A forwarder is the load balancer before a cluster. It forwards each connection to a running node.
type forwarder struct {
	listener net.Listener
	targets  func() []string // in order of preference
	mu       sync.Mutex
	open     map[net.Conn]struct{} // nil once closed
}

func newForwarder(targets func() []string) (*forwarder, error) {
	l, err := net.Listen("tcp", loopbackAddress(0))
	if err != nil {
		return nil, fmt.Errorf("listening for the cluster's address: %w", err)
	}
	f := &forwarder{listener: l, targets: targets, open: map[net.Conn]struct{}{}}
	go f.serve()
	return f, nil
}

func (f *forwarder) addr() string { return f.listener.Addr().String() }

func (f *forwarder) serve() {
	for {
		in, err := f.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, for instance
			continue
		}
		go f.forward(in)
	}
}

func (f *forwarder) forward(in net.Conn) {
	defer f.drop(in)
	if !f.keep(in) {
		return
	}
	out, err := f.dial()
	if err != nil {
		return
	}
	defer f.drop(out)
	if !f.keep(out) {
		return
	}
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		io.Copy(to, from) //nolint:errcheck // either side may hang up at any time
		ended <- struct{}{}
	}
	go pass(out, in)
	go pass(in, out)
	<-ended
}

func (f *forwarder) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := errors.New("no node is up")
	for _, target := range f.targets() {
		var out net.Conn
		if out, err = new(net.Dialer).DialContext(ctx, "tcp", target); err == nil {
			return out, nil
		}
	}
	return nil, err
}

func (f *forwarder) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		return false
	}
	f.open[c] = struct{}{}
	return true
}

func (f *forwarder) drop(c net.Conn) {
	c.Close() //nolint:errcheck
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
}

func (f *forwarder) close() {
	f.listener.Close() //nolint:errcheck
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		c.Close() //nolint:errcheck
	}
	f.open = nil
}
