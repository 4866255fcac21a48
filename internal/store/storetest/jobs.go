package storetest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

func jobFields(w *world) {
	at := w.clock.Wall()
	full := &sluice.Job{
		ID: uuid.NewString(), Workspace: "main", Kind: sluice.KindPreview, Path: "u/ann/é😀", Hash: "00000000000000ff", Language: "python3",
		Content: "print('\x00 nul 😀')", Args: json.RawMessage(`{"a": [1, "ü"]}`), Tag: "gpu", Priority: -7, CreatedBy: "ann", Email: "a@b.c",
		ParentJob: uuid.NewString(), RootJob: uuid.NewString(), CreatedAt: at, ScheduledFor: at.Add(time.Microsecond),
		ExpiresAt: at.Add(time.Hour), Key: "k\x00\xff*", HasKey: true,
		Limit:   &limit.Limit{N: 3, Window: 90 * time.Second, Mode: limit.Start},
		OnLimit: sluice.OnLimitFail, Timeout: time.Minute, MaxLostAttempts: 3, DeleteAfter: 5 * time.Second, State: sluice.StateScheduled,
		Phase: sluice.PhasePreprocess, QueueLimit: ptr(int64(0)), Step: "é", StepN: -1, FlowScope: "b/2", Schedule: "f/é😀/s",
	}
	emptyKey := w.job()
	emptyKey.HasKey = true
	large := w.job()
	large.Content, large.Args = strings.Repeat("x😀", 5000), json.RawMessage(`"`+strings.Repeat("y", 300_000)+`"`)
	list := []*sluice.Job{full, emptyKey, large, w.job()}
	w.update(func(tx store.Tx) { ok(tx.InsertJobs(list)) })
	w.both(func(r store.Reader) {
		for _, j := range list {
			w.equal("by id", must(r.Job(j.ID)), j)
			w.equal("by seq", must(r.JobBySeq(j.Seq)), j)
		}
		for _, id := range []string{uuid.NewString(), "", "no id", strings.ToUpper(full.ID) + "x"} {
			_, err := r.Job(id)
			w.isErr("job "+id, err, store.ErrNotFound)
		}
		_, err := r.JobBySeq(1 << 40)
		w.isErr("no such seq", err, store.ErrNotFound)
	})
	saveJobFields(w, full)
}

// saveJobFields changes everything; only what changes after a push is stored.
func saveJobFields(w *world, full *sluice.Job) {
	changed := *full
	changed.Limit = &limit.Limit{N: 9, Mode: limit.End}
	changed.State, changed.Outcome, changed.Attempt, changed.Lost = sluice.StateCompleted, sluice.OutcomeFailure, 2, 1
	changed.StartedAt, changed.CompletedAt = w.clock.Wall(), w.clock.Wall().Add(time.Second)
	changed.Worker, changed.CanceledBy, changed.CanceledReason = "w", "eve", "why"
	want := changed
	changed.Args, changed.CreatedBy, changed.Priority, changed.Result = json.RawMessage(`{}`), "mallory", 99, json.RawMessage(`1`)
	w.update(func(tx store.Tx) {
		before := full.Rev
		ok(tx.SaveJob(&changed))
		if want.Rev = changed.Rev; want.Rev <= before {
			w.Errorf("saving drew rev %d after %d", want.Rev, before)
		}
	})
	w.both(func(r store.Reader) { w.equal("saved", must(r.Job(full.ID)), &want) })
	w.update(func(tx store.Tx) {
		want.Limit, want.State, want.CompletedAt, want.Outcome = nil, sluice.StateQueued, time.Time{}, ""
		ok(tx.SaveJob(&want))
	})
	w.both(func(r store.Reader) { w.equal("saved again", must(r.Job(full.ID)), &want) })
	err := w.try(func(tx store.Tx) { ok(tx.SaveJob(&sluice.Job{Seq: 1 << 40, State: sluice.StateQueued})) })
	w.isErr("save of no job", err, store.ErrNotFound)
}

