package storetest

import (
	"strings"
	"time"
	"unicode/utf16"

	"sluice"
	"sluice/internal/store"
	"sluice/limit"
)

func logs(w *world) {
	j, k := w.jobs(1, nil)[0], w.jobs(1, nil)[0]
	texts := []string{"plain\n", "é😀\n", "", "€uro 😀😀\n"}
	var whole string
	for i, text := range texts {
		whole += text
		w.update(func(tx store.Tx) {
			ok(tx.AppendLog(j.Seq, int64(1+i/2), int64(100*(i+1)), text))
			raw, stored, err := tx.LogEnd(j.Seq, int64(1+i/2))
			ok(err)
			w.equal("raw end", raw, int64(100*(i+1)))
			w.equal("stored", stored, int64(len(whole)))
		})
	}
	w.update(func(tx store.Tx) {
		raw, stored, err := tx.LogEnd(j.Seq, 1)
		ok(err)
		w.equal("raw end of the first execution", []int64{raw, stored}, []int64{200, int64(len(whole))})
		raw, stored, err = tx.LogEnd(k.Seq, 1)
		ok(err)
		w.equal("no log", []int64{raw, stored}, []int64{0, 0})
		ok(tx.AppendLog(k.Seq, 9, 5, "other"))
	})
	units := utf16.Encode([]rune(whole))
	w.both(func(r store.Reader) {
		for from := range len(units) + 2 {
			w.equal("text", readLog(w, r, j.Seq, int64(from), 1000), textFrom(whole, from))
		}
		for most := 1; most < 12; most++ {
			var got strings.Builder
			for at := int64(0); at < int64(len(units)); {
				parts := must(r.Log(j.Seq, at, most))
				size := 0
				for _, p := range parts {
					got.WriteString(p.Text)
					size += len(p.Text)
				}
				if len(parts) == 0 || size > max(most, 4) {
					w.Fatalf("asked for %d bytes from %d: got %+v", most, at, parts)
				}
				at = parts[len(parts)-1].EndsUTF16
			}
			w.equal("piecewise", got.String(), whole)
		}
	})
}

// readLog reads a log from a position and checks that the parts join up.
func readLog(w *world, r store.Reader, seq, from int64, most int) string {
	var got strings.Builder
	parts := must(r.Log(seq, from, most))
	for i, p := range parts {
		if i > 0 && (p.Offset != parts[i-1].EndsOffset || p.UTF16 != parts[i-1].EndsUTF16) {
			w.Errorf("part %d begins at %d/%d, the one before ends at %d/%d", i, p.Offset, p.UTF16, parts[i-1].EndsOffset, parts[i-1].EndsUTF16)
		}
		if n := int64(len(p.Text)); p.EndsOffset != p.Offset+n || p.EndsUTF16 != p.UTF16+int64(len(utf16.Encode([]rune(p.Text)))) || p.EndsUTF16 <= from {
			w.Errorf("part %+v is not as long as it says", p)
		}
		text := p.Text
		for p.UTF16 < from { // a driver may return more of the first part
			n := len(string([]rune(text)[:1]))
			p.UTF16 += int64(len(utf16.Encode([]rune(text[:n]))))
			if p.UTF16 > from {
				break // the position splits this rune
			}
			text = text[n:]
		}
		got.WriteString(text)
	}
	return got.String()
}

// textFrom returns what follows a position in UTF-16 code units, from the rune
// that it splits on.
func textFrom(text string, from int) string {
	at := 0
	for i, r := range text {
		n := len(utf16.Encode([]rune{r}))
		if at+n > from {
			return text[i:]
		}
		at += n
	}
	return ""
}

// logCuts stores and reads a log of many megabytes.
func logCuts(w *world) {
	j := w.jobs(1, nil)[0]
	text := strings.Repeat("0123456789 😀 line\n", 100_000)
	w.update(func(tx store.Tx) { ok(tx.AppendLog(j.Seq, 1, int64(len(text)), text)) })
	w.view(func(r store.Reader) {
		w.equal("all", readLog(w, r, j.Seq, 0, len(text)) == text, true)
		end := len(utf16.Encode([]rune(text)))
		w.equal("tail", readLog(w, r, j.Seq, int64(end-5), 1000), "line\n")
		part := readLog(w, r, j.Seq, int64(end/2), 10_000)
		if len(part) > 10_000 || len(part) < 9_000 || !strings.HasPrefix(textFrom(text, end/2), part) {
			w.Errorf("a piece from the middle has %d bytes", len(part))
		}
	})
}

