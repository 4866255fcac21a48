package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// faults kills something every 2 to 6 seconds, until it has lasted so long.
func (c *chaos) faults(lasts time.Duration) {
	c.t.Helper()
	const kill, drain, freeze, victim = 0, 1, 2, 3
	deck := []int{kill, freeze, kill, victim, freeze, drain, kill, victim, freeze, kill}
	for turn, end := 0, time.Now().Add(lasts); ; turn++ {
		rest := 2*time.Second + time.Duration(c.dice.Int64N(int64(4*time.Second)))
		pause(c.t.Context(), min(rest, time.Until(end)))
		if !time.Now().Before(end) || c.t.Context().Err() != nil {
			return
		}
		switch deck[turn%len(deck)] {
		case kill:
			c.killServer()
		case drain:
			c.drainServer()
		case freeze:
			c.freezeServer()
		case victim:
			c.killVictim()
		}
	}
}

func (c *chaos) killServer() {
	c.t.Helper()
	c.server.kill()
	c.server.end()
	c.kills++
	c.restart()
}

// drainServer stops the server; sometimes it is killed while it stops.
func (c *chaos) drainServer() {
	c.t.Helper()
	c.server.signal(syscall.SIGTERM)
	c.drains++
	if c.drains%2 == 0 {
		pause(c.t.Context(), time.Duration(c.dice.Int64N(int64(time.Second))))
		c.server.kill()
	}
	c.server.end()
	c.restart()
}

// freezeServer stops the server's process, not those of its jobs, until they
// must have ended themselves; sometimes until it would give them up.
func (c *chaos) freezeServer() {
	c.t.Helper()
	c.server.signal(syscall.SIGSTOP)
	long := chaosStopAfter + time.Duration(c.dice.Int64N(int64(chaosLostAfter-chaosStopAfter+time.Second)))
	pause(c.t.Context(), long)
	c.server.signal(syscall.SIGCONT)
	c.freezes++
}

// killVictim kills one process below the server: the supervisor, the init of a
// job, or a process of a job.
func (c *chaos) killVictim() {
	c.t.Helper()
	for end := time.Now().Add(time.Second); time.Now().Before(end); pause(c.t.Context(), 20*time.Millisecond) {
		below := descendants(c.server.cmd.Process.Pid)
		if len(below) < 2 {
			continue // no job runs
		}
		err := syscall.Kill(below[c.dice.IntN(len(below))], syscall.SIGKILL)
		if err == nil {
			c.victims++
			return
		}
		if !errors.Is(err, syscall.ESRCH) {
			c.t.Fatal(err)
		}
	}
}

// descendants lists the processes below one.
func descendants(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	children := map[int][]int{}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it is gone
		}
		// The name, in parentheses, may hold anything; state and parent follow it.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		own, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, err2 := strconv.Atoi(fields[1])
		if err == nil && err2 == nil {
			children[parent] = append(children[parent], own)
		}
	}
	var all []int
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		all = append(all, children[next[0]]...)
		next = append(next, children[next[0]]...)
	}
	slices.Sort(all)
	return all
}

// drain waits until every job has ended.
func (c *chaos) drain() {
	c.t.Helper()
	last := -1
	for end := time.Now().Add(patience); time.Now().Before(end); pause(c.t.Context(), 200*time.Millisecond) {
		if last = c.completed(); last == len(c.sent) {
			return
		}
	}
	c.t.Errorf("%d jobs were pushed, and %d have ended %v after the last fault", len(c.sent), last, patience)
}

// completed asks the server how many jobs have ended; -1: it did not answer.
func (c *chaos) completed() int {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.url+"/api/w/main/jobs/completed/count", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var answer struct {
		N int `json:"database_length"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("count the jobs that ended: %s, %v", resp.Status, err)
	}
	return answer.N
}
