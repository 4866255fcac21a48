package engine

import (
	"encoding/json"
	"errors"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/store"
	"sluice/limit"
)

// A job of a script with a preprocessor, pushed by a call that asks for it,
// moves in two phases:
//
//	queued, in a line without a group ─▶ running: the preprocessor, in no group
//	    ▲                                  │ lost, handed back
//	    └──────────────────────────────────┤
//	                                       │ reported: arguments, key and place in
//	                                       ▼ line in that one transaction
//	queued, in its group's line, by rank ─▶ running: main, under the limit ─▶ completed
//
// In the first phase it has no key, since that may name arguments that do not
// exist yet. Its limit is fixed by the push like anybody's.

// hasPreprocessor reports whether a script's preprocessor can be run. Other
// languages have no such thing, whatever a push says: their code would run as
// a whole, and without its limit.
func hasPreprocessor(c *compiled) bool {
	return callsPreprocessor(c.row.Language) && isTrue(c.body.Preprocessor)
}

// callsPreprocessor reports whether scripts of a language are called by the name
// of a function.
func callsPreprocessor(language string) bool {
	switch language {
	case "python3", "bun", "deno", "nativets":
		return true
	}
	return false
}

// preprocess puts a job whose call asks for the script's preprocessor in the
// first phase.
func preprocess(c *compiled, j *sluice.Job, n *NewJob) error {
	if n.Event == nil || !hasPreprocessor(c) {
		return nil
	}
	event, err := n.Event()
	if err != nil {
		return err
	}
	j.Phase, j.Args = sluice.PhasePreprocess, event
	return nil
}

// entry returns the function that a job is to call next.
func entry(j *sluice.Job) string {
	if j.Phase == sluice.PhasePreprocess || j.Step == flow.PreprocessorStep && callsPreprocessor(j.Language) {
		return sluice.EntryPreprocessor
	}
	return sluice.EntryMain
}

// preparing reports whether an execution that ends well is the job's
// preprocessor, and what that has made is wanted.
func preparing(j *sluice.Job, x *sluice.Execution) bool {
	return j.Phase == sluice.PhasePreprocess && j.State == sluice.StateRunning && j.Attempt == x.Attempt && j.CanceledBy == ""
}

// prepared takes what a job's preprocessor has made for its arguments: the key
// is resolved from them, and the job takes its place by rank in the line of
// its group. What it would have been refused for when it was pushed it fails
// for now.
func (u *unit) prepared(j *sluice.Job, result json.RawMessage) error {
	fail := func(name, message string) error {
		return u.end(j, sluice.OutcomeFailure, errorResult(name, message, nil))
	}
	c, err := u.e.compiledByHash(u.tx, j.Workspace, j.Hash)
	if errors.Is(err, store.ErrNotFound) {
		return fail("ScriptNotFound", "The version "+j.Hash+" of the script "+j.Path+" is gone.")
	} else if err != nil {
		return err
	}
	return u.madeArgs(j, result, c.limits)
}

// madeArgs makes a result the arguments of a job, under the limit as pushed, or
// as given to those that wait, and the key of its runnable.
func (u *unit) madeArgs(j *sluice.Job, result json.RawMessage, settings limit.Settings) error {
	fail := func(name, message string) error {
		return u.end(j, sluice.OutcomeFailure, errorResult(name, message, nil))
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(result, &object); err != nil || object == nil {
		return fail("InvalidPreprocessorResult", "The preprocessor must return an object with one field per argument of main.")
	}
	most := int64(-1)
	if j.QueueLimit != nil {
		most = *j.QueueLimit
	}
	j.Args, j.Phase, j.QueueLimit = result, sluice.PhasePreprocessed, nil
	if j.Limit != nil {
		settings.Limit = j.Limit
		if err := resolveKey(j, settings); err != nil {
			return fail("InvalidConcurrencyKey", err.Error())
		}
	}
	if err := u.tx.SaveArgs(j); err != nil {
		return err
	}
	return u.takePlace(j, most)
}

// takePlace has a job whose arguments are final wait in the line of its group.
func (u *unit) takePlace(j *sluice.Job, most int64) error {
	var g *group
	if j.HasKey {
		gs, err := u.openKeys([]string{j.Key})
		if err != nil {
			return err
		}
		g = gs[0]
		if j.Step != "" {
			if why, err := u.heldAround(g, j); err != nil || why != nil {
				return errors.Join(err, u.end(j, sluice.OutcomeFailure, why))
			}
		}
		if err := g.admitWaiting(j, most); err != nil {
			return u.end(j, sluice.OutcomeFailure, errorResult("TooManyWaiting", err.Error(), nil))
		}
	}
	l, err := u.lineOf(g, j.Workspace, j.Path, j.LineTag())
	if err != nil {
		return err
	}
	u.now = u.tx.Now()
	j.StartedAt, j.Worker = time.Time{}, ""
	return u.arrive(l, j)
}
