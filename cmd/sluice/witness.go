package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"sluice"
	"sluice/internal/history"
)

type witnessCmd struct {
	Addr string `help:"Address to listen on; port 0 takes a free one." default:"127.0.0.1:0"`
	Out  string `help:"File to make for what it sees." required:"" placeholder:"FILE"`
}

// Run notes when jobs come and go until it is interrupted.
func (w *witnessCmd) Run(ctx context.Context, a *app) (err error) {
	l, err := listen(ctx, w.Addr)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := os.OpenFile(w.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return &sluice.Error{Code: sluice.CodeConflict, Field: "--out", Err: err, Message: "there is such a file already, and what a witness saw is never overwritten; name another"}
	case err != nil:
		return &sluice.Error{Code: sluice.CodeInvalid, Field: "--out", Err: err, Message: "cannot be written: " + plainCause(err)}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := w.greet(a, l.Addr()); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	return history.Serve(l, f)
}

// greet says what a job has to do.
func (w *witnessCmd) greet(a *app, addr net.Addr) error {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return fmt.Errorf("read the address: %w", err)
	}
	fmt.Fprintf(a.out, "The witness listens at %s and writes %s. A job that begins with\n\n", addr, w.Out)
	fmt.Fprintf(a.out, "  exec 9<>/dev/tcp/%s/%s\n", host, port)
	fmt.Fprintf(a.out, "  echo \"$WM_JOB_ID $SLUICE_ATTEMPT KEY\" >&9; read -r _ <&9\n\n")
	fmt.Fprintf(a.out, "is seen as long as any process of it runs; KEY is the key of its limit, such as\n$WM_WORKSPACE/script/$WM_JOB_PATH. Then stop the server and run\n\n")
	fmt.Fprintf(a.out, "  %s check-history --witness %s\n\nCtrl-C stops it.\n\n", a.self, shellWord(w.Out))
	return nil
}
