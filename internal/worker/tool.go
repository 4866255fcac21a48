package worker

import (
	"context"
	"fmt"
	"os"

	"sluice/internal/worker/supervisor"
)

// toolOutput is how much of a tool's output is kept: its end.
const toolOutput = 32 << 10

// tool runs a program of ours, such as a compiler, as a job runs, under the
// supervisor and until ctx ends; but it is no job's launch. It returns the end of
// what the program printed. Online programs have a network even if jobs have
// none. An error means that nothing was launched.
func (w *Worker) tool(ctx context.Context, c supervisor.Command, online bool) ([]byte, supervisor.Exit, error) {
	r, out, err := os.Pipe()
	if err != nil {
		return nil, supervisor.Exit{}, fmt.Errorf("make a pipe for a tool: %w", err)
	}
	defer r.Close()
	c.Stdout, c.Stderr = out, out
	p, err := w.launch(c, online)
	out.Close()
	if err != nil {
		return nil, supervisor.Exit{}, err
	}
	said := make(chan []byte, 1)
	go func() {
		var tail []byte
		buf := make([]byte, toolOutput)
		for {
			n, err := r.Read(buf)
			tail = append(tail, buf[:n]...)
			tail = append(tail[:0], tail[max(0, len(tail)-toolOutput):]...)
			if err != nil { // its end: [io.EOF]
				said <- tail
				return
			}
		}
	}()
	select {
	case <-p.Gone():
	case <-ctx.Done():
		_ = p.Kill(0) // if the supervisor is gone, so is the tree
		<-p.Gone()
	}
	return <-said, p.Exit(), nil
}