func jobExists(w *world) {
	first := w.jobs(1, nil)[0]
	w.update(func(tx store.Tx) {
		again := w.job()
		again.ID = first.ID
		other := w.job()
		w.isErr("insert", tx.InsertJobs([]*sluice.Job{other, again, w.job()}), store.ErrExists)
		_, err := tx.Job(other.ID)
		w.isErr("a job beside it", err, store.ErrNotFound)
		w.equal("changes", len(must(tx.ChangedJobs(first.Rev, 10))), 0)
		other.Seq, other.Rev = 0, 0
		ok(tx.InsertJobs([]*sluice.Job{other}))
		twice := w.job()
		same := w.job()
		same.ID = twice.ID
		w.isErr("one id twice in a call", tx.InsertJobs([]*sluice.Job{twice, same}), store.ErrExists)
	})
	w.both(func(r store.Reader) {
		w.equal("jobs", must(r.CountJobs(store.JobFilter{})), int64(2))
		w.equal("counts", must(r.JobCounts("")), map[string]store.Counts{"bash": {Queued: 2}})
	})
}

func jobBulk(w *world) {
	jobs := w.jobs(bulk, func(i int, j *sluice.Job) { j.Priority = i % 3 })
	l := w.line(0, "bash")
	w.update(func(tx store.Tx) { ok(tx.Stand(l.ID, jobs)) })
	for i := 1; i < len(jobs); i++ {
		if jobs[i].Seq <= jobs[i-1].Seq || jobs[i].Rev <= jobs[i-1].Rev {
			w.Fatalf("job %d has seq %d, rev %d after %d, %d", i, jobs[i].Seq, jobs[i].Rev, jobs[i-1].Seq, jobs[i-1].Rev)
		}
	}
	w.update(func(tx store.Tx) {
		h := must(tx.Heads(l.ID, 3))
		w.equal("heads", seqs(h), []int64{jobs[2].Seq, jobs[5].Seq, jobs[8].Seq})
		w.equal("jobs", must(tx.CountJobs(store.JobFilter{})), int64(bulk))
	})
}

func jobChanges(w *world) {
	jobs := w.jobs(5, nil)
	seen := w.readable(jobs[4].Rev)
	w.view(func(r store.Reader) {
		w.equal("above the first", seqs(must(r.ChangedJobs(jobs[0].Rev, 10))), seqs(jobs[1:]))
		w.equal("at most two", seqs(must(r.ChangedJobs(0, 2))), seqs(jobs[:2]))
	})
	w.update(func(tx store.Tx) {
		for _, i := range []int{3, 1, 3} {
			j := must(tx.Job(jobs[i].ID))
			j.State = sluice.StateRunning
			ok(tx.SaveJob(j))
			jobs[i] = j
		}
	})
	w.readable(jobs[3].Rev)
	w.both(func(r store.Reader) {
		w.equal("changed", must(r.ChangedJobs(seen, 10)), []*sluice.Job{jobs[1], jobs[3]})
		w.equal("nothing newer", len(must(r.ChangedJobs(must(r.MaxRev()), 10))), 0)
	})
}

func jobCounts(w *world) {
	jobs := w.jobs(6, func(i int, j *sluice.Job) {
		j.Tag = []string{"a", "b"}[i%2]
		j.Workspace = []string{"one", "two"}[i/3]
		if i < 2 {
			j.State = sluice.StateScheduled
		}
	})
	move := func(i int, s sluice.State) {
		w.update(func(tx store.Tx) {
			j := must(tx.Job(jobs[i].ID))
			j.State = s
			if s == sluice.StateCompleted {
				j.CompletedAt = tx.Now()
			}
			ok(tx.SaveJob(j))
		})
	}
	move(2, sluice.StateRunning)
	move(3, sluice.StateRunning)
	move(3, sluice.StateQueued)
	move(4, sluice.StateRunning)
	w.clock.Pass(time.Second)
	var first time.Time
	w.update(func(tx store.Tx) { first = tx.Now() })
	move(4, sluice.StateCompleted)
	w.clock.Pass(time.Second)
	var second time.Time
	w.update(func(tx store.Tx) { second = tx.Now() })
	move(5, sluice.StateCompleted)
	w.both(func(r store.Reader) {
		w.equal("all", must(r.JobCounts("")), map[string]store.Counts{"a": {Scheduled: 1, Running: 1}, "b": {Scheduled: 1, Queued: 1}})
		w.equal("one", must(r.JobCounts("one")), map[string]store.Counts{"a": {Scheduled: 1, Running: 1}, "b": {Scheduled: 1}})
		w.equal("none", must(r.JobCounts("three")), map[string]store.Counts{})
		w.equal("completed", must(r.CompletedByTag("", first)), map[string]int64{"a": 1, "b": 1})
		w.equal("completed later", must(r.CompletedByTag("two", second)), map[string]int64{"b": 1})
		w.equal("completed elsewhere", must(r.CompletedByTag("one", first)), map[string]int64{})
	})
}

