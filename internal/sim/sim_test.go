package sim

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/internal/history"
)

// seeds is how many worlds are played unless SLUICE_SIM_SEEDS says otherwise:
// half of them under the race detector.
const seeds = 200

// telling are seeds beyond those that have found what few others do: a line
// served out of its turn through another of its group; a job refused because
// of one ahead whose time was up.
var telling = []uint64{8345, 1819}

func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// player plays worlds on two hosts: one in memory, one on a file for the
// worlds that want it. It is for one goroutine.
type player struct {
	t            *testing.T
	memory, file *Host
}

func (p *player) host(o Options) *Host {
	h := &p.memory
	dir := ""
	if o.onFile() {
		h, dir = &p.file, p.t.TempDir()
	}
	if *h != nil && (*h).worlds >= 40 {
		p.close(*h)
		*h = nil
	}
	if *h == nil {
		var err error
		if *h, err = NewHost(dir); err != nil {
			p.t.Error(err)
			return nil
		}
	}
	return *h
}

func (p *player) close(h *Host) {
	if h == nil {
		return
	}
	checkHistory(p.t, h)
	if err := h.Close(); err != nil {
		p.t.Error(err)
	}
}

// play plays a world and tells its story if it fails.
func (p *player) play(o Options) *Outcome {
	h := p.host(o)
	if h == nil {
		return nil
	}
	out, err := h.Play(o)
	if err != nil {
		p.t.Errorf("seed %d: %v", o.Seed, err)
		return nil
	}
	if out.Violation != nil {
		p.t.Error(story(o, out))
		if o.onFile() {
			p.file = nil // a broken world's store is not used again
		} else {
			p.memory = nil
		}
	}
	return out
}

func story(o Options, out *Outcome) string {
	o.Ops = out.Ops
	small, err := Shrink(o, out.Violation.Promise, 120)
	if err != nil {
		return err.Error()
	}
	head := fmt.Sprintf("seed %d (%v) breaks a promise\n  %v\n", o.Seed, o.Crash, out.Violation)
	if small == nil {
		return head + "(it does not fail on a store of its own)"
	}
	return fmt.Sprintf("%scut to %d of %d operations:\n\n%s\n  %v\n", head, len(small.Ops), len(out.Ops), small.Story, small.Violation)
}

// all plays worlds on as many players as there are processors.
func all(t *testing.T, worlds []Options, players int) {
	t.Helper()
	var next, starts, launches, lost, calls, bad atomic.Int64
	var wg sync.WaitGroup
	for range players {
		wg.Go(func() {
			p := &player{t: t}
			for i := next.Add(1) - 1; i < int64(len(worlds)) && bad.Load() < 3; i = next.Add(1) - 1 {
				out := p.play(worlds[i])
				if out == nil || out.Violation != nil {
					bad.Add(1)
					continue
				}
				starts.Add(int64(out.Starts))
				launches.Add(int64(out.Launches))
				lost.Add(int64(out.Lost))
				calls.Add(int64(out.Calls))
			}
			p.close(p.memory)
			p.close(p.file)
		})
	}
	wg.Wait()
	if starts.Load() == 0 || launches.Load() == 0 {
		t.Error("nothing was started, so nothing was proven")
	}
	t.Logf("%d worlds: %d starts, %d launches, %d attempts lost, %d store calls", len(worlds), starts.Load(), launches.Load(), lost.Load(), calls.Load())
}

// TestWorlds plays seeded worlds with faults of every kind.
func TestWorlds(t *testing.T) {
	if one := fromEnv(t, "SLUICE_SIM_SEED", -1); one >= 0 {
		p := &player{t: t}
		out := p.play(Options{Seed: uint64(one), Tell: true})
		t.Log("\n" + out.Story)
		return
	}
	n := seeds
	if slow {
		n = seeds / 2
	}
	worlds := make([]Options, fromEnv(t, "SLUICE_SIM_SEEDS", n))
	for i := range worlds {
		worlds[i].Seed = uint64(i + 1)
	}
	for _, seed := range telling {
		worlds = append(worlds, Options{Seed: seed})
	}
	all(t, worlds, 2)
}

// checkHistory has the checker judge all that the worlds of a host have left.
func checkHistory(t *testing.T, h *Host) {
	report, err := history.Check(ctx, h.Store(), history.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, v := range report.Violations {
		t.Errorf("the checker of histories: %v", v)
	}
}

// TestCrashes plays small worlds again for every call that they make: it is
// broken off before its commit, and after it; by turns the caller gets an
// error or the server dies. A soak plays all four, and more worlds.
func TestCrashes(t *testing.T) {
	soak := fromEnv(t, "SLUICE_SIM_SEEDS", seeds) > seeds
	traces := []uint64{1008, 1018}
	if !slow || soak {
		traces = append(traces, 1001, 1004, 1009, 1020, 1026, 1051)
	}
	var worlds []Options
	for _, seed := range traces {
		o := Options{Seed: seed, Quiet: true, Ops: draw(seed, 10, false)}
		p := &player{t: t}
		out := p.play(o)
		if out == nil || out.Violation != nil {
			return
		}
		p.close(p.memory)
		p.close(p.file)
		t.Logf("seed %d: %d jobs, %d calls", seed, out.Pushes, out.Calls)
		for k := 1; k <= out.Calls; k++ {
			for i, after := range []bool{false, true} {
				die := (k+i+int(seed))%2 == 0
				o.Crash = Crash{Call: k, After: after, Die: die}
				worlds = append(worlds, o)
				if o.Crash.Die = !die; soak {
					worlds = append(worlds, o)
				}
			}
		}
	}
	all(t, worlds, 2)
}
