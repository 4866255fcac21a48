package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/pgtest"
)

const (
	clusterServers = 3
	clusterWorkers = 6
	// clusterToken is the administrator's at all servers, and the workers'.
	clusterToken = "chaos-token-of-all-servers"
	// clusterLasts is how long the faults of a cluster go on in a usual run.
	clusterLasts = 45 * time.Second
)

// cluster is a chaos of several servers on one PostgreSQL, which crashes too,
// with workers that know all servers and no database.
type cluster struct {
	*chaos
	urls    []string
	servers []*instance
	workers []*instance
	started int // workers, ever
	// ahead is this program with a wall clock that is an hour ahead, which every
	// sixth worker runs; "": there is none.
	ahead string

	crashes int
}

// TestChaosCluster kills and freezes servers, workers and the database itself
// while jobs are pushed, and then judges as TestChaos does.
func TestChaosCluster(t *testing.T) {
	lasts := clusterLasts
	if os.Getenv(chaosEnv) != "" || testing.Short() {
		lasts = chaosTime(t)
	}
	c := &cluster{chaos: &chaos{place: newPlace(t), seed: rand.Uint64(), sent: map[string]bool{}}}
	c.dice = rand.New(rand.NewPCG(c.seed, 0))
	c.database = pgtest.Database(t)
	c.durable()
	stopWitness := c.startWitness()
	for range clusterServers {
		c.urls = append(c.urls, "http://"+freeAddress(t))
		c.servers = append(c.servers, nil)
	}
	var boot sync.WaitGroup // all at once, on an empty database
	for i := range c.servers {
		boot.Go(func() { c.boot(i) })
	}
	boot.Wait()
	if os.Getenv(chaosEnv) != "" { // it takes minutes to build
		c.ahead = buildAhead(t)
	}
	for range clusterWorkers {
		c.workers = append(c.workers, c.hire())
	}
	turn := func() { c.client.Store(c.clientOf(c.dice.IntN(clusterServers))) }
	turn()
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
	feeders.Go(func() { // clients turn from server to server
		dice := rand.New(rand.NewPCG(c.seed, 1000))
		for load.Err() == nil {
			c.client.Store(c.clientOf(dice.IntN(clusterServers)))
			pause(load, 200*time.Millisecond)
		}
	})
	c.harm(lasts)
	stopLoad()
	feeders.Wait()
	c.url = c.urls[0]
	c.drain()
	c.stopAll()
	stopWitness()
	t.Logf("PostgreSQL crashed %d times", c.crashes)
	c.judge()
	if c.kills == 0 || c.crashes == 0 {
		t.Error("no server was killed, or the database never crashed, so nothing was proven")
	}
}

// durable has what is committed survive a crash of the database.
func (c *cluster) durable() {
	c.t.Helper()
	name := c.database[strings.LastIndexByte(c.database, '/')+1:]
	name, _, _ = strings.Cut(name, "?")
	pgtest.Execute(c.t, c.database, "ALTER DATABASE "+name+" SET synchronous_commit = on")
}

// boot starts the server of a number.
func (c *cluster) boot(i int) {
	p := &place{t: c.t, dir: c.dir, binary: c.binary}
	c.servers[i] = p.start("--addr", strings.TrimPrefix(c.urls[i], "http://"), "--data", fmt.Sprintf("data%d", i), "--database", c.database,
		"--token", clusterToken, "--workers", "0", "--grace", "1s", "--kill-grace", "300ms", "--lost-margin", "1s",
		"--stop-after", chaosStopAfter.String(), "--lost-after", chaosLostAfter.String())
}

func (c *cluster) clientOf(i int) *client.Client {
	cl, err := client.New(client.Config{URL: c.urls[i], Token: clusterToken})
	if err != nil {
		c.t.Error(err)
	}
	return cl
}

// hire starts a worker that turns to one of the servers first.
func (c *cluster) hire() *instance {
	c.t.Helper()
	c.started++
	first := c.started % clusterServers
	urls := append(append([]string{}, c.urls[first:]...), c.urls[:first]...)
	binary := c.binary
	if c.ahead != "" && c.started%clusterWorkers == 0 {
		binary = c.ahead
	}
	w := &instance{t: c.t, cmd: exec.Command(binary, "worker", "--server", strings.Join(urls, ","), "--data", fmt.Sprintf("w%d", c.started%clusterWorkers),
		"--places", "3", "--tags", "bash", "--grace", "1s", "--group", fmt.Sprintf("g%d", first))}
	w.cmd.Dir, w.cmd.Stderr = c.dir, &w.logs
	w.cmd.Env = append(os.Environ(), "SLUICE_WORKER_TOKEN="+clusterToken)
	if err := w.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if w.cmd.ProcessState == nil {
			w.kill()
			_ = w.cmd.Wait() // it was killed
		}
	})
	return w
}