// jobFilters compares every filter with a plain reading of its words.
func jobFilters(w *world) {
	rnd := rand.New(rand.NewPCG(1, 2))
	base := w.clock.Wall()
	at := func() time.Time { return base.Add(time.Duration(rnd.IntN(20)) * time.Second) }
	parent := uuid.NewString()
	jobs := w.jobs(120, func(i int, j *sluice.Job) {
		j.Workspace = []string{"one", "two"}[rnd.IntN(2)]
		j.Kind = []sluice.Kind{sluice.KindScript, sluice.KindPreview}[rnd.IntN(2)]
		j.Path = []string{"f/a/x", "f/a/y", "f/%/z", "u/b"}[rnd.IntN(4)]
		j.Tag = []string{"a", "b"}[rnd.IntN(2)]
		j.CreatedBy = []string{"ann", "bob"}[rnd.IntN(2)]
		j.Hash = fmt.Sprintf("%016x", rnd.IntN(4))
		j.CreatedAt, j.ScheduledFor = at(), at()
		if j.HasKey = rnd.IntN(3) > 0; j.HasKey {
			j.Key = []string{"", "k", "k\x00"}[rnd.IntN(3)]
		}
		if rnd.IntN(4) == 0 {
			j.ParentJob = parent
		}
	})
	w.update(func(tx store.Tx) {
		for _, j := range jobs {
			j.State = []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning, sluice.StateCompleted}[rnd.IntN(4)]
			if j.State == sluice.StateRunning || j.State == sluice.StateCompleted && rnd.IntN(2) == 0 {
				j.StartedAt, j.Worker = at(), []string{"w1", "w2"}[rnd.IntN(2)]
			}
			if j.State == sluice.StateCompleted {
				j.CompletedAt = at()
				j.Outcome = []sluice.Outcome{sluice.OutcomeSuccess, sluice.OutcomeFailure, sluice.OutcomeCanceled}[rnd.IntN(3)]
				j.CanceledReason = []string{"", "late (x)", "late", "\x00\xff"}[rnd.IntN(4)]
			}
			ok(tx.SaveJob(j))
		}
	})
	mid := base.Add(10 * time.Second)
	filters := []store.JobFilter{
		{},
		{Workspace: "one"},
		{IDs: []string{jobs[3].ID, jobs[9].ID, uuid.NewString()}},
		{States: []sluice.State{sluice.StateQueued}},
		{Workspace: "two", States: []sluice.State{sluice.StateScheduled, sluice.StateRunning}},
		{States: []sluice.State{sluice.StateRunning, sluice.StateCompleted}},
		{Outcomes: []sluice.Outcome{sluice.OutcomeFailure, sluice.OutcomeCanceled}},
		{Kinds: []sluice.Kind{sluice.KindPreview}},
		{PathExact: "f/a/x"},
		{PathStart: "f/a/"},
		{PathStart: "f/%"},
		{Hash: jobs[0].Hash},
		{Tag: "b"},
		{CreatedBy: "bob"},
		{ParentJob: parent},
		{NoParent: true},
		{HasParent: true},
		{Among: []store.Among{{Field: store.FieldTag, Values: []string{"b", "none"}}}},
		{Among: []store.Among{{Field: store.FieldPath, Values: []string{"f/a/x"}, Not: true}, {Field: store.FieldCreatedBy, Values: []string{"bob"}}}},
		{Among: []store.Among{{Field: store.FieldPath, How: store.HowStart, Values: []string{"f/a/", "f/%"}}}},
		{Among: []store.Among{{Field: store.FieldPath, How: store.HowPattern, Values: []string{"f/*/x"}}}},
		{Among: []store.Among{{Field: store.FieldPath, How: store.HowPattern, Values: []string{"f/?/x", "[f]/a/*"}}}},
		{Among: []store.Among{{Field: store.FieldWorker, Values: []string{"w2", ""}, Not: true}}},
		{Among: []store.Among{{Field: store.FieldHash, Values: []string{jobs[0].Hash}}}},
		{Among: []store.Among{{Field: store.FieldSchedule, Values: []string{""}, Not: true}}},
		{Among: []store.Among{{Field: store.FieldReason, Values: []string{"late (x)", "other"}}}},
		{Among: []store.Among{{Field: store.FieldReason, Values: []string{"late (x)", "late"}, Not: true}}},
		{Among: []store.Among{{Field: store.FieldAny, How: store.HowPart, Values: []string{"BO"}}}},
		{Among: []store.Among{{Field: store.FieldLabel, Values: []string{"nobody's"}}}, Workspace: "one"},
		{Among: []store.Among{{Field: store.FieldLabel, Values: []string{"nobody's"}, Not: true}}, Workspace: "one"},
		{Key: ptr("k")},
		{Key: ptr("")},
		{Key: ptr("nobody's")},
		{Worker: "w2"},
		{CreatedAfter: mid},
		{CreatedBefore: mid},
		{StartedAfter: mid},
		{StartedBefore: mid},
		{CompletedAfter: mid},
		{CompletedBefore: mid},
		{DueBefore: mid, States: []sluice.State{sluice.StateQueued, sluice.StateScheduled}},
		{AfterSeq: jobs[60].Seq},
		{AfterSeq: jobs[60].Seq, OldestFirst: true},
		{OldestFirst: true, Workspace: "one", Limit: 7, Offset: 3},
		{Limit: 10},
		{Workspace: "one", Tag: "a", PathStart: "f/", CreatedAfter: mid, NoParent: true, Limit: 4},
	}
	for _, f := range filters {
		want, count := selectJobs(jobs, f)
		w.both(func(r store.Reader) {
			w.equal(fmt.Sprintf("jobs of %+v", f), must(r.Jobs(f)), want)
			w.equal(fmt.Sprintf("count of %+v", f), must(r.CountJobs(f)), count)
		})
	}
}

