package storetest

import (
	"strings"
	"time"

	"sluice"
	"sluice/internal/store"
)

// labels: they come with the push or later, and find their jobs.
func labels(w *world) {
	list := w.jobs(3, func(i int, j *sluice.Job) {
		j.Labels = [][]string{{"a", "ü 😀"}, nil, {"a"}}[i]
	})
	find := func(r store.Reader, label string) (seqs []int64) {
		for _, j := range must(r.Jobs(store.JobFilter{Workspace: "main", Label: label, OldestFirst: true})) {
			seqs = append(seqs, j.Seq)
		}
		w.equal("count of "+label, must(r.CountJobs(store.JobFilter{Label: label})), int64(len(seqs)))
		return seqs
	}
	w.both(func(r store.Reader) {
		w.equal("pushed", must(r.JobBySeq(list[0].Seq)).Labels, []string{"a", "ü 😀"})
		w.equal("of a", find(r, "a"), []int64{list[0].Seq, list[2].Seq})
		w.equal("of none", find(r, "A"), []int64(nil))
	})
	w.update(func(tx store.Tx) {
		j := must(tx.JobBySeq(list[0].Seq))
		rev := must(tx.MaxRev())
		ok(tx.SaveLabels(j.Seq, []string{"b", "a", "a"}))
		w.equal("changes", len(must(tx.ChangedJobs(rev, 10))), 0)
		w.equal("within the update", must(tx.JobBySeq(j.Seq)).Labels, []string{"b", "a", "a"})
		ok(tx.SaveLabels(list[2].Seq, nil))
		ok(tx.SaveLabels(list[1].Seq, []string{"c"}))
		j.State = sluice.StateRunning
		ok(tx.SaveJob(j))
		w.isErr("no job", tx.SaveLabels(1<<40, []string{"x"}), store.ErrNotFound)
	})
	w.both(func(r store.Reader) {
		w.equal("kept by a save", must(r.JobBySeq(list[0].Seq)).Labels, []string{"b", "a", "a"})
		w.equal("taken away", must(r.JobBySeq(list[2].Seq)).Labels, []string(nil))
		w.equal("of a", find(r, "a"), []int64{list[0].Seq})
		w.equal("of ü", find(r, "ü 😀"), []int64(nil))
		w.equal("of c", find(r, "c"), []int64{list[1].Seq})
	})
	// A push that is refused leaves no label.
	err := w.try(func(tx store.Tx) {
		again := w.job()
		again.Labels = []string{"lost"}
		twice := w.job()
		twice.ID = list[0].ID
		w.isErr("push", tx.InsertJobs([]*sluice.Job{again, twice}), store.ErrExists)
		ok(tx.InsertJobs([]*sluice.Job{w.job(), w.job()}))
	})
	w.equal("error", err, error(nil))
	w.both(func(r store.Reader) { w.equal("of lost", find(r, "lost"), []int64(nil)) })
}

// progress: each word on it is a change to the job.
func progress(w *world) {
	j := w.jobs(1, nil)[0]
	w.both(func(r store.Reader) { w.equal("none", must(r.JobBySeq(j.Seq)).Progress, (*int)(nil)) })
	for _, percent := range []int{0, 100, 7} {
		var rev, drawn int64
		w.update(func(tx store.Tx) {
			rev = must(tx.MaxRev())
			ok(tx.SaveProgress(j.Seq, percent))
			k := must(tx.JobBySeq(j.Seq))
			w.equal("within the update", *k.Progress, percent)
			drawn = k.Rev
			w.isErr("no job", tx.SaveProgress(1<<40, 1), store.ErrNotFound)
		})
		w.readable(drawn)
		w.both(func(r store.Reader) {
			changed := must(r.ChangedJobs(rev, 10))
			if len(changed) != 1 || changed[0].ID != j.ID || *changed[0].Progress != percent {
				w.Errorf("changes after %d %%: %s", percent, show(changed))
			}
			w.equal("newest number", must(r.MaxRev()) >= changed[0].Rev, true)
		})
	}
	w.update(func(tx store.Tx) {
		k := must(tx.JobBySeq(j.Seq))
		k.State, k.Outcome, k.CompletedAt = sluice.StateCompleted, sluice.OutcomeSuccess, tx.Now()
		ok(tx.SaveJob(k))
	})
	w.both(func(r store.Reader) { w.equal("after the end", *must(r.JobBySeq(j.Seq)).Progress, 7) })
}

