package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/client"
)

// How long the faults go on.
const (
	chaosLasts      = 30 * time.Second
	chaosLastsShort = 20 * time.Second
	chaosEnv        = "SLUICE_CHAOS_SECONDS"
)

const (
	// The smallest times that keep their distances.
	chaosStopAfter = 2 * time.Second
	chaosLostAfter = 4 * time.Second
	// chaosSlack is how long a job may take, on a machine that is busy with
	// other tests, from its launch to its call of the witness.
	chaosSlack = 750 * time.Millisecond
	// chaosBacklog is how many jobs may wait in a group: few, so that it drains soon.
	chaosBacklog = 6
	// pushPatience is how long one push may take before it is repeated.
	pushPatience = 2 * time.Second
)

// chaosScript is one runnable of the load. All have the same code.
type chaosScript struct {
	name   string
	limits string   // its fields, as JSON; "": no limit
	keys   []string // nil: the default key
	long   bool     // some last longer than a freeze, or leave behind what lives longer than it may
}

var chaosScripts = []chaosScript{
	{name: "one", limits: `"concurrent_limit": 1`},
	{name: "two", limits: `"concurrent_limit": 2, "concurrency_key": "$args[key]"`, keys: []string{"chaos/a", "chaos/b"}, long: true},
	{name: "three", limits: `"concurrent_limit": 3, "concurrency_time_window_s": 1`, long: true},
	{name: "five", limits: `"concurrent_limit": 5, "concurrency_time_window_s": 2`},
	{name: "rate_two", limits: `"concurrent_limit": 2, "concurrency_time_window_s": 1, "concurrency_window_from": "start"`},
	{name: "rate_four", limits: `"concurrent_limit": 4, "concurrency_time_window_s": 1, "concurrency_window_from": "start"`, long: true},
	{name: "free", long: true},
}

// chaosCode calls the witness and holds the connection, as does all that it starts.
const chaosCode = `key="$1"
witness="$2"
seconds="$3"
what="$4"
set -e
exec 9<>"/dev/tcp/${witness/://}"
echo "$WM_JOB_ID $SLUICE_ATTEMPT $key" >&9
read -r _ <&9
case $what in
log) for ((i = 0; i < 50; i++)); do echo "line $i"; echo "error $i" >&2; done ;;
child) setsid sleep 0.3 & ;;
daemon) setsid sleep 60 & ;;
fail) exit 3 ;;
esac
read -r -t "$seconds" _ <&9 || true
`

func (s *chaosScript) path() string { return "f/chaos/" + s.name }

// key returns the key of one of its jobs.
func (s *chaosScript) key(dice *rand.Rand) string {
	if s.keys == nil {
		return mainWorkspace + "/script/" + s.path()
	}
	return s.keys[dice.IntN(len(s.keys))]
}

// chaos is a server under load whose parts are killed.
type chaos struct {
	*place
	dice    *rand.Rand // of the faults
	seed    uint64
	server  *instance
	client  atomic.Pointer[client.Client] // of the newest server
	witness string                        // its address
	// database is that of a cluster; "": the file in the data folder.
	database string

	kills, drains, freezes, victims int

	mu       sync.Mutex
	sent     map[string]bool // jobs by id; true: the push was acknowledged
	repeated int             // pushes that were sent more than once
	canceled int
}

// TestChaos kills servers, supervisors and jobs at random while jobs are
// pushed, and then asks the record, and a witness to which every job held a
// connection, whether any promise was broken.
func TestChaos(t *testing.T) {
	lasts := chaosTime(t)
	c := &chaos{place: newPlace(t), seed: rand.Uint64(), sent: map[string]bool{}}
	c.dice = rand.New(rand.NewPCG(c.seed, 0))
	stopWitness := c.startWitness()
	c.restart()
	for i := range chaosScripts {
		c.save(&chaosScripts[i])
	}

	load, stopLoad := context.WithCancel(t.Context())
	defer stopLoad()
	var feeders sync.WaitGroup
	for i := range chaosScripts {
		dice := rand.New(rand.NewPCG(c.seed, uint64(i+1)))
		feeders.Go(func() { c.feed(load, &chaosScripts[i], dice) })
	}
	c.faults(lasts)
	stopLoad()
	feeders.Wait()
	c.drain()
	c.server.signal(syscall.SIGTERM)
	if status := c.server.end(); status != 0 {
		t.Errorf("stopped with exit status %d", status)
	}
	stopWitness()

	c.judge()
	if c.kills == 0 {
		t.Error("no server was killed, so nothing was proven")
	}
}

// chaosTime says how long the faults go on.
func chaosTime(t *testing.T) time.Duration {
	text := os.Getenv(chaosEnv)
	switch {
	case text != "":
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s must be a number of seconds, not %q", chaosEnv, text)
		}
		return time.Duration(n) * time.Second
	case testing.Short():
		return chaosLastsShort
	}
	return chaosLasts
}

const witnessFile = "witness.jsonl"