func selectJobs(jobs []*sluice.Job, f store.JobFilter) (list []*sluice.Job, count int64) {
	before := func(t, bound time.Time) bool { return bound.IsZero() || !t.IsZero() && !t.After(bound) }
	after := func(t, bound time.Time) bool { return bound.IsZero() || !t.Before(bound) }
	for _, j := range jobs {
		if (f.Workspace == "" || j.Workspace == f.Workspace) && (f.IDs == nil || slices.Contains(f.IDs, j.ID)) &&
			(f.States == nil || slices.Contains(f.States, j.State)) && (f.Outcomes == nil || slices.Contains(f.Outcomes, j.Outcome)) &&
			(f.Kinds == nil || slices.Contains(f.Kinds, j.Kind)) && (f.PathExact == "" || j.Path == f.PathExact) &&
			strings.HasPrefix(j.Path, f.PathStart) && (f.Hash == "" || j.Hash == f.Hash) && (f.Tag == "" || j.Tag == f.Tag) &&
			(f.CreatedBy == "" || j.CreatedBy == f.CreatedBy) && (f.ParentJob == "" || j.ParentJob == f.ParentJob) &&
			(!f.NoParent || j.ParentJob == "") && (!f.HasParent || j.ParentJob != "") && allAmong(j, f.Among) && (f.Key == nil || j.HasKey && j.Key == *f.Key) && (f.Worker == "" || j.Worker == f.Worker) &&
			after(j.CreatedAt, f.CreatedAfter) && before(j.CreatedAt, f.CreatedBefore) && after(j.StartedAt, f.StartedAfter) &&
			before(j.StartedAt, f.StartedBefore) && after(j.CompletedAt, f.CompletedAfter) && before(j.CompletedAt, f.CompletedBefore) &&
			before(j.ScheduledFor, f.DueBefore) &&
			(f.AfterSeq == 0 || f.OldestFirst && j.Seq > f.AfterSeq || !f.OldestFirst && j.Seq < f.AfterSeq) {
			list = append(list, j)
		}
	}
	if !f.OldestFirst {
		slices.Reverse(list)
	}
	count = int64(len(list))
	list = list[min(f.Offset, len(list)):]
	if f.Limit > 0 {
		list = list[:min(f.Limit, len(list))]
	}
	return list, count
}

// allAmong is what lists of values select, of jobs without labels.
func allAmong(j *sluice.Job, list []store.Among) bool {
	for _, a := range list {
		one := map[store.Field]string{
			store.FieldPath: j.Path, store.FieldHash: j.Hash, store.FieldTag: j.Tag, store.FieldCreatedBy: j.CreatedBy, store.FieldWorker: j.Worker, store.FieldSchedule: j.Schedule, store.FieldReason: j.CanceledReason,
		}[a.Field]
		if a.Field == store.FieldAny {
			one = j.Path + "\n" + j.Tag + "\n" + j.CreatedBy + "\n" + j.Worker
		}
		matches := func(v string) bool {
			switch a.How {
			case store.HowStart:
				return strings.HasPrefix(one, v)
			case store.HowPattern:
				begin, end, _ := strings.Cut(v, "*")
				return len(one) >= len(begin)+len(end) && strings.HasPrefix(one, begin) && strings.HasSuffix(one, end)
			case store.HowPart:
				return strings.Contains(strings.ToLower(one), strings.ToLower(v))
			case store.HowExact:
			}
			return one == v && a.Field != store.FieldLabel
		}
		if slices.ContainsFunc(a.Values, matches) == a.Not {
			return false
		}
	}
	return true
}

