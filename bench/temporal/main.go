// Program temporal runs a workflow of activities that do nothing on Temporal's
// development server, and prints how long one takes.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const (
	queue = "bench"
	runs  = 4
)

func nothing(context.Context) error { return nil }

func steps(ctx workflow.Context, n int) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range n {
		if err := workflow.ExecuteActivity(ctx, nothing).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "temporal:", err)
		os.Exit(1)
	}
}

// run is called with the number of activities and the file for the server's
// database; the server's program, server, is beside this one.
func run() error {
	if len(os.Args) != 3 {
		return errors.New("usage: temporal ACTIVITIES DATABASE")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), "server"), "server", "start-dev", "--headless", "--ip", "127.0.0.1",
		"--port", strconv.Itoa(port), "--db-filename", os.Args[2], "--log-level", "error")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return err
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	quiet := sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))
	var c client.Client
	for {
		if c, err = client.DialContext(ctx, client.Options{HostPort: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Logger: quiet}); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
	defer c.Close()
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflow(steps)
	w.RegisterActivity(nothing)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	var took []time.Duration
	for i := range runs + 1 {
		began := time.Now()
		r, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: queue}, steps, n)
		if err == nil {
			err = r.Get(ctx, nil)
		}
		if err != nil {
			return err
		}
		if i > 0 { // the first warms up
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	fmt.Println(took[len(took)/2])
	return nil
}
