package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"sluice"
	"sluice/internal/demoapi"
)

type demoAPICmd struct {
	Limit  int           `help:"Calls let through in any window." default:"10"`
	Window time.Duration `help:"Length of the window." default:"1s"`
	Addr   string        `help:"Address to listen on; port 0 takes a free one." default:"127.0.0.1:8810"`
}

// Run serves until it is interrupted.
func (d *demoAPICmd) Run(ctx context.Context, a *app) error {
	handler, err := demoapi.New(d.Limit, d.Window)
	if err != nil {
		return err
	}
	l, err := listen(ctx, d.Addr)
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	fmt.Fprintf(a.out, "The demo API lets %d calls through in any %s and answers 429 to the others.\n\n", d.Limit, spell(d.Window))
	writeFacts(a.out, 0, "  ", []fact{
		{"call it", "curl " + url + "/"},
		{"counters", "curl " + url + "/stats"},
		{"forget all", "curl -X POST " + url + "/reset"},
	})
	fmt.Fprintln(a.out)
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return serve(ctx, srv, l, time.Second)
}

// listen opens a listener, with an error that says what to do.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &sluice.Error{
			Code: sluice.CodeInvalid, Field: "--addr", Err: err,
			Message: fmt.Sprintf("cannot listen there (%s); give another, such as 127.0.0.1:0 for any free port", rootCause(err)),
		}
	}
	return l, nil
}

func rootCause(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error()
}

// serve answers requests until ctx ends, then lets those under way finish for
// at most grace.
func serve(ctx context.Context, srv *http.Server, l net.Listener, grace time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		srv.Close()
	}
	return nil
}
