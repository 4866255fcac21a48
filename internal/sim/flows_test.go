package sim

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// flowSeeds is how many flow worlds are played unless SLUICE_SIM_SEEDS says
// otherwise.
const flowSeeds = 20

// Flows give the same results whatever happens to servers, workers and calls;
// in the end nothing of them is open, no slot is held, and the checker of the
// history is content.
func TestFlowWorlds(t *testing.T) {
	n := fromEnv(t, "SLUICE_SIM_SEEDS", flowSeeds)
	if slow {
		n = min(n, 4)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				seed := uint64(next.Add(1))
				if seed > uint64(n) || t.Failed() {
					return
				}
				playFlows(t, seed)
			}
		})
	}
	wg.Wait()
}

func playFlows(t *testing.T, seed uint64) {
	calm, err := PlayFlows(InMemory, seed, Crash{}, false)
	if err != nil {
		t.Errorf("seed %d, calm: %v", seed, err)
		return
	}
	same := func(what string, out *FlowOutcome, err error) {
		if err != nil {
			t.Errorf("seed %d, %s: %v", seed, what, err)
		} else if !slices.Equal(out.Results, calm.Results) {
			t.Errorf("seed %d, %s: the results are\n%q\nwithout it\n%q", seed, what, out.Results, calm.Results)
		}
	}
	out, err := PlayFlows(InMemory, seed, Crash{}, true)
	same("in trouble", out, err)
	for call := 1 + int(seed)%7; call <= calm.Calls && !t.Failed(); call += 1 + calm.Calls/6 {
		c := Crash{Call: call, After: (call+int(seed))%2 == 0, Die: call%3 > 0}
		out, err := PlayFlows(InMemory, seed, c, false)
		same(c.String(), out, err)
	}
}

// TestFlowCrashSweep breaks calls all through one world off, before their commit
// and after it; with SLUICE_SIM_SEEDS set, every single call of some worlds.
func TestFlowCrashSweep(t *testing.T) {
	most, seeds := 40, 1
	if n := fromEnv(t, "SLUICE_SIM_SEEDS", 0); n > flowSeeds {
		most, seeds = 1<<20, 5
	}
	if slow {
		most = 8
	}
	for seed := uint64(2); seed < uint64(2+seeds); seed++ {
		calm, err := PlayFlows(InMemory, seed, Crash{}, false)
		if err != nil {
			t.Fatal(err)
		}
		for call := 1; call <= calm.Calls; call += 1 + calm.Calls/most {
			for _, after := range []bool{false, true} {
				c := Crash{Call: call, After: after, Die: true}
				out, err := PlayFlows(InMemory, seed, c, false)
				if err != nil || !slices.Equal(out.Results, calm.Results) {
					t.Fatalf("seed %d, %s: %v\n%+v\nwithout it\n%q", seed, c, err, out, calm.Results)
				}
			}
		}
	}
}
