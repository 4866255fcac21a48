package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/history"
	"sluice/internal/store"
)

// crowd is many clients that make mixed calls, and a worker that runs what
// they push in no time.
type crowd struct {
	*rig
	client *http.Client
	stop   context.Context

	mu     sync.Mutex
	pushed map[string]bool
	calls  int
	faults []string
}

func (c *crowd) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) < 20 {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

// call makes one call; an answer of 500 and above is a fault.
func (c *crowd) call(method, path, mime, body string) (int, string) {
	req, err := http.NewRequestWithContext(context.Background(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.fault("%v", err)
		return 0, ""
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	req.Header.Set("Content-Type", mime)
	resp, err := c.client.Do(req)
	if err != nil {
		c.fault("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 500 && resp.StatusCode != http.StatusGatewayTimeout {
		c.fault("%s %s: %d %.200s %v", method, path, resp.StatusCode, b, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	return resp.StatusCode, string(b)
}

func (c *crowd) push(method, path, mime, body string) string {
	status, answer := c.call(method, path, mime, body)
	if status != http.StatusCreated {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushed[answer] = true
	return answer
}

// someClient makes calls until the end.
func (c *crowd) someClient(seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	const base = "/api/w/main/"
	last := "00000000-0000-4000-8000-000000000000"
	for c.stop.Err() == nil {
		script := []string{"f/free", "f/one", "f/start"}[rnd.IntN(3)]
		switch rnd.IntN(14) {
		case 0, 1:
			last = orElse(c.push("POST", base+"jobs/run/p/"+script, jsonMime, `{"n":1}`), last)
		case 2:
			last = orElse(c.push("POST", base+"jobs/run/p/"+script+"?queue_limit=20&priority=3", formMime, "a=1&b=2"), last)
		case 3:
			last = orElse(c.push("GET", base+"jobs/run/p/"+script+"?payload=e30", "", ""), last)
		case 4:
			c.call("POST", base+"jobs/run_wait_result/p/"+script+"?timeout_s=0&queue_limit=5", "text/plain", "hi")
		case 5:
			c.call("GET", base+"jobs/list?per_page=5&tag=bash,gpu&script_path_start=f/", "", "")
		case 6:
			c.call("GET", base+"jobs_u/get/"+last, "", "")
		case 7:
			c.call("GET", base+"jobs_u/completed/get_result_maybe/"+last, "", "")
		case 8:
			c.call("POST", base+"jobs_u/queue/cancel/"+last, jsonMime, `{"reason":"load"}`)
		case 9:
			c.call("GET", "/api/concurrency_groups/get/one", "", "")
		case 10:
			c.call("PUT", "/api/concurrency_groups/override/one", jsonMime, fmt.Sprintf(`{"concurrent_limit":%d,"why":"load"}`, 1+rnd.IntN(3)))
		case 11:
			c.call("POST", base+"scripts/create", jsonMime, fmt.Sprintf(`{"path":"f/free","content":"echo %d","language":"bash"}`, rnd.IntN(3)))
		case 12:
			c.call("POST", base+"jobs/run/p/"+script, jsonMime, []string{`{"a":1,"a":2}`, `{`, "\xff", strings.Repeat("[", 500)}[rnd.IntN(4)])
		case 13:
			c.call("GET", base+"jobs_u/getupdate/"+last+"?running=false&log_offset=0", "", "")
		}
	}
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// someWorker takes jobs and reports their ends until nothing is left after the
// clients have gone.
func (c *crowd) someWorker(name string) {
	ctx := context.Background()
	for n := int64(1); ; n++ {
		as, err := c.e.Take(ctx, sluice.TakeRequest{Worker: name, TakeNo: n, Tags: []string{"bash"}, Places: 4, Wait: 500 * time.Millisecond})
		if err != nil {
			c.fault("take: %v", err)
			return
		}
		var ids []int64
		var reports []sluice.Report
		for _, a := range as {
			ids = append(ids, a.Execution)
			reports = append(reports, sluice.Report{Execution: a.Execution, Worker: name, Success: true, Launched: true, Result: json.RawMessage(`1`)})
		}
		if len(as) == 0 && c.stop.Err() != nil {
			left, err := c.e.CountJobs(ctx, store.JobFilter{States: queueStates})
			if err != nil || left == 0 {
				return
			}
		}
		if _, err := c.e.Heartbeat(ctx, sluice.Heartbeat{Worker: name, Instance: "here", Tags: []string{"bash"}, Places: 4, SettledTake: n, Holds: ids}); err != nil {
			c.fault("heartbeat: %v", err)
		}
		if len(ids) > 0 {
			if err := c.e.Confirm(ctx, name, ids); err != nil {
				c.fault("confirm: %v", err)
			}
			for _, err := range c.e.Report(ctx, reports) {
				if err != nil {
					c.fault("report: %v", err)
				}
			}
		}
	}
}

// TestCrowd lets a crowd at the server for half a minute (with -short for two
// seconds). Afterwards nothing was answered with a fault of the server, every
// pushed job ended, once, and the checker of histories is content.
func TestCrowd(t *testing.T) {
	long := 30 * time.Second
	if testing.Short() {
		long = 2 * time.Second
	}
	r := newRig(t)
	r.start()
	r.script("f/free", "")
	r.script("f/one", `"concurrent_limit":1,"concurrency_key":"one"`)
	r.script("f/start", `"concurrent_limit":20,"concurrency_time_window_s":1,"concurrency_window_from":"start","concurrency_key":"start"`)
	stop, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	const clients = 8 // enough to meet in every lock; the machine has other work
	c := &crowd{rig: r, stop: stop, pushed: map[string]bool{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
	defer c.client.CloseIdleConnections()
	var people, workers sync.WaitGroup
	for i := range clients {
		people.Go(func() { c.someClient(uint64(i)) })
	}
	for i := range 2 {
		workers.Go(func() { c.someWorker(fmt.Sprintf("w%d", i)) })
	}
	people.Wait()
	r.within(2*time.Minute, "what was pushed", workers.Wait)
	for _, f := range c.faults {
		t.Error(f)
	}
	r.endedOnce(c.pushed)
	report, err := history.Check(context.Background(), r.store, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() || report.Executions == 0 {
		var b strings.Builder
		_ = report.Write(&b)
		t.Errorf("the history does not hold: %s", b.String())
	}
	t.Logf("%d calls, %d pushes, %d executions", c.calls, len(c.pushed), report.Executions)
	if len(c.pushed) < 20 || strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("%d jobs were pushed; log: %.2000s", len(c.pushed), r.log.String())
	}
}

// endedOnce wants each job to be completed, with one result and one execution,
// or none if it was cancelled before.
func (r *rig) endedOnce(pushed map[string]bool) {
	r.t.Helper()
	for id := range pushed {
		err := r.store.View(context.Background(), func(db store.Reader) error {
			j, err := db.Job(id)
			if err != nil {
				return err
			}
			attempts, err := db.Attempts(j.Seq)
			if err != nil {
				return err
			}
			most, least := 1, 1
			if j.Outcome == sluice.OutcomeCanceled {
				least = 0
			}
			if j.State != sluice.StateCompleted || len(attempts) > most || len(attempts) < least {
				r.t.Errorf("job %s: %s %s, %d executions", id, j.State, j.Outcome, len(attempts))
			}
			return nil
		})
		if err != nil {
			r.t.Errorf("job %s: %v", id, err)
		}
	}
}