// buildAhead builds the program over a standard library whose time.Now is an
// hour ahead, and sees that it is.
func buildAhead(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	now := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	code, err := os.ReadFile(now)
	if err != nil {
		t.Fatal(err)
	}
	const read = "sec, nsec, mono := runtimeNow()\n"
	dir := t.TempDir()
	ahead, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	for path, text := range map[string]string{
		ahead:   strings.Replace(string(code), read, read+"\tsec += 3600\n", 1),
		overlay: fmt.Sprintf(`{"Replace": {%q: %q}}`, now, ahead),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "sluice-ahead")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	w := exec.Command(binary, "worker", "--server", "http://127.0.0.1:1", "--data", filepath.Join(dir, "w"))
	w.Env = append(os.Environ(), "SLUICE_WORKER_TOKEN="+clusterToken)
	out, _ := w.StderrPipe()
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = w.Process.Kill()
	_ = w.Wait() // it was killed
	stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
	if at, bad := time.Parse(time.RFC3339, stamp); err != nil || bad != nil || time.Until(at) < 50*time.Minute {
		t.Fatalf("its clock is not ahead: %q, %v", line, err)
	}
	return binary
}

// harm breaks something every second or two, until it has lasted so long.
func (c *cluster) harm(lasts time.Duration) {
	c.t.Helper()
	faults := []func(){
		c.killOneServer, c.freezeOneWorker, c.killOneWorker, c.crash, c.freezeOneServer, c.killJob, c.killOneServer, c.killOneWorker, c.freezeOneWorker, c.crash,
	}
	for turn, end := 0, time.Now().Add(lasts); ; turn++ {
		rest := time.Second + time.Duration(c.dice.Int64N(int64(2*time.Second)))
		pause(c.t.Context(), min(rest, time.Until(end)))
		if !time.Now().Before(end) || c.t.Context().Err() != nil {
			return
		}
		faults[turn%len(faults)]()
	}
}

func (c *cluster) killOneServer() {
	i := c.dice.IntN(clusterServers)
	c.servers[i].kill()
	c.servers[i].end()
	c.kills++
	c.boot(i)
}

// freezeOneServer stops a server, whatever it is at, and lets it go on when
// others have long taken over.
func (c *cluster) freezeOneServer() {
	s := c.servers[c.dice.IntN(clusterServers)]
	s.signal(syscall.SIGSTOP)
	pause(c.t.Context(), chaosStopAfter+time.Duration(c.dice.Int64N(int64(3*time.Second))))
	s.signal(syscall.SIGCONT)
	c.freezes++
}

func (c *cluster) killOneWorker() {
	i := c.dice.IntN(len(c.workers))
	c.workers[i].kill()
	c.workers[i].end()
	c.workers[i] = c.hire()
	c.victims++
}

// freezeOneWorker stops a worker's process until its attempts are given up; its
// supervisor ends the jobs before.
func (c *cluster) freezeOneWorker() {
	w := c.workers[c.dice.IntN(len(c.workers))]
	w.signal(syscall.SIGSTOP)
	pause(c.t.Context(), chaosStopAfter+time.Duration(c.dice.Int64N(int64(chaosLostAfter))))
	w.signal(syscall.SIGCONT)
	c.freezes++
}

// killJob kills a process below a worker.
func (c *cluster) killJob() {
	below := descendants(c.workers[c.dice.IntN(len(c.workers))].cmd.Process.Pid)
	if len(below) > 1 {
		_ = syscall.Kill(below[c.dice.IntN(len(below))], syscall.SIGKILL) // it may have ended
		c.victims++
	}
}

func (c *cluster) crash() {
	pgtest.Restart(c.t)
	c.crashes++
}

func (c *cluster) stopAll() {
	c.t.Helper()
	for _, list := range [][]*instance{c.workers, c.servers} {
		for _, s := range list {
			s.signal(syscall.SIGTERM)
		}
		for _, s := range list {
			if status := s.end(); status != 0 {
				c.t.Errorf("stopped with exit status %d: %s", status, &s.logs)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(c.dir, "w*", "jobs", "*")); err != nil || len(left) > 0 {
		c.t.Logf("folders of jobs that are left: %v %v", left, err) // of workers that were killed last
	}
}
