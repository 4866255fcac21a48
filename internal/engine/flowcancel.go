package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/limit"
)

// cancelFlow cancels a flow that runs: all that is open in it is cancelled, and
// it ends when that is gone; with force at once.
func (u *unit) cancelFlow(j *sluice.Job, force bool) error {
	r, err := u.openRun(j.Seq)
	if err != nil {
		return err
	}
	if force {
		if err := u.completeFlow(r, j, sluice.OutcomeCanceled, canceledResult(j)); err != nil {
			return err
		}
		r.force = true
		if err := u.cancelSteps(r, j); err != nil {
			return err
		}
		return u.rest(r)
	}
	if err := u.tx.SaveJob(j); err != nil {
		return err
	}
	if j.Phase == sluice.PhasePreprocess {
		return u.cancelSteps(r, j)
	}
	r.events = append(r.events, flow.Event{Kind: flow.Cancelled})
	u.stir(r)
	return nil
}

// cancelSteps cancels the open jobs that are steps of a flow, and those of
// flows among them, as many as one transaction may. If there are more, the run
// is left to the loop of flows.
func (u *unit) cancelSteps(r *flowRun, j *sluice.Job) error {
	r.left = false
	room := cancelChunk - u.cancelled
	open := []sluice.State{sluice.StateScheduled, sluice.StateQueued, sluice.StateRunning}
	jobs, err := u.tx.Jobs(store.JobFilter{ParentJob: j.ID, Steps: true, States: open, OldestFirst: true, Limit: max(room, 0) + 1})
	if err != nil {
		return err
	}
	by, why := j.CanceledBy, j.CanceledReason
	if by == "" {
		by, why = "the flow", "the flow ended"
	}
	for i, step := range jobs {
		if i >= room {
			r.left = true
			break
		}
		if step.CanceledBy != "" && !r.force {
			continue // it is on its way
		}
		u.cancelled++
		if _, err := u.cancelJob(step, by, why, r.force); err != nil {
			return err
		}
	}
	r.row.Due = r.row.Due || r.left
	return nil
}

// chain are the flows around a step, read when they are asked for.
type chain struct {
	from *sluice.Job
	jobs []*sluice.Job
	read bool
}

// with returns the flows of the chain that hold a slot of a key.
func (c *chain) with(r store.Reader, key string) ([]*sluice.Job, error) {
	for j := c.from; !c.read; {
		c.jobs = append(c.jobs, j)
		if c.read = j.Step == ""; c.read { // what pushed it, if anything, need not wait for it
			break
		}
		outer, err := r.Job(j.ParentJob)
		if errors.Is(err, store.ErrNotFound) {
			c.read = true
			break
		} else if err != nil {
			return nil, err
		}
		j = outer
	}
	var out []*sluice.Job
	for _, j := range c.jobs {
		if j.HasKey && j.Key == key && j.State == sluice.StateRunning && j.Phase != sluice.PhasePreprocess {
			out = append(out, j)
		}
	}
	return out, nil
}

// heldByChain says why a step can never start: the flows around it, which wait
// for it, hold all the slots that its limit leaves it. Nobody else's end could
// help. It is nil if there is no such reason.
func (u *unit) heldByChain(g *group, j *sluice.Job, c *chain) (json.RawMessage, error) {
	in, _ := g.Override.Apply(*j.Limit)
	if in.Mode == limit.Start {
		return nil, nil
	}
	holders, err := c.with(u.tx, j.Key)
	if err != nil || len(holders) < in.N {
		return nil, err
	}
	names := make([]string, len(holders))
	ids := make([]string, len(holders))
	for i, h := range holders {
		ids[i] = h.ID
		names[i] = fmt.Sprintf("%s (job %s)", nameOfFlow(h), h.ID)
	}
	return errorResult("SelfHeldKey", fmt.Sprintf(
		"The step %s needs a slot of the key %q, which allows %s, and the flow that waits for it holds it: %s. It could never start. Give the two different keys, or raise the limit.",
		j.Step, j.Key, in, strings.Join(names, ", ")), map[string]any{"key": j.Key, "step": j.Step, "holders": ids, limit.FieldN: in.N}), nil
}

// heldAround is heldByChain for a step that is there already.
func (u *unit) heldAround(g *group, j *sluice.Job) (json.RawMessage, error) {
	outer, err := u.tx.Job(j.ParentJob)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return u.heldByChain(g, j, &chain{from: outer})
}

func flowIsGone(j *sluice.Job) string {
	return fmt.Sprintf("The flow %s is gone. Push it again and run it anew.", nameOfFlow(j))
}

func nameOfFlow(j *sluice.Job) string {
	if j.Path == "" {
		return "a preview"
	}
	return j.Path
}
