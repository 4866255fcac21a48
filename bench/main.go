// Command bench measures Sluice against the rule's optimum, against floors
// measured in the same run, against a bare queue in the same process, and on
// PostgreSQL against other Go programs' queues on the same server. It prints a
// table and writes out/bench.json.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// scratch is the folder of the databases: on a local disk, not in memory.
var scratch string

// value is one measured figure of one run. Bound is what it is to be compared
// with, where that is measured too; zero elsewhere.
type value struct {
	Name   string  `json:"name"`
	Got    float64 `json:"got"`
	Bound  float64 `json:"bound"`
	AtMost bool    `json:"at_most"` // reached if Got ≤ Bound, else if Got ≥ Bound
	Unit   string  `json:"unit"`
	Note   string  `json:"note,omitempty"`
}

// row is a benchmark; it gives one or several values a run.
type row struct {
	name  string
	store string // sqlite or postgres
	runs  int    // 0: as many as asked for
	run   func() []value
}

// result is a figure over all runs.
type result struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Median  float64   `json:"median"`
	Low     float64   `json:"low"`
	High    float64   `json:"high"`
	Bound   float64   `json:"bound"`
	AtMost  bool      `json:"at_most"`
	Reached bool      `json:"reached"`
	Runs    []float64 `json:"runs"`
	Note    string    `json:"note,omitempty"`
}

func main() {
	if part := os.Getenv("BENCH_CHILD"); part != "" {
		runChild(part, os.Getenv("BENCH_DIR"))
		return
	}
	runs := flag.Int("runs", 5, "runs of each row")
	name := flag.String("row", "", "run only rows whose name contains this")
	only := flag.String("only", "", "run only rows on this store: sqlite or postgres")
	flag.Float64Var(&loadMinutes, "minutes", 1, "how long the row \"pg load\" lasts; its aim is for 10")
	flag.Float64Var(&share, "share", 1, "take this share of the jobs on PostgreSQL")
	quick := flag.Bool("quick", false, "-share 0.05, to see that all works; the figures mean little")
	flag.BoolVar(&dearest, "statements", false, "print which statements took PostgreSQL longest in each burn-down; this costs a little")
	flag.StringVar(&scratch, "dir", "out/scratch", "folder for databases, on a local disk")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	flag.Parse()
	if *quick {
		share = 0.05
	}
	if *only != "" && *only != onFile && *only != onPostgres {
		fmt.Fprintf(os.Stderr, "bench: -only must be %s or %s\n", onFile, onPostgres)
		os.Exit(2)
	}
	if *profile != "" {
		f := check1(os.Create(*profile))
		check(pprof.StartCPUProfile(f))
		defer pprof.StopCPUProfile()
	}
	defer stopPostgres()
	check(os.MkdirAll(scratch, 0o700))
	scratch = check1(filepath.Abs(scratch))

	fmt.Printf("%d cores, %s, SQLite synchronous=FULL in %s file system, PostgreSQL with fsync; no-op jobs unless said; durations nominal\n", runtime.NumCPU(), runtime.Version(), fileSystem(scratch))
	fmt.Printf("median [low … high] of %d runs; C50, C99: commit latency of the same database in the same run\n\n", *runs)
	fmt.Printf("%-58s %12s  %-22s %12s\n", "figure", "median", "range", "to reach")
	var all []result
	for _, r := range rows {
		if !strings.Contains(r.name, *name) || *only != "" && r.store != *only {
			continue
		}
		all = append(all, measure(r, *runs)...)
	}
	report := map[string]any{
		"at": time.Now().UTC().Format(time.RFC3339), "cores": runtime.NumCPU(), "go": runtime.Version(), "results": all,
	}
	check(os.MkdirAll("out", 0o755))
	check(os.WriteFile("out/bench.json", append(check1(json.MarshalIndent(report, "", "  ")), '\n'), 0o644))
	check(os.RemoveAll(scratch))
}

// measure runs a row and prints its figures.
func measure(r row, runs int) []result {
	if r.runs > 0 {
		runs = min(runs, r.runs)
	}
	var out []result
	for i := range runs {
		for k, v := range r.run() {
			if i == 0 {
				out = append(out, result{Name: v.Name, Unit: v.Unit, AtMost: v.AtMost, Note: v.Note})
			}
			out[k].Runs = append(out[k].Runs, v.Got)
			out[k].Bound += v.Bound / float64(runs)
		}
	}
	for k := range out {
		o := &out[k]
		sorted := slices.Clone(o.Runs)
		slices.Sort(sorted)
		n := len(sorted)
		o.Low, o.Median, o.High = sorted[0], (sorted[(n-1)/2]+sorted[n/2])/2, sorted[n-1]
		o.Reached = o.Median >= o.Bound
		sign := "≥"
		if o.AtMost {
			o.Reached, sign = o.Median <= o.Bound, "≤"
		}
		mark := "ok"
		if !o.Reached {
			mark = "short"
		}
		bound := fmt.Sprintf("%s %.4g %s", sign, o.Bound, mark)
		if o.Bound == 0 && !o.AtMost {
			bound = ""
		}
		fmt.Printf("%-58s %12s  %-22s %12s", o.Name, figure(o.Median, o.Unit), "["+figure(o.Low, "")+" … "+figure(o.High, "")+"]", bound)
		if o.Note != "" {
			fmt.Printf("  %s", o.Note)
		}
		fmt.Println()
	}
	return out
}

func figure(v float64, unit string) string {
	s := fmt.Sprintf("%.3f", v)
	switch {
	case v >= 1000:
		s = fmt.Sprintf("%.0f", v)
	case v >= 100:
		s = fmt.Sprintf("%.1f", v)
	}
	if unit != "" {
		s += " " + unit
	}
	return s
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