func jobPages(w *world) {
	jobs := w.jobs(25, nil)
	for _, oldest := range []bool{false, true} {
		var got []int64
		f := store.JobFilter{Limit: 10, OldestFirst: oldest}
		for {
			var page []*sluice.Job
			w.view(func(r store.Reader) { page = must(r.Jobs(f)) })
			if len(page) == 0 {
				break
			}
			got = append(got, seqs(page)...)
			f.AfterSeq = page[len(page)-1].Seq
		}
		if !oldest {
			slices.Reverse(got)
		}
		w.equal("pages", got, seqs(jobs))
	}
	w.jobs(1100, nil)
	w.view(func(r store.Reader) { w.equal("default limit", len(must(r.Jobs(store.JobFilter{}))), 1000) })
}

func results(w *world) {
	j := w.jobs(1, nil)[0]
	big := json.RawMessage(`"` + strings.Repeat("😀", 100_000) + `"`)
	w.both(func(r store.Reader) { w.equal("no result", must(r.Result(j.Seq)), json.RawMessage(nil)) })
	for _, want := range []json.RawMessage{json.RawMessage(`{"a":1}`), big} {
		w.update(func(tx store.Tx) { ok(tx.SaveResult(j.Seq, want)) })
		w.both(func(r store.Reader) { w.equal("result", must(r.Result(j.Seq)), want) })
	}
	w.view(func(r store.Reader) { w.equal("job", must(r.Job(j.ID)), j) })
}

func expiry(w *world) {
	base := w.clock.Wall()
	jobs := w.jobs(4, func(i int, j *sluice.Job) {
		if i < 3 {
			j.ExpiresAt = base.Add(time.Duration(10-i) * time.Second)
		}
	})
	w.update(func(tx store.Tx) {
		w.equal("next", must(tx.NextExpiry()), jobs[2].ExpiresAt)
		w.equal("just before", len(must(tx.Expired(base.Add(8*time.Second-time.Microsecond), 10))), 0)
		w.equal("at the instant", seqs(must(tx.Expired(base.Add(8*time.Second), 10))), seqs(jobs[2:3]))
		w.equal("at most one", seqs(must(tx.Expired(base.Add(time.Hour), 1))), seqs(jobs[2:3]))
		jobs[2].State = sluice.StateRunning
		ok(tx.SaveJob(jobs[2]))
		w.equal("next", must(tx.NextExpiry()), jobs[1].ExpiresAt)
		jobs[2].State = sluice.StateQueued
		ok(tx.SaveJob(jobs[2]))
		w.equal("waiting again", must(tx.NextExpiry()), jobs[2].ExpiresAt)
		for _, j := range jobs[:3] {
			j.State, j.CompletedAt = sluice.StateCompleted, base
			ok(tx.SaveJob(j))
		}
		w.equal("none", must(tx.NextExpiry()), time.Time{})
		w.equal("none", len(must(tx.Expired(base.Add(time.Hour), 10))), 0)
	})
}

func waitingOf(w *world) {
	jobs := w.jobs(8, func(i int, j *sluice.Job) {
		switch i {
		case 2:
			j.Path = "f/other"
		case 3:
			j.Workspace = "other"
		case 4:
			j.State = sluice.StateScheduled
		case 5:
			j.State = sluice.StateRunning
		}
	})
	w.update(func(tx store.Tx) {
		jobs[6].State, jobs[6].CompletedAt = sluice.StateCompleted, tx.Now()
		ok(tx.SaveJob(jobs[6]))
		want := seqs([]*sluice.Job{jobs[0], jobs[1], jobs[4], jobs[7]})
		w.equal("all", seqs(must(tx.WaitingOf("main", "f/a/b", 0, 10))), want)
		w.equal("after", seqs(must(tx.WaitingOf("main", "f/a/b", jobs[0].Seq, 2))), want[1:3])
	})
}
