package history

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// notes collects what the witness writes and lets a test wait for it.
type notes struct {
	mu    sync.Mutex
	more  *sync.Cond
	lines []string
}

func newNotes() *notes {
	n := &notes{}
	n.more = sync.NewCond(&n.mu)
	return n
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, string(b))
	n.more.Broadcast()
	return len(b), nil
}

// first waits for so many lines and returns them as one text.
func (n *notes) first(count int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.lines) < count {
		n.more.Wait()
	}
	return strings.Join(n.lines, "")
}

// witnessing runs a witness; stop ends it and returns what Serve did.
func witnessing(t *testing.T, out io.Writer) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(l, out) }()
	return l.Addr().String(), sync.OnceValue(func() error {
		l.Close()
		return <-done
	})
}

// comes connects a job and waits until the witness has seen it.
func comes(t *testing.T, address, line string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "%s\n", line)
	if answer, err := bufio.NewReader(c).ReadString('\n'); err != nil || answer != "ok\n" {
		t.Fatalf("%s: answer %q, %v", line, answer, err)
	}
	return c
}

func spansOf(t *testing.T, text string) []Span {
	t.Helper()
	spans, bad, err := ReadWitness(strings.NewReader(text))
	if err != nil || len(bad) > 0 {
		t.Fatalf("%v %v\n%s", err, bad, text)
	}
	return spans
}

// TestWitness: begins and ends, and what stays open when the witness goes.
func TestWitness(t *testing.T) {
	n := newNotes()
	address, stop := witnessing(t, n)
	a := comes(t, address, "job-a 1 key with spaces")
	comes(t, address, "job-b 2 k")
	a.Close()
	n.first(3)
	comes(t, address, "job-c 1 ")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	spans := spansOf(t, n.first(4))
	if len(spans) != 3 {
		t.Fatal(spans)
	}
	if s := spans[0]; s.Job != "job-a" || s.Attempt != 1 || s.Key != "key with spaces" || !s.Ended || s.End < s.Begin {
		t.Errorf("%+v", s)
	}
	if s := spans[1]; s.Job != "job-b" || s.Attempt != 2 || s.Key != "k" || s.Ended {
		t.Errorf("%+v", s)
	}
	if s := spans[2]; s.Job != "job-c" || s.Key != "" || s.Ended || s.Begin < spans[0].End {
		t.Errorf("%+v", s)
	}
}

// TestWitnessSeesEndsFirst: an end that came before a begin is noted before it,
// however the witness's own goroutines are scheduled. Otherwise a job that
// takes the slot of one that is gone would look like one too many.
func TestWitnessSeesEndsFirst(t *testing.T) {
	n := newNotes()
	address, stop := witnessing(t, n)
	const rounds = 300
	for i := range rounds {
		c := comes(t, address, fmt.Sprintf("job-%d 1 k", i))
		if i%2 == 0 {
			fmt.Fprint(c, "something unread") // an end behind bytes
		}
		if i%3 == 0 { // closed with what was not read: a reset
			if err := c.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		if i%2 == 0 {
			n.first(2 * (i + 1))
		}
	}
	text := n.first(2 * rounds)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	spans := spansOf(t, text)
	rec := Record{Keys: map[int64]string{1: "k"}}
	for i, s := range spans {
		rec.Rows = append(rec.Rows, ran(int64(i+1), 0, 0, Limit{N: 1}).with(func(r *Row) { r.JobID = s.Job }))
	}
	expect(t, CheckWitness(spans, rec, 0))
}

// TestWitnessAndProcesses: a process that is killed has ended.
func TestWitnessAndProcesses(t *testing.T) {
	n := newNotes()
	address, stop := witnessing(t, n)
	host, port, _ := net.SplitHostPort(address)
	script := fmt.Sprintf(`exec 9<>/dev/tcp/%s/%s; echo "$0 1 k" >&9; read -r answer <&9; [ "$answer" = ok ] || exit 3; kill -KILL $$`, host, port)
	for i := range 3 {
		err := exec.Command("bash", "-c", script, fmt.Sprintf("job-%d", i)).Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the process was not killed: %v", err)
		}
	}
	spans := spansOf(t, n.first(6))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for i, s := range spans {
		if !s.Ended || i > 0 && s.Begin < spans[i-1].End {
			t.Errorf("%+v after %+v", s, spans[max(i-1, 0)])
		}
	}
}

