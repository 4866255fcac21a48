package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/client"
)

// relay passes bytes between clients and a server. What it has when it is
// silenced stays open, and nothing more comes through; new connections do.
type relay struct {
	l       net.Listener
	to      string
	mu      sync.Mutex
	silent  chan struct{} // of the connections there are: closed when they are silenced
	arrived int
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, to: to, silent: make(chan struct{})}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { in.Close() })
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			t.Cleanup(func() { out.Close() })
			r.mu.Lock()
			r.arrived++
			silent := r.silent
			r.mu.Unlock()
			go pass(in, out, silent)
			go pass(out, in, silent)
		}
	}()
	return r
}

// pass copies until it is silenced; then it reads on and drops what it reads.
func pass(to io.WriteCloser, from io.Reader, silent <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-silent:
			if err != nil {
				return // and whoever is on the other side never hears of it
			}
			continue
		default:
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

func (r *relay) silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.silent)
	r.silent = make(chan struct{})
}

// TestSilentConnection: over TLS all calls of a worker share a connection. If it
// dies without a word, a call fails soon, and the next one takes another.
func TestSilentConnection(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("it speaks %s", r.Proto)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[]")
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	between := newRelay(t, srv.Listener.Addr().String())
	carry := workTransport(100 * time.Millisecond)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	carry.TLSClientConfig = &tls.Config{RootCAs: pool}
	carry.ResponseHeaderTimeout = 0 // which would end it, too, much later
	defer carry.CloseIdleConnections()
	w, err := client.NewWork([]string{"https://" + between.l.Addr().String()}, client.Config{HTTP: &http.Client{Transport: carry}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Orders(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
	}
	between.silence()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := w.Orders(ctx, "w"); sluice.CodeOf(err) != sluice.CodeUnavailable || ctx.Err() != nil {
		t.Fatalf("on a dead connection: %v", err)
	}
	if _, err := w.Orders(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	between.mu.Lock()
	defer between.mu.Unlock()
	if between.arrived != 2 {
		t.Errorf("%d connections", between.arrived)
	}
}