// streams: as logs, but of one execution.
func streams(w *world) {
	list := w.jobs(2, nil)
	j, k := list[0], list[1]
	read := func(r store.Reader, seq, from int64) string {
		var b strings.Builder
		for _, p := range must(r.Stream(seq, from, 1<<20)) {
			b.WriteString(p.Text)
		}
		return b.String()
	}
	w.update(func(tx store.Tx) {
		ok(tx.AppendLog(j.Seq, 1, 3, "log"))
		ok(tx.AppendStream(j.Seq, 1, 6, "a😀"))
		ok(tx.AppendStream(j.Seq, 1, 9, "bcd"))
		ok(tx.AppendStream(k.Seq, 7, 1, "k"))
		raw, stored, err := tx.StreamEnd(j.Seq, 1)
		ok(err)
		w.equal("ends", []int64{raw, stored}, []int64{9, 8})
		raw, stored, err = tx.StreamEnd(list[0].Seq+1000, 1)
		ok(err)
		w.equal("no stream", []int64{raw, stored}, []int64{0, 0})
	})
	w.both(func(r store.Reader) {
		w.equal("whole", read(r, j.Seq, 0), "a😀bcd")
		w.equal("after the emoji", read(r, j.Seq, 3), "bcd")
		w.equal("log", must(r.Log(j.Seq, 0, 100))[0].Text, "log")
	})
	w.update(func(tx store.Tx) { ok(tx.AppendStream(j.Seq, 2, 3, "new")) })
	w.both(func(r store.Reader) {
		w.equal("of the new attempt", read(r, j.Seq, 0), "new")
		w.equal("of another job", read(r, k.Seq, 0), "k")
	})
	w.update(func(tx store.Tx) {
		raw, _, err := tx.StreamEnd(j.Seq, 1)
		ok(err)
		w.equal("the old end", raw, int64(0))
	})
}

// secrets are saved once.
func secrets(w *world) {
	value := []byte("\x00\xff 😀")
	w.update(func(tx store.Tx) {
		_, err := tx.Secret("a")
		w.isErr("unknown", err, store.ErrNotFound)
		ok(tx.SaveSecret("a", value))
	})
	w.isErr("again", w.try(func(tx store.Tx) { ok(tx.SaveSecret("a", []byte("x"))) }), store.ErrExists)
	w.both(func(r store.Reader) {
		w.equal("value", must(r.Secret("a")), value)
		_, err := r.Secret("A")
		w.isErr("another name", err, store.ErrNotFound)
	})
}

// deleteSaid: what a job said goes with it.
func deleteSaid(w *world) {
	list := w.jobs(2, func(_ int, j *sluice.Job) { j.Labels = []string{"l"} })
	w.update(func(tx store.Tx) {
		for _, j := range list {
			ok(tx.AppendStream(j.Seq, 1, 1, "s"))
		}
		j := must(tx.JobBySeq(list[0].Seq))
		j.State, j.Outcome, j.CompletedAt = sluice.StateCompleted, sluice.OutcomeSuccess, tx.Now()
		ok(tx.SaveJob(j))
	})
	w.clock.Pass(time.Hour)
	w.update(func(tx store.Tx) { must(tx.DeleteJobs(tx.Now(), tx.Now(), 100)) })
	w.both(func(r store.Reader) {
		var seqs []int64
		for _, j := range list {
			if len(must(r.Stream(j.Seq, 0, 10))) > 0 {
				seqs = append(seqs, j.Seq)
			}
		}
		w.equal("streams", seqs, []int64{list[1].Seq})
		w.equal("labelled", must(r.CountJobs(store.JobFilter{Label: "l"})), int64(1))
	})
}