// startWitness starts the witness and returns what stops it.
func (c *chaos) startWitness() (stop func()) {
	c.t.Helper()
	w := &instance{t: c.t, cmd: exec.Command(c.binary, "witness", "--out", witnessFile)}
	w.cmd.Dir, w.cmd.Stderr = c.dir, &w.logs
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if w.cmd.ProcessState == nil {
			w.kill()
			_ = w.cmd.Wait() // it was killed
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, err := fmt.Sscanf(line, "The witness listens at %s", &c.witness); err != nil {
		c.t.Fatalf("the witness said %q: %v", line, err)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return func() {
		c.t.Helper()
		w.signal(syscall.SIGTERM)
		if status := w.end(); status != 0 {
			c.t.Errorf("the witness ended with exit status %d: %s", status, &w.logs)
		}
	}
}

// restart starts a server on the same folder.
func (c *chaos) restart() {
	c.t.Helper()
	c.server = c.start("--workers", "8", "--grace", "1s", "--kill-grace", "300ms", "--lost-margin", "1s",
		"--stop-after", chaosStopAfter.String(), "--lost-after", chaosLostAfter.String())
	cl, err := client.New(client.Config{URL: c.url, Token: c.token()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.client.Store(cl)
}

func (c *chaos) token() string {
	if c.database != "" {
		return clusterToken
	}
	return readToken(filepath.Join(c.dir, "data", tokenFile))
}

// save saves a script of the load.
func (c *chaos) save(s *chaosScript) {
	c.t.Helper()
	body := map[string]any{"path": s.path(), "content": chaosCode, "language": "bash", "summary": "Calls a witness"}
	if err := json.Unmarshal([]byte("{"+s.limits+"}"), &body); err != nil {
		c.t.Fatal(err)
	}
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.client.Load().SaveScript(c.t.Context(), text); err != nil {
		c.t.Fatal(err)
	}
}

// feed pushes jobs of one script until ctx ends, then repeats what was not
// acknowledged until it is.
func (c *chaos) feed(ctx context.Context, s *chaosScript, dice *rand.Rand) {
	for ctx.Err() == nil {
		batch := make([]client.RunRequest, 1+dice.IntN(4))
		key := ""
		for i := range batch {
			key, batch[i] = c.job(s, dice)
		}
		if !c.push(batch) {
			return
		}
		if dice.IntN(10) == 0 && !c.push(batch) { // pushing it twice is pushing it once
			return
		}
		rest := time.Duration(100+dice.IntN(400)) * time.Millisecond
		if dice.IntN(4) == 0 {
			pause(ctx, rest/2)
			c.cancel(batch[dice.IntN(len(batch))].ID, dice.IntN(3) == 0)
		}
		pause(ctx, rest)
		for s.limits != "" && ctx.Err() == nil && c.waiting(ctx, key) >= chaosBacklog {
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// job makes a job of a script.
func (c *chaos) job(s *chaosScript, dice *rand.Rand) (key string, r client.RunRequest) {
	key = s.key(dice)
	what, seconds := "nothing", fmt.Sprintf("0.%03d", 5+dice.IntN(296))
	switch n := dice.IntN(20); {
	case n < 3:
		what = "log"
	case n < 6:
		what = "child"
	case n < 7:
		what = "fail"
	case n < 8 && s.long:
		what = "daemon"
	case n < 9 && s.long:
		seconds = "3"
	}
	args, err := json.Marshal(map[string]string{"key": key, "witness": c.witness, "seconds": seconds, "what": what})
	if err != nil {
		c.t.Error(err)
	}
	r = client.RunRequest{Path: s.path(), ID: client.NewID(), Args: args}
	if dice.IntN(3) == 0 {
		priority := dice.IntN(3)
		r.Priority = &priority
	}
	if dice.IntN(8) == 0 {
		r.ScheduledIn = int64(1 + dice.IntN(2))
	}
	return key, r
}

// push pushes jobs until that is acknowledged; false: it was refused.
func (c *chaos) push(batch []client.RunRequest) bool {
	c.mu.Lock()
	for _, r := range batch {
		if _, known := c.sent[r.ID]; !known {
			c.sent[r.ID] = false
		}
	}
	c.mu.Unlock()
	for n := 0; ; n++ {
		ctx, done := context.WithTimeout(c.t.Context(), pushPatience)
		_, err := c.client.Load().RunBulk(ctx, batch)
		done()
		switch {
		case err == nil:
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, r := range batch {
				c.sent[r.ID] = true
			}
			if n > 0 {
				c.repeated++
			}
			return true
		case c.t.Context().Err() != nil:
			return false
		case sluice.CodeOf(err) != sluice.CodeUnavailable:
			c.t.Errorf("a push was refused: %v", err)
			return false
		}
		pause(c.t.Context(), 50*time.Millisecond)
	}
}

// cancel cancels a job that waits, runs, or has ended already. Whether it was
// in time does not matter.
func (c *chaos) cancel(id string, force bool) {
	ctx, done := context.WithTimeout(c.t.Context(), pushPatience)
	defer done()
	err := c.client.Load().Cancel(ctx, id, "chaos", force)
	if code := sluice.CodeOf(err); code != "" {
		if code != sluice.CodeUnavailable && code != sluice.CodeConflict {
			c.t.Errorf("cancel job %s: %v", id, err)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.canceled++
}

// waiting returns how many jobs of a group wait; 0 if nobody says it.
func (c *chaos) waiting(ctx context.Context, key string) int64 {
	ctx, done := context.WithTimeout(ctx, pushPatience)
	defer done()
	g, err := c.client.Load().Group(ctx, key)
	if err != nil {
		return 0
	}
	return g.Waiting
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
