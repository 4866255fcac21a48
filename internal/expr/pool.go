package expr

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// Limits bound evaluations; a zero field takes the default named.
type Limits struct {
	Time      time.Duration `json:"time"`   // of one expression; 1 s
	TotalTime time.Duration `json:"-"`      // of one call of Eval; 60 s
	Memory    int           `json:"memory"` // bytes, of one expression; 64 MiB
	Result    int           `json:"result"` // bytes of a value as JSON; 2 MiB
	Input     int           `json:"-"`      // bytes of all that one call of Eval brings; 32 MiB
}

// Options configure a pool; a zero field takes the default named.
type Options struct {
	Limits
	Children int    // processes at most; 2
	Program  string // what to execute; this very program
}

// Request is an expression with the values that it alone sees, by name. The
// name iter stands for flow_input.iter.
type Request struct {
	Expr string                     `json:"expr"`
	Own  map[string]json.RawMessage `json:"own,omitempty"`
}

// Reply is the value of an expression, or says why it has none.
type Reply struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"` // for people; "": it has a value
	Late  bool            `json:"late,omitempty"`  // it took too long
}

// Pool evaluates expressions. Its methods may be called concurrently.
type Pool struct {
	o      Options
	places chan struct{} // children that work
	mu     sync.Mutex
	idle   []*child
	closed bool
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("expr: the pool is closed")

// New makes a pool. Its processes start when there is something to do.
func New(o Options) *Pool {
	set(&o.Time, time.Second)
	set(&o.TotalTime, time.Minute)
	set(&o.Memory, 64<<20)
	set(&o.Result, 2<<20)
	set(&o.Input, 32<<20)
	set(&o.Children, 2)
	set(&o.Program, "/proc/self/exe")
	return &Pool{o: o, places: make(chan struct{}, o.Children)}
}

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// maxLate is how many expressions of one call may take too long: the others
// are not evaluated then.
const maxLate = 5

// maxAnswer bounds one answer of a process.
const maxAnswer = 64 << 20

// Eval evaluates expressions, which all see the shared values. It returns one
// reply for each. An error means that nobody could tell: ask again.
func (p *Pool) Eval(ctx context.Context, shared map[string]json.RawMessage, asks []Request) ([]Reply, error) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began, late := time.Now(), 0
	out := make([]Reply, 0, len(asks))
	for most := len(asks); len(out) < len(asks); {
		rest := asks[len(out):]
		if late >= maxLate || time.Since(began) > p.o.TotalTime {
			return append(out, all(rest, "the expressions of this step took too long in all")...), nil
		}
		replies, err := p.trip(ctx, shared, rest[:min(most, len(rest))])
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, errDied) && most > 1: // one of them is to blame: look for it
			most = 1
			continue
		case errors.Is(err, errDied):
			replies = all(rest[:1], "it ended the process that evaluates expressions")
			late++
		case err != nil:
			return nil, err
		}
		for _, r := range replies {
			if r.Late {
				late++
			}
		}
		out = append(out, replies...)
	}
	return out, nil
}

// errDied means that the process ended before it answered, or had to be ended.
var errDied = errors.New("expr: the process ended")

// trip asks a process once, and returns the replies to the first of what was
// asked, at least one.
func (p *Pool) trip(ctx context.Context, shared map[string]json.RawMessage, asks []Request) ([]Reply, error) {
	line, err := json.Marshal(batch{Shared: shared, Asks: asks, Limits: p.o.Limits})
	if err != nil {
		return nil, fmt.Errorf("pass values to expressions: %w", err)
	}
	if len(line) > p.o.Input {
		if len(asks) > 1 { // fewer at a time
			return p.trip(ctx, shared, asks[:len(asks)/2])
		}
		return all(asks, fmt.Sprintf("the values that it names have %d bytes in all; at most %d are allowed", len(line), p.o.Input)), nil
	}
	c, err := p.child()
	if err != nil {
		return nil, err
	}
	replies, err := c.ask(ctx, line, tripTime+2*p.o.Time+2*time.Second)
	if err != nil || len(replies) == 0 || len(replies) > len(asks) {
		c.kill()
		return nil, errDied
	}
	p.giveBack(c)
	return replies, nil
}

func all(asks []Request, why string) []Reply {
	out := make([]Reply, len(asks))
	for i := range out {
		out[i].Error = why
	}
	return out
}

// child returns an idle process, or starts one.
func (p *Pool) child() (*child, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c, nil
	}
	return start(p.o.Program)
}

func (p *Pool) giveBack(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.kill()
		return
	}
	p.idle = append(p.idle, c)
}

// Close ends the processes; those at work end with what they do.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.kill()
	}
	p.idle = nil
}

// child is a process that evaluates expressions.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	some *io.LimitedReader // of its output
	out  *bufio.Reader
	once sync.Once
}

func start(program string) (*child, error) {
	cmd := exec.Command(program, marker)
	cmd.Env = []string{"GOMAXPROCS=2"}
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the process for expressions: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the process for expressions: %w", err)
	}
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the process for expressions: %w", err)
	}
	some := &io.LimitedReader{R: out}
	return &child{cmd: cmd, in: in, some: some, out: bufio.NewReaderSize(some, 1<<16)}, nil
}

// ask sends a batch and reads the answer. After an error the child is of no
// use.
func (c *child) ask(ctx context.Context, line []byte, most time.Duration) ([]Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("ask the process for expressions: %w", err)
	}
	c.some.N = maxAnswer
	answer, err := c.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("hear the process for expressions: %w", err)
	}
	var out []Reply
	if err := json.Unmarshal(bytes.TrimSpace(answer), &out); err != nil {
		return nil, fmt.Errorf("read what the process for expressions says: %w", err)
	}
	return out, nil
}

func (c *child) kill() {
	c.once.Do(func() {
		c.cmd.Process.Kill() //nolint:errcheck // it may have ended
		c.in.Close()
		go c.cmd.Wait() //nolint:errcheck // killed
	})
}