// TestWitnessRefuses what is no line of a job.
func TestWitnessRefuses(t *testing.T) {
	n := newNotes()
	address, stop := witnessing(t, n)
	for _, line := range []string{"", "job", "job 1", "job x k", strings.Repeat("x", longestNote+1)} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s\n", line)
		answer, _ := io.ReadAll(c)
		if strings.Contains(string(answer), "ok") {
			t.Errorf("%.20q was taken for a job", line)
		}
		c.Close()
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(n.lines) > 0 {
		t.Errorf("noted %q", n.lines)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, io.ErrUnexpectedEOF }

// TestWitnessFails loudly: what cannot be written proves nothing.
func TestWitnessFails(t *testing.T) {
	address, stop := witnessing(t, broken{})
	comes(t, address, "a 1 k")
	if err := stop(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v", err)
	}
	if err := Serve(brokenListener{}, io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// TestGone knows only what the kernel says.
func TestGone(t *testing.T) {
	a, b := net.Pipe()
	b.Close()
	if gone(a) {
		t.Error("a pipe was asked what only a socket can say")
	}
}

// TestReadWitness: notes that are none, and notes that contradict each other.
func TestReadWitness(t *testing.T) {
	line := func(job string, event string, us int) string {
		return fmt.Sprintf(`{"job":%q,"attempt":1,"key":"k","event":%q,"mono_us":%d}`+"\n", job, event, us)
	}
	for _, test := range []struct {
		name, text string
		fails      bool
		want       []Kind
		spans      int
	}{
		{name: "nothing"},
		{name: "one", text: line("a", "begin", 1) + line("a", "end", 2), spans: 1},
		{name: "cut short", text: line("a", "begin", 1) + line("a", "end", 2) + `{"job":"b","att`, spans: 1},
		{name: "no note", text: "hello\n", fails: true},
		{name: "an unknown field", text: `{"job":"a","when":1}` + "\n", fails: true},
		{name: "an unknown event", text: line("a", "pause", 1), fails: true},
		{name: "begins twice", text: line("a", "begin", 1) + line("a", "begin", 2), want: []Kind{KindWitness}, spans: 1},
		{name: "ends twice", text: line("a", "begin", 1) + line("a", "end", 2) + line("a", "end", 3), want: []Kind{KindWitness}, spans: 1},
		{name: "ends before it begins", text: line("a", "end", 1), want: []Kind{KindWitness}},
		{name: "the clock goes back", text: line("a", "begin", 2) + line("a", "end", 1), want: []Kind{KindWitness}, spans: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			spans, bad, err := ReadWitness(strings.NewReader(test.text))
			if (err != nil) != test.fails || len(spans) != test.spans {
				t.Errorf("%d spans, %v", len(spans), err)
			}
			expect(t, bad, test.want...)
		})
	}
	if _, _, err := ReadWitness(io.MultiReader(strings.NewReader(line("a", "begin", 1)), brokenReader{})); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestCheckWitness: the rule by the witness's clock.
func TestCheckWitness(t *testing.T) {
	const never = -1
	type saw struct {
		order      int64
		begin, end time.Duration
		l          Limit
	}
	one, rate := Limit{N: 1, Window: 10 * s}, Limit{N: 2, Window: 10 * s, Mode: modeStart}
	for _, test := range []struct {
		name   string
		saw    []saw
		change func([]Span, *Record)
		slack  time.Duration
		want   []Kind
	}{
		{name: "nothing"},
		{name: "one after the other", saw: []saw{{1, 0, s, one}, {2, 11 * s, 12 * s, one}}},
		{name: "too early", saw: []saw{{1, 0, s, one}, {2, 11*s - us, 12 * s, one}}, want: []Kind{KindOver}},
		{name: "too early, within the slack", saw: []saw{{1, 0, s, one}, {2, 11*s - us, 12 * s, one}}, slack: us},
		{name: "at once, whatever the slack", saw: []saw{{1, 0, 2 * s, Limit{N: 1}}, {2, 2*s - us, 3 * s, Limit{N: 1}}}, slack: time.Minute, want: []Kind{KindOver}},
		{name: "at once, whatever window and slack", saw: []saw{{1, 0, 2 * s, one}, {2, 2*s - us, 3 * s, one}}, slack: time.Minute, want: []Kind{KindOver}},
		{name: "at once", saw: []saw{{1, 0, 2 * s, Limit{N: 1}}, {2, 2*s - us, 3 * s, Limit{N: 1}}}, want: []Kind{KindOver}},
		{name: "one leaves as one comes", saw: []saw{{1, 0, 2 * s, Limit{N: 1}}, {2, 2 * s, 3 * s, Limit{N: 1}}}},
		{name: "one never ends", saw: []saw{{1, 0, never, one}, {2, time.Hour, never, one}}, want: []Kind{KindOver}},
		{name: "it began to be seen in another order", saw: []saw{{2, 0, 2 * s, Limit{N: 1}}, {1, s, 3 * s, Limit{N: 1}}}, want: []Kind{KindOver}},
		{name: "a rate", saw: []saw{{1, 0, never, rate}, {2, 0, never, rate}, {3, 10 * s, never, rate}}},
		{name: "a rate, too early", saw: []saw{{1, 0, never, rate}, {2, 0, s, rate}, {3, 10*s - us, never, rate}}, want: []Kind{KindOver}},
		{name: "each by its own limit", saw: []saw{{1, 0, 5 * s, Limit{N: 3}}, {2, s, 5 * s, Limit{N: 3}}, {3, 9 * s, 10 * s, Limit{N: 3, Window: 8 * s}}}},
		{name: "a strict one among lax ones", saw: []saw{{1, 0, 5 * s, Limit{N: 3}}, {2, s, 5 * s, Limit{N: 3}}, {3, 9 * s, 10 * s, Limit{N: 2, Window: 8 * s}}}, want: []Kind{KindOver}},
		{name: "a lax one with a longer window", saw: []saw{{1, 0, 5 * s, Limit{N: 2}}, {2, 0, 5 * s, Limit{N: 2}}, {3, 6 * s, 7 * s, Limit{N: 3, Window: 8 * s}}}},
		{name: "both modes", saw: []saw{{1, 0, 50 * s, rate}, {2, 0, 50 * s, rate}, {3, 10 * s, 50 * s, rate}, {4, 11 * s, 50 * s, Limit{N: 4}}}},
		{
			name: "pruned between", saw: []saw{{1, 0, s, one}, {2, 2 * s, 3 * s, one}},
			change: func(_ []Span, r *Record) { r.Prunes = map[string][]int64{"k": {1}} },
		},
		{name: "no such execution", saw: []saw{{1, 0, s, one}}, change: func(_ []Span, r *Record) { r.Rows = nil }, want: []Kind{KindWitness}},
		{name: "trimmed", saw: []saw{{1, 0, s, one}}, change: func(_ []Span, r *Record) { r.Rows, r.Trimmed = nil, true }},
		{name: "struck out, and it ran", saw: []saw{{1, 0, s, one}}, change: func(_ []Span, r *Record) { r.Rows[0].End = endStruck }, want: []Kind{KindWitness}},
		{name: "under another key", saw: []saw{{1, 0, s, one}}, change: func(x []Span, _ *Record) { x[0].Key = "other" }, want: []Kind{KindWitness}},
		{name: "a key that does not survive the way", saw: []saw{{1, 0, s, one}}, change: func(x []Span, r *Record) { x[0].Key, r.Keys[1] = "a?", "a\xff" }},
		{name: "in no group", saw: []saw{{1, 0, s, one}, {2, 0, s, one}}, change: func(_ []Span, r *Record) { r.Rows[0].InGroup, r.Rows[1].InGroup = false, false }},
		{
			name: "two attempts at once", saw: []saw{{1, 0, s, Limit{N: 9}}, {2, s - us, 3 * s, Limit{N: 9}}},
			change: func(x []Span, r *Record) {
				x[1].Job, x[1].Attempt, r.Rows[1].JobID, r.Rows[1].Attempt = "j1", 2, "j1", 2
			}, want: []Kind{KindAttempt},
		},
		{
			name: "two attempts after each other", saw: []saw{{1, 0, s, Limit{N: 9}}, {2, s, 3 * s, Limit{N: 9}}},
			change: func(x []Span, r *Record) {
				x[1].Job, x[1].Attempt, r.Rows[1].JobID, r.Rows[1].Attempt = "j1", 2, "j1", 2
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			rec := Record{Keys: map[int64]string{1: "k"}}
			var spans []Span
			for _, x := range test.saw {
				rec.Rows = append(rec.Rows, ran(x.order, 0, s, x.l))
				spans = append(spans, Span{Job: fmt.Sprintf("j%d", x.order), Attempt: 1, Key: "k", Begin: x.begin.Microseconds(), End: x.end.Microseconds(), Ended: x.end >= 0})
			}
			if test.change != nil {
				test.change(spans, &rec)
			}
			expect(t, CheckWitness(spans, rec, test.slack), test.want...)
		})
	}
}

// TestCheckWindows: the same without the order of taking, at the edges.
func TestCheckWindows(t *testing.T) {
	two := Limit{N: 2, Window: 10 * s}
	rate := Limit{N: 2, Window: 10 * s, Mode: modeStart}
	for _, test := range []struct {
		name  string
		l     Limit
		times [][2]time.Duration
		slack time.Duration
		want  []Kind
	}{
		{"two of two", two, [][2]time.Duration{{0, s}, {0, s}}, 0, nil},
		{"a third when the first leaves", two, [][2]time.Duration{{0, s}, {0, 2 * s}, {11 * s, 12 * s}}, 0, nil},
		{"a third too early", two, [][2]time.Duration{{0, s}, {0, 2 * s}, {11*s - us, 12 * s}}, 0, []Kind{KindOver}},
		{"within the slack", two, [][2]time.Duration{{0, s}, {0, 2 * s}, {11*s - us, 12 * s}}, us, nil},
		{"more slack than window", two, [][2]time.Duration{{0, s}, {0, s}, {s, s}}, time.Minute, nil},
		{"no ends", two, [][2]time.Duration{{0, -1}, {0, -1}, {time.Hour, -1}}, 0, []Kind{KindOver}},
		{"a rate needs no ends", rate, [][2]time.Duration{{0, -1}, {0, -1}, {10 * s, -1}, {10 * s, -1}}, 0, nil},
		{"a rate too high", rate, [][2]time.Duration{{0, -1}, {0, -1}, {10*s - us, -1}}, 0, []Kind{KindOver}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all []seen
			for i, x := range test.times {
				row := ran(int64(i+1), 0, 0, test.l)
				all = append(all, seen{&Span{Begin: x[0].Microseconds(), End: x[1].Microseconds(), Ended: x[1] >= 0}, &row})
			}
			f := newFindings("k")
			checkWindows(f, all, test.slack)
			expect(t, f.all(), test.want...)
		})
	}
}