func deleteJobs(w *world) {
	base := w.clock.Wall()
	jobs := w.jobs(8, func(i int, j *sluice.Job) {
		if i == 5 {
			j.DeleteAfter = time.Hour
		}
		if i == 1 {
			j.Args = []byte(`"` + strings.Repeat("x", 10_000) + `"`)
		}
	})
	w.update(func(tx store.Tx) {
		for i, j := range jobs[:6] {
			j.State, j.Outcome, j.CompletedAt = sluice.StateCompleted, sluice.OutcomeSuccess, base.Add(time.Duration(i)*time.Second)
			if i == 4 { // which nobody knew when it was pushed
				j.DeleteAfter = 0
			}
			ok(tx.SaveJob(j))
			ok(tx.SaveResult(j.Seq, []byte("1")))
			ok(tx.AppendLog(j.Seq, 1, 1, "x"))
		}
	})
	drop := func(now, before time.Time, left ...int) {
		for range 100 {
			var n int
			w.update(func(tx store.Tx) { n = must(tx.DeleteJobs(now, before, 3)) })
			if n > 6 { // a job's last rows go together
				w.Errorf("deleted %d rows at once", n)
			}
			if n == 0 {
				break
			}
		}
		var want []*sluice.Job
		for _, i := range left {
			want = append(want, jobs[i])
		}
		w.both(func(r store.Reader) {
			w.equal("left", seqs(must(r.Jobs(store.JobFilter{OldestFirst: true}))), seqs(want))
		})
	}
	drop(base, base, 0, 1, 2, 3, 4, 5, 6, 7)
	drop(base.Add(3*time.Second), base.Add(2*time.Second), 2, 3, 4, 5, 6, 7)
	drop(base.Add(5*time.Second), base, 2, 3, 5, 6, 7)
	drop(base.Add(time.Hour+5*time.Second), base, 2, 3, 6, 7)
	drop(base.Add(time.Hour), base.Add(time.Hour), 6, 7)
	w.update(func(tx store.Tx) {
		_, err := tx.Job(jobs[0].ID)
		w.isErr("job", err, store.ErrNotFound)
		w.equal("result", must(tx.Result(jobs[0].Seq)) == nil, true)
		w.equal("log", len(must(tx.Log(jobs[0].Seq, 0, 10))), 0)
		again := w.job()
		again.ID = jobs[0].ID
		ok(tx.InsertJobs([]*sluice.Job{again}))
	})
}

// sweepExecutions deletes what is older than a minute until nothing more goes.
func sweepExecutions(w *world, most int) (deleted int) {
	for idle := 0; idle < 3; {
		var n int
		w.update(func(tx store.Tx) { n = must(tx.DeleteExecutions(tx.Now(), time.Minute, most)) })
		if n > most {
			w.Errorf("deleted %d rows, asked for at most %d", n, most)
		}
		if deleted += n; n == 0 {
			idle++
		}
	}
	return deleted
}

func deleteExecutions(w *world) {
	short, long := w.group("short"), w.group("long")
	w.update(func(tx store.Tx) {
		g := must(tx.GroupByID(long.ID))
		g.MaxWindow = time.Hour
		ok(tx.SaveGroup(g))
	})
	var list []*sluice.Execution
	for i := range 6 {
		g := []*store.Group{short, long, nil}[i%3]
		e := w.run(g, "w")
		w.clock.Pass(time.Second)
		w.end(e, sluice.EndReported)
		list = append(list, e)
	}
	struck := w.run(short, "w")
	w.end(struck, sluice.EndStruck)
	w.equal("too early", sweepExecutions(w, 2), 0)
	w.clock.Pass(time.Minute)
	held := w.run(short, "w")
	w.equal("deleted", sweepExecutions(w, 2), 5)
	w.both(func(r store.Reader) {
		w.equal("left", executionIDs(must(r.History(0, 0, 100))), executionIDs([]*sluice.Execution{list[1], list[4], held}))
		g := must(r.GroupByID(short.ID))
		w.equal("trimmed", []int64{g.TrimmedReleases, g.TrimmedLaunches, g.TrimmedOrder}, []int64{2, 2, 3})
		w.equal("trimmed at", g.TrimmedAt, list[3].ReleasedAt)
		g = must(r.GroupByID(long.ID))
		w.equal("not trimmed", []int64{g.TrimmedReleases, g.TrimmedLaunches, g.TrimmedOrder}, []int64{0, 0, 0})
	})
	w.clock.Pass(time.Hour)
	w.equal("deleted later", sweepExecutions(w, 100), 2)
}

