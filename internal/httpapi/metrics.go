package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice"
	"sluice/internal/engine"
	"sluice/internal/store"
)

const scrapeTimeout = 10 * time.Second

// Labels never hold a key, a path, a tag or a workspace: there is no end to
// those.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sluice_"+name, help, labels, nil)
}

var (
	descInfo      = desc("info", "The program that runs, as a label.", "version")
	descJobs      = desc("jobs", "Jobs that have not ended.", "state")
	descWaiting   = desc("jobs_waiting", "Jobs that wait, by what the first job of their line waits for.", "reason")
	descOldest    = desc("oldest_wait_seconds", "How long the first jobs of lines have been due, the longest.", "reason")
	descLate      = desc("start_lateness_seconds", "How much later than possible the newest starts (at most 1,024) came, by share of them.", "quantile")
	descCommit    = desc("commit_latency_seconds", "How long the newest commits (at most 1,024) took, by share of them.", "quantile")
	descLost      = desc("attempts_lost_total", "Executions that ended because their worker was lost.")
	descTaken     = desc("executions_taken_total", "Executions handed to workers.")
	descClockStep = desc("clock_step_seconds", "Largest step of the database's clock that was seen against a clock that never steps.")
	descWorkers   = desc("workers", "Workers that are alive.")
	descPlaces    = desc("places", "Jobs that all workers together can run at once.")
	descStreams   = desc("event_streams", "Event streams that are open.")
	descCommits   = desc("store_commits_total", "Transactions committed.")
	descStmts     = desc("store_statements_total", "SQL statements run.")
	descRows      = desc("store_rows_read_total", "Rows that statements returned.")
)

// collector asks the engine when it is scraped.
type collector struct{ a *API }

// newMetrics returns what serves /metrics, on a registry of its own.
func newMetrics(a *API) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{a}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn)})
}

// Describe is empty: the collector is unchecked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the engine's counters.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(c.a.closed, scrapeTimeout)
	defer cancel()
	m, err := c.a.e.Metrics(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descJobs, err)
		return
	}
	now, err := c.a.e.Now(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descJobs, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge(descInfo, 1, c.a.o.Version)
	jobs := sumCounts(m.Counts)
	gauge(descJobs, float64(jobs.Scheduled), string(sluice.StateScheduled))
	gauge(descJobs, float64(jobs.Queued), string(sluice.StateQueued))
	gauge(descJobs, float64(jobs.Running), string(sluice.StateRunning))
	for reason, w := range waiting(m, now) {
		gauge(descWaiting, float64(w.jobs), string(reason))
		gauge(descOldest, w.oldest.Seconds(), string(reason))
	}
	shares(m.Lateness, func(q string, d time.Duration) { gauge(descLate, d.Seconds(), q) })
	shares(m.Store.CommitLatency, func(q string, d time.Duration) { gauge(descCommit, d.Seconds(), q) })
	gauge(descClockStep, m.Store.ClockStep.Seconds())
	gauge(descStreams, float64(c.a.streams.Load()))
	gauge(descWorkers, float64(m.Workers))
	gauge(descPlaces, float64(m.Places))
	counter(descLost, m.AttemptsLost)
	counter(descTaken, m.Taken)
	counter(descCommits, m.Store.Commits)
	counter(descStmts, m.Store.Statements)
	counter(descRows, m.Store.RowsRead)
}

type waitCount struct {
	jobs   int64
	oldest time.Duration
}

// waiting sums up waiting jobs by reason; every reason that can apply is there.
func waiting(m *engine.Metrics, now time.Time) map[sluice.Reason]*waitCount {
	out := map[sluice.Reason]*waitCount{
		sluice.ReasonScheduled: {}, sluice.ReasonPaused: {}, sluice.ReasonLimit: {},
		sluice.ReasonNoWorker: {}, sluice.ReasonWorkersBusy: {},
	}
	for _, l := range m.Lines {
		out[sluice.ReasonScheduled].jobs += l.Scheduled
		if l.Queued == 0 {
			continue
		}
		w := out[lineReason(l, m.ServedTags)]
		w.jobs += l.Queued
		if !l.OldestDue.IsZero() {
			w.oldest = max(w.oldest, now.Sub(l.OldestDue))
		}
	}
	return out
}

// lineReason is the first reason that applies to the first job of a line.
func lineReason(l store.LineCount, served []string) sluice.Reason {
	switch {
	case l.Paused:
		return sluice.ReasonPaused
	case l.InGroup && !l.Ready:
		return sluice.ReasonLimit
	case !slices.Contains(served, l.Tag):
		return sluice.ReasonNoWorker
	}
	return sluice.ReasonWorkersBusy
}

// shares calls f with the durations below which half, nine tenths, 99 of 100
// and all of them lie.
func shares(durations []time.Duration, f func(quantile string, d time.Duration)) {
	if len(durations) == 0 {
		return
	}
	sorted := slices.Clone(durations)
	slices.Sort(sorted)
	for _, q := range []struct {
		name  string
		share float64
	}{{"0.5", 0.5}, {"0.9", 0.9}, {"0.99", 0.99}, {"1", 1}} {
		i := int(q.share*float64(len(sorted))+0.999999) - 1
		f(q.name, sorted[min(max(i, 0), len(sorted)-1)])
	}
}

func sumCounts(byTag map[string]store.Counts) store.Counts {
	var sum store.Counts
	for _, c := range byTag {
		sum.Scheduled += c.Scheduled
		sum.Queued += c.Queued
		sum.Running += c.Running
	}
	return sum
}
