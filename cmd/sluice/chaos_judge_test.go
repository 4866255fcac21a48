package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"sluice"
	"sluice/internal/history"
	"sluice/internal/store"
	"sluice/internal/worker"
)

// chaosRecord is what the database of a chaos holds in the end.
type chaosRecord struct {
	jobs   map[string]*sluice.Job
	fails  map[string]string // why a job failed, by id
	runs   []*sluice.Execution
	groups []*store.Group
}

// judge judges what was written down: with the command that users have, and
// what only this test knows: which jobs were pushed.
func (c *chaos) judge() {
	c.t.Helper()
	var report history.Report
	args := []string{"check-history", "--database", c.databaseURL(), "--witness", witnessFile, "--witness-slack", chaosSlack.String()}
	out := c.sluice(0, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		c.t.Fatal(err)
	}
	rec := c.read()
	lost, reported := 0, 0
	for _, x := range rec.runs {
		switch x.End {
		case sluice.EndLost:
			lost++
		case sluice.EndReported:
			reported++
		case sluice.EndStruck:
		default:
			c.t.Errorf("a slot is held: execution %d of job %s, attempt %d, end %q", x.ID, x.JobID, x.Attempt, x.End)
		}
	}
	outcomes, fails := map[sluice.Outcome]int{}, map[string]int{}
	for id, j := range rec.jobs {
		outcomes[j.Outcome]++
		if j.Outcome == sluice.OutcomeFailure {
			fails[rec.fails[id]]++
		}
	}
	c.t.Logf("seed %d: %d executions judged (%d reported, %d lost, %d struck out), %d starts in %d groups, %d seen by the witness",
		c.seed, report.Executions, reported, lost, report.Struck, report.Starts, report.Groups, report.Witnessed)
	c.t.Logf("%d servers killed, %d drained, %d frozen, %d supervisors or jobs killed; %d jobs (%v, %v), %d pushes repeated, %d cancels",
		c.kills, c.drains, c.freezes, c.victims, len(rec.jobs), outcomes, fails, c.repeated, c.canceled)
	if lost == 0 {
		c.t.Error("no attempt was lost, so nothing was proven")
	}
	if report.Unended > 0 {
		c.t.Errorf("the witness saw no end of %d executions", report.Unended)
	}
	c.judgeJobs(rec)
	for _, g := range rec.groups {
		if g.Waiting != 0 || g.Taken-g.Struck != g.Released {
			c.t.Errorf("group %s: %d wait, %d taken, %d struck out, %d released", g.Key, g.Waiting, g.Taken, g.Struck, g.Released)
		}
	}
}

// judgeJobs judges that the jobs are those that were pushed, that each has one
// end, that none succeeded unseen, and that none failed because of a server
// that was lost, while it could have run again.
func (c *chaos) judgeJobs(rec *chaosRecord) {
	c.t.Helper()
	for id, acknowledged := range c.sent {
		if rec.jobs[id] == nil {
			c.t.Errorf("job %s is lost; acknowledged: %t", id, acknowledged)
		}
	}
	type run struct {
		job     string
		attempt int
	}
	seen := map[run]bool{}
	for _, s := range c.spans() {
		seen[run{s.Job, s.Attempt}] = true
	}
	ends := map[string]int{}
	for _, x := range rec.runs {
		if x.End == sluice.EndReported {
			ends[x.JobID]++
		}
	}
	for id, j := range rec.jobs {
		if _, sent := c.sent[id]; !sent {
			c.t.Errorf("nobody pushed job %s", id)
		}
		if j.State != sluice.StateCompleted || j.Outcome == sluice.OutcomeNone {
			c.t.Errorf("job %s is %s with the outcome %q", id, j.State, j.Outcome)
		}
		if ends[id] > 1 || j.Outcome == sluice.OutcomeSuccess && ends[id] != 1 {
			c.t.Errorf("job %s has %d ends and the outcome %q", id, ends[id], j.Outcome)
		}
		if rec.fails[id] == worker.FailureLease && j.Lost <= j.MaxLostAttempts {
			c.t.Errorf("job %s failed with %s after %d attempts were lost of %d that may be", id, rec.fails[id], j.Lost, j.MaxLostAttempts)
		}
		if j.Outcome == sluice.OutcomeSuccess && !seen[run{id, j.Attempt}] {
			c.t.Errorf("job %s succeeded in attempt %d, which the witness did not see", id, j.Attempt)
		}
	}
}

func (c *chaos) spans() []history.Span {
	c.t.Helper()
	f, err := os.Open(filepath.Join(c.dir, witnessFile))
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	spans, _, err := history.ReadWitness(f) // what contradicts itself was told by check-history
	if err != nil {
		c.t.Fatal(err)
	}
	return spans
}

// databaseURL names the database.
func (c *chaos) databaseURL() string {
	if c.database != "" {
		return c.database
	}
	return sqlitePrefix + filepath.Join(c.dir, "data", databaseFile)
}

// read reads the database.
func (c *chaos) read() *chaosRecord {
	c.t.Helper()
	database, err := openDatabase(c.t.Context(), c.databaseURL(), "", "full", slog.New(slog.DiscardHandler))
	if err != nil {
		c.t.Fatal(err)
	}
	defer database.Close()
	const all = 1_000_000
	rec := &chaosRecord{jobs: map[string]*sluice.Job{}, fails: map[string]string{}}
	err = database.View(c.t.Context(), func(r store.Reader) (err error) {
		jobs, err := r.Jobs(store.JobFilter{Limit: all})
		if err != nil {
			return err
		}
		for _, j := range jobs {
			rec.jobs[j.ID] = j
			if j.Outcome == sluice.OutcomeFailure {
				if rec.fails[j.ID], err = failureName(r, j.Seq); err != nil {
					return err
				}
			}
		}
		if rec.runs, err = r.History(0, 0, all); err != nil {
			return err
		}
		rec.groups, err = r.Groups(store.GroupFilter{Limit: all})
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return rec
}

// failureName returns why a job failed.
func failureName(r store.Reader, seq int64) (string, error) {
	text, err := r.Result(seq)
	if err != nil {
		return "", err
	}
	var result struct {
		Error struct {
			Name string `json:"name"`
		} `json:"error"`
	}
	return result.Error.Name, json.Unmarshal(text, &result)
}

// A witness does not write over what another one saw.
func TestWitnessKeepsItsFile(t *testing.T) {
	p := newPlace(t)
	if err := os.WriteFile(filepath.Join(p.dir, "seen"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.mustSay(p.sluice(6, "witness", "--out", "seen"), "what a witness saw is never")
	p.mustSay(p.sluice(2, "witness"), "--out")
}