// deleteExecutionsHeld trims around an execution that is held for long: what
// the group says of its history must stay true.
func deleteExecutionsHeld(w *world) {
	g := w.group("g")
	first := w.run(g, "w")
	w.confirm(first) // launch 1, held on
	for range 3 {
		e := w.run(g, "w")
		w.clock.Pass(time.Second)
		w.end(e, sluice.EndReported) // launches 2 to 4, releases 1 to 3
	}
	w.clock.Pass(time.Hour)
	recent := w.run(g, "w")
	w.end(recent, sluice.EndReported)
	w.equal("deleted", sweepExecutions(w, 10), 3)
	w.both(func(r store.Reader) {
		g := must(r.GroupByID(g.ID))
		for _, series := range []struct {
			s       limit.Series
			trimmed int64
			newest  int64
		}{{limit.Launches, g.TrimmedLaunches, g.Launched}, {limit.Releases, g.TrimmedReleases, g.Released}} {
			for no := int64(1); no <= series.newest; no++ {
				at, err := r.Instant(g.ID, series.s, no)
				switch {
				case no > series.trimmed && err != nil:
					w.Errorf("%s %d is above what was trimmed, and gone: %v", series.s, no, err)
				case no <= series.trimmed && err == nil && at.After(g.TrimmedAt):
					w.Errorf("%s %d happened at %v, after TrimmedAt %v", series.s, no, at, g.TrimmedAt)
				}
			}
		}
		w.equal("held", executionIDs(must(r.HeldExecutions(g.ID, 10))), []int64{first.ID})
	})
}

func deleteGroups(w *world) {
	far := w.clock.Wall().Add(24 * time.Hour)
	idle, waiting, ran, paused, limited, told, jobbed := w.group("idle"), w.group("waiting"), w.group("ran"), w.group("paused"),
		w.group("limited"), w.group("told"), w.group("jobbed")
	lined := w.group("lined")
	e := w.run(ran, "w")
	w.end(e, sluice.EndReported)
	w.line(lined.ID, "bash")
	w.jobs(1, func(_ int, j *sluice.Job) { j.Key, j.HasKey = "jobbed", true })
	w.update(func(tx store.Tx) {
		waiting.Waiting = 1
		paused.Pause.Paused = true
		limited.Override.N = ptr(1)
		for _, g := range []*store.Group{waiting, paused, limited} {
			ok(tx.SaveGroup(g))
		}
		ok(tx.AddGroupEvent(&store.GroupEvent{GroupID: told.ID, At: far.Add(time.Second), Kind: store.EventClear}))
		ok(tx.AddGroupEvent(&store.GroupEvent{GroupID: idle.ID, At: far.Add(-time.Second), Kind: store.EventClear}))
	})
	deleted := 0
	for range 20 {
		w.update(func(tx store.Tx) { deleted += must(tx.DeleteGroups(far, 1)) })
	}
	w.equal("deleted", deleted, 1)
	w.both(func(r store.Reader) {
		_, err := r.Group("idle")
		w.isErr("idle", err, store.ErrNotFound)
		for _, g := range []*store.Group{waiting, ran, paused, limited, told, jobbed, lined} {
			must(r.GroupByID(g.ID))
		}
		w.equal("events", len(must(r.GroupEvents(idle.ID, 0, 10))), 0)
	})
	again := w.group("idle")
	if again.ID <= lined.ID {
		w.Errorf("a new group has the old id %d", again.ID)
	}
}
