package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"
)

// freeAddress finds a loopback address that nobody listens on. Its port stays below the range of outgoing connections,
// so that a restarted server finds it free.
func freeAddress() (string, error) {
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000)) //nolint:gosec // any port will do
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no free loopback port found: %w", err)
}

// startAtFreeAddress tries again if another process took the free address before the server did.
func startAtFreeAddress(start func() error) error {
	var err error
	for range 3 {
		if err = start(); err == nil || !strings.Contains(err.Error(), "in use") {
			return err
		}
	}
	return err
}

// startFront starts the load balancer before a cluster. It passes each call on to a running node.
func (c *Cluster) startFront() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for the cluster's address: %w", err)
	}
	quiet := log.New(io.Discard, "", 0) // either side may hang up at any time
	proxy := &httputil.ReverseProxy{
		Rewrite: func(call *httputil.ProxyRequest) { call.Out.URL.Scheme, call.Out.URL.Host = "http", "cluster" },
		// Go repeats a call at a connection that it used before and that has gone meanwhile.
		Transport: &http.Transport{DialContext: c.dialNode, DisableKeepAlives: true},
		// The caller loses its connection, as it does when it talks to a node that goes away.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     quiet,
	}
	c.front = &http.Server{Addr: listener.Addr().String(), Handler: proxy, ReadHeaderTimeout: time.Minute, ErrorLog: quiet}
	go c.front.Serve(listener) //nolint:errcheck // it ends when it is closed
	return nil
}

// dialNode connects to a running node, whatever the address is. It prefers the first one.
func (c *Cluster) dialNode(ctx context.Context, network, _ string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	err := errors.New("no node is up")
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		var node net.Conn
		if node, err = dialer.DialContext(ctx, network, n.host); err == nil {
			return node, nil
		}
	}
	return nil, err
}
