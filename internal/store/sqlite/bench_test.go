package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

const benchBatch = 100

func benchStore(b *testing.B) *Store {
	s, err := Open(context.Background(), b.TempDir()+"/bench.db", Options{Synchronous: os.Getenv("SLUICE_BENCH_SYNC")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if text := os.Getenv("SLUICE_BENCH_SQL"); text != "" {
		if err := s.tx.c.exec(text); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func benchUpdate(b *testing.B, s *Store, fn func(store.Tx) error) {
	b.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		b.Fatal(err)
	}
}

func benchJobs(tx store.Tx, n int, keyed bool) []*sluice.Job {
	now := tx.Now()
	jobs := make([]*sluice.Job, n)
	for i := range jobs {
		id, _ := uuid.NewV7()
		jobs[i] = &sluice.Job{
			ID: id.String(), Workspace: "admins", Kind: sluice.KindScript, Path: "f/folder/script", Hash: "0123456789abcdef",
			Language: "bash", Args: json.RawMessage(`{"customer":"acme","n":12}`), Tag: "bash", CreatedBy: "admin", Email: "admin@example.com",
			CreatedAt: now, ScheduledFor: now, State: sluice.StateQueued, DeleteAfter: -1, MaxLostAttempts: 3,
		}
		if keyed {
			jobs[i].Key, jobs[i].HasKey, jobs[i].Limit = "admins/script/f/folder/script", true, &limit.Limit{N: 100000}
		}
	}
	return jobs
}

// BenchmarkLifecycle takes jobs through their whole life in batches of 100 per
// update: pushed, taken, reported.
func BenchmarkLifecycle(b *testing.B) {
	for _, keyed := range []bool{false, true} {
		b.Run(fmt.Sprintf("limit=%v", keyed), func(b *testing.B) {
			s := benchStore(b)
			before := s.Stats().Statements
			b.ResetTimer()
			defer cpu(b)()
			for i := 0; i < b.N; i += benchBatch {
				lifecycle(b, s, keyed)
			}
			b.ReportMetric(float64(s.Stats().Statements-before)/float64(b.N), "stmts/op")
			commits := slices.Sorted(slices.Values(s.Stats().CommitLatency))
			b.ReportMetric(float64(commits[len(commits)/2].Microseconds()), "commit-p50-us")
			b.ReportMetric(float64(commits[len(commits)*99/100].Microseconds()), "commit-p99-us")
		})
	}
}

func lifecycle(b *testing.B, s *Store, keyed bool) {
	benchUpdate(b, s, func(tx store.Tx) error { return benchPush(tx, benchBatch, keyed) })
	var taken []*sluice.Execution
	benchUpdate(b, s, func(tx store.Tx) (err error) { taken, err = benchTake(tx); return err })
	benchUpdate(b, s, func(tx store.Tx) error { return benchReport(tx, taken) })
}

func benchPush(tx store.Tx, n int, keyed bool) error {
	jobs := benchJobs(tx, n, keyed)
	if err := tx.InsertJobs(jobs); err != nil {
		return err
	}
	var group int64
	if keyed {
		gs, err := tx.LockGroups([]string{jobs[0].Key})
		if err != nil {
			return err
		}
		group = gs[0].ID
		gs[0].Waiting += int64(n)
		if err := tx.SaveGroup(gs[0]); err != nil {
			return err
		}
	}
	l, err := tx.EnsureLine(group, "admins", "f/folder/script", "bash")
	if err != nil {
		return err
	}
	if err := tx.Stand(l.ID, jobs); err != nil {
		return err
	}
	l.Queued += int64(n)
	l.Head, l.Ready = jobs[0].Rank(), true
	return tx.SaveLine(l)
}

func benchTake(tx store.Tx) ([]*sluice.Execution, error) {
	lines, err := tx.ReadyLines([]string{"bash"}, benchBatch)
	if err != nil {
		return nil, err
	}
	l := lines[0]
	jobs, err := tx.Heads(l.ID, benchBatch)
	if err != nil {
		return nil, err
	}
	var list []*sluice.Execution
	var g *store.Group
	if l.GroupID != 0 {
		if g, err = tx.GroupByID(l.GroupID); err != nil {
			return nil, err
		}
	}
	now := tx.Now()
	for _, j := range jobs {
		if ok, err := tx.Leave(l.ID, j); err != nil || !ok {
			return nil, fmt.Errorf("leave: %v %w", ok, err)
		}
		e := &sluice.Execution{JobSeq: j.Seq, JobID: j.ID, Attempt: 1, Worker: "worker-1", TakeNo: 1, Tag: j.Tag, StartedAt: now}
		if g != nil {
			g.Taken++
			g.Waiting--
			e.InGroup, e.GroupID, e.OrderNo, e.Limit, e.Source = true, g.ID, g.Taken, *j.Limit, limit.FromJob
		}
		if err := tx.InsertExecution(e); err != nil {
			return nil, err
		}
		j.State, j.Attempt, j.StartedAt, j.Worker = sluice.StateRunning, 1, now, e.Worker
		if err := tx.SaveJob(j); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	if g != nil {
		if err := tx.SaveGroup(g); err != nil {
			return nil, err
		}
	}
	return list, tx.DeleteLine(l.ID)
}

func benchReport(tx store.Tx, taken []*sluice.Execution) error {
	ids := make([]int64, len(taken))
	for i, e := range taken {
		ids[i] = e.ID
	}
	list, groups, err := tx.LockExecutions(ids)
	if err != nil {
		return err
	}
	now := tx.Now()
	for _, e := range list {
		if g := groups[e.GroupID]; g != nil {
			g.Launched++
			g.Released++
			e.LaunchNo, e.EndNo = g.Launched, g.Released
		}
		e.ReleasedAt, e.ConfirmedAt, e.End = now, now, sluice.EndReported
		if err := tx.SaveExecution(e); err != nil {
			return err
		}
		j, err := tx.JobBySeq(e.JobSeq)
		if err != nil {
			return err
		}
		j.State, j.Outcome, j.CompletedAt = sluice.StateCompleted, sluice.OutcomeSuccess, now
		if err := tx.SaveJob(j); err != nil {
			return err
		}
		if err := tx.SaveResult(j.Seq, json.RawMessage(`{"ok":true}`)); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if err := tx.SaveGroup(g); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkBare is the least that any job queue on the same file must do: the
// same job's columns in a table with a primary key and one index on
// the state, inserted, set to running, set to completed with its result.
func BenchmarkBare(b *testing.B) {
	s := benchStore(b)
	c := s.tx.c
	for _, text := range []string{
		`CREATE TABLE bare (seq INTEGER PRIMARY KEY, state INTEGER NOT NULL, started_us INTEGER, completed_us INTEGER, worker TEXT,
id BLOB, workspace TEXT, kind TEXT, path TEXT, hash TEXT, language TEXT, tag TEXT, priority INTEGER, created_us INTEGER,
scheduled_us INTEGER, created_by TEXT, email TEXT, args BLOB, result BLOB)`,
		`CREATE INDEX bare_queue ON bare (tag, priority, scheduled_us, seq) WHERE state = 1`,
	} {
		if err := c.exec(text); err != nil {
			b.Fatal(err)
		}
	}
	insert := &query{id: 1000, text: `INSERT INTO bare VALUES (?,?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?,?)`}
	run := &query{id: 1001, text: `UPDATE bare SET state = 2, started_us = ?, worker = ? WHERE seq = ?`}
	end := &query{id: 1002, text: `UPDATE bare SET state = 3, completed_us = ?, result = ? WHERE seq = ?`}
	c.stmts = append(c.stmts, make([]*stmt, 1100)...)
	b.ResetTimer()
	defer cpu(b)()
	seq := int64(0)
	for i := 0; i < b.N; i += benchBatch {
		benchUpdate(b, s, func(tx store.Tx) error {
			for k, j := range benchJobs(tx, benchBatch, false) {
				if _, err := c.use(insert).int(seq + int64(k) + 1).int(1).int(0).int(0).str("").blob(uuidBytes(j.ID)).str(j.Workspace).str("script").
					str(j.Path).str(j.Hash).str(j.Language).str(j.Tag).int(0).at(j.CreatedAt).at(j.ScheduledFor).str(j.CreatedBy).str(j.Email).
					blob(string(j.Args)).null().run(); err != nil {
					return err
				}
			}
			return nil
		})
		benchUpdate(b, s, func(tx store.Tx) error {
			for k := range int64(benchBatch) {
				if _, err := c.use(run).at(tx.Now()).str("worker-1").int(seq + k + 1).run(); err != nil {
					return err
				}
			}
			return nil
		})
		benchUpdate(b, s, func(tx store.Tx) error {
			for k := range int64(benchBatch) {
				if _, err := c.use(end).at(tx.Now()).blob(`{"ok":true}`).int(seq + k + 1).run(); err != nil {
					return err
				}
			}
			return nil
		})
		seq += benchBatch
	}
}

// BenchmarkStages measures the three stages apart.
func BenchmarkStages(b *testing.B) {
	stages := map[string]func(b *testing.B, s *Store){
		"push": func(b *testing.B, s *Store) {
			for i := 0; i < b.N; i += benchBatch {
				benchUpdate(b, s, func(tx store.Tx) error { return benchPush(tx, benchBatch, true) })
			}
		},
		"bulk10000": func(b *testing.B, s *Store) {
			for i := 0; i < b.N; i += 10_000 {
				benchUpdate(b, s, func(tx store.Tx) error { return benchPush(tx, 10_000, true) })
			}
		},
		"single": func(b *testing.B, s *Store) {
			for range b.N {
				benchUpdate(b, s, func(tx store.Tx) error { return benchPush(tx, 1, true) })
			}
		},
	}
	for _, name := range []string{"push", "bulk10000", "single"} {
		b.Run(name, func(b *testing.B) {
			s := benchStore(b)
			b.ResetTimer()
			defer cpu(b)()
			stages[name](b, s)
		})
	}
}

// BenchmarkGroupCommit has 50 goroutines push one job each per update.
func BenchmarkGroupCommit(b *testing.B) {
	s := benchStore(b)
	b.SetParallelism(25)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Update(context.Background(), func(tx store.Tx) error { return benchPush(tx, 1, true) }); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(s.Stats().Commits), "ops/commit")
}

// cpu reports the processor time of the process per operation, which says more
// than the wall clock on a machine that others use as well.
func cpu(b *testing.B) func() {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	return func() {
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		ns := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		b.ReportMetric(float64(ns)/float64(b.N), "cpu-ns/op")
	}
}
