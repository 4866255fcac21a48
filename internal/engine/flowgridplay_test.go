package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/flow"
	"sluice/internal/engine"
	"sluice/internal/store"
)

// gridEvaluator knows the few expressions of the grid that are no plain paths.
func gridEvaluator(t *testing.T) engine.Evaluator {
	return &evaluator{say: func(expr string, over map[string]json.RawMessage) engine.ExprValue {
		var v struct {
			N float64 `json:"n"`
		}
		var e struct {
			Name string `json:"name"`
		}
		switch expr {
		case "flow_input.n + 1":
			if err := json.Unmarshal(over["flow_input"], &v); err != nil {
				return engine.ExprValue{Error: err.Error()}
			}
			return engine.ExprValue{Value: json.RawMessage(strconv.Itoa(int(v.N) + 1))}
		case `error.name === "Flaky"`:
			if err := json.Unmarshal(over["error"], &e); err != nil {
				return engine.ExprValue{Error: err.Error()}
			}
			return engine.ExprValue{Value: json.RawMessage(strconv.FormatBool(e.Name == "Flaky"))}
		}
		t.Errorf("the grid knows no expression %q", expr)
		return engine.ExprValue{Error: "not known"}
	}}
}

// gridPlay is one cell while it is played.
type gridPlay struct {
	*world
	column string
	runs   []string
	ended  []bool
	fails  []string // names of the errors of the next steps
	all    string   // the error of all steps
	hangs  bool     // steps go on until they are stopped
	done   int      // steps of the kind that have run
	ran    []sluice.Assignment
	said   []string
}

// arguments of every run of the grid.
const gridArgs = `{"n":1,"yes":true}`

// cell plays a column on a kind, and tells what happened.
func (c *gridColumn) cell(w *world, k gridKind) string {
	w.t.Helper()
	path := "f/" + c.name + "/" + strings.ReplaceAll(k.name, " ", "_")
	body := c.body(w.t, k, path)
	if _, err := w.SaveFlow(w.ctx(), "main", engine.NewFlow{Body: body, EditedBy: "admin"}); err != nil {
		return "refused: " + err.Error()
	}
	p := &gridPlay{world: w, column: c.name}
	for _, name := range engine.InertFlowFields(body) {
		p.say("warned of " + name)
	}
	p.t.Helper()
	for _, verb := range c.play {
		p.verb(strings.Fields(verb), path)
	}
	for i, id := range p.runs { // nothing of a cell is left to the next
		if !p.ended[i] {
			p.say("open" + p.awaits(id))
			_, err := w.Cancel(w.ctx(), "main", []string{id}, "admin", "", true)
			w.must(err)
			w.moveFlows()
		}
	}
	return strings.Join(p.said, " → ")
}

func (p *gridPlay) say(s string) { p.said = append(p.said, s) }

// verb plays one verb:
//
//	run [N]           pushes runs, in one call each
//	call              pushes a run as somebody would who has an event for the preprocessor
//	fail NAME... [*]  the next steps of the kind fail with these errors; with * all do with the last
//	hang              steps of the kind run until they are stopped, or for as long as they may
//	work              runs all that there is, and lets time pass, to the end
//	now               runs all that there is, and lets no time pass
//	approve, disapprove
//	left              which steps are kept after a second
func (p *gridPlay) verb(words []string, path string) {
	p.t.Helper()
	switch words[0] {
	case "run":
		n := 1
		if len(words) > 1 {
			n, _ = strconv.Atoi(words[1])
		}
		for range n {
			p.runs, p.ended = append(p.runs, p.runFlow(path, args(gridArgs))), append(p.ended, false)
			if j := p.job(p.runs[len(p.runs)-1]); j.HasKey && strings.HasSuffix(p.column, "_key") {
				p.say("key " + j.Key)
			}
		}
	case "call":
		p.runs, p.ended = append(p.runs, p.runFlow(path, event)), append(p.ended, false)
	case "fail":
		p.fails = words[1:]
		if n := len(words) - 1; words[n] == "*" {
			p.fails, p.all = nil, words[n-1]
		}
	case "hang":
		p.hangs = true
	case "work":
		p.works(true)
	case "now":
		p.works(false)
	case "approve", "disapprove":
		p.say(words[0])
		err := p.Approve(p.ctx(), &engine.Approval{Workspace: "main", JobID: p.runs[0], User: "boss", Owned: true, Refused: words[0] == "disapprove"})
		if err != nil {
			p.say("(" + err.Error()[:strings.Index(err.Error(), p.runs[0])] + "…)")
		}
	case "left":
		p.clock.advance(time.Second)
		p.clean()
		var ids []string
		for _, a := range p.ran {
			if _, err := p.Job(p.ctx(), "main", a.JobID, false, false); err == nil {
				ids = append(ids, a.FlowStep)
			} else if sluice.CodeOf(err) != sluice.CodeNotFound {
				p.t.Fatal(err)
			}
		}
		p.say("left: " + strings.Join(ids, " "))
	default:
		p.t.Fatalf("no verb %q", words)
	}
}

// works runs steps until there are none. Steps that begin together are told
// with + between them.
func (p *gridPlay) works(on bool) {
	p.t.Helper()
	for range 200 {
		got := p.take("w1", 100)
		if len(got) == 0 {
			p.moveFlows()
			got = p.take("w1", 100)
		}
		if len(got) > 0 {
			p.took(got)
		}
		p.tellEnds()
		if !slices.Contains(p.ended, false) || len(got) == 0 && (!on || !p.pass()) {
			return
		}
	}
	p.t.Fatal("it does not end")
}

// took tells which steps begin, and ends them.
func (p *gridPlay) took(got []sluice.Assignment) {
	p.t.Helper()
	var words []string
	var reports []sluice.Report
	for _, a := range got {
		success, result := true, fmt.Sprintf("%q", a.FlowStep)
		if !strings.Contains(" a z failure preprocessor ", " "+a.FlowStep+" ") {
			success, result = p.outcome(&a)
		}
		if a.FlowStep == "preprocessor" {
			result = `{"n":5,"yes":true}`
		}
		words = append(words, p.words(&a, success, result))
		reports = append(reports, sluice.Report{
			Execution: a.Execution, Worker: "w1", Success: success, Launched: true, Result: json.RawMessage(result),
		})
		if a.FlowStep == "z" && p.column == "early_return" {
			p.early()
		}
	}
	p.say(strings.Join(words, " + "))
	if p.hangs && !reports[0].Success {
		p.endure(got)
	}
	p.ran = append(p.ran, got...)
	p.must(errors.Join(p.Report(p.ctx(), reports)...))
}

// outcome is what a step of the kind makes: {"its id": how many have run}, and
// that it is the last from the second on, which ends the whileloopflow.
func (p *gridPlay) outcome(a *sluice.Assignment) (bool, string) {
	p.done++
	why := p.all
	if len(p.fails) > 0 {
		why, p.fails = p.fails[0], p.fails[1:]
	}
	switch {
	case p.hangs:
		return false, `{"error":{"name":"ExecutionTimeout","message":"stopped"}}`
	case why != "":
		return false, fmt.Sprintf(`{"error":{"name":%q,"message":"no"}}`, why)
	case p.done >= 2:
		return true, fmt.Sprintf(`{%q:%d,"last":true}`, a.FlowStep, p.done)
	}
	return true, fmt.Sprintf(`{%q:%d}`, a.FlowStep, p.done)
}

// words tells of a step that begins.
func (p *gridPlay) words(a *sluice.Assignment, success bool, result string) string {
	s := a.FlowStep
	if len(p.runs) > 1 {
		for i, id := range p.runs {
			if a.RootJob == id {
				s = strconv.Itoa(i+1) + s
			}
		}
	}
	if string(a.Args) != "{}" {
		s += string(a.Args)
	}
	if a.Timeout != 0 {
		s += " (for " + a.Timeout.String() + ")"
	}
	switch {
	case strings.HasSuffix(p.column, "priority"):
		if j := p.job(a.JobID); j.Priority != 0 {
			s += fmt.Sprintf(" (priority %d)", j.Priority)
		}
	case strings.HasSuffix(p.column, "_key"):
		if j := p.job(a.JobID); j.HasKey {
			s += " (key " + j.Key + ")"
		}
	}
	if !success {
		s += " fails: " + failedWith(result)
	}
	return s
}

func failedWith(result string) string {
	var r struct {
		Error struct{ Name, Message string } `json:"error"`
	}
	if json.Unmarshal([]byte(result), &r) != nil || r.Error.Name == "" {
		return result
	}
	return r.Error.Name
}

// endure lets time pass until steps that run are to be stopped.
func (p *gridPlay) endure(got []sluice.Assignment) {
	p.t.Helper()
	p.confirm("w1", got...)
	for s := range 20 {
		p.clock.advance(time.Second)
		p.moveFlows()
		stopped := p.beat("w1", p.takes, got...)
		if len(stopped) > 0 || got[0].Timeout > 0 && got[0].Timeout <= time.Duration(s+1)*time.Second {
			p.say(fmt.Sprintf("+%ds", s+1))
			return
		}
	}
	p.say("+20s, and nothing stops it")
}

// early tells what a caller gets who waits for the result, before z has ended.
func (p *gridPlay) early() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx(), 5*time.Second)
	defer cancel()
	j, err := p.AwaitResult(ctx, "main", p.runs[0])
	p.must(err)
	p.say("early " + string(j.Result))
}

// tellEnds tells which runs have ended since.
func (p *gridPlay) tellEnds() {
	p.t.Helper()
	for i, id := range p.runs {
		if p.ended[i] {
			continue
		}
		j := p.job(id)
		if j.State != sluice.StateCompleted {
			continue
		}
		p.ended[i] = true
		s := string(j.Outcome) + " " + string(j.Result)
		if j.Outcome == sluice.OutcomeFailure {
			s = string(j.Outcome) + " " + failedWith(string(j.Result))
		}
		if len(p.runs) > 1 {
			s = strconv.Itoa(i+1) + " " + s
		}
		p.say(s)
	}
}

// pass lets time pass until something is due, and tells how much. It reports
// whether something may be.
func (p *gridPlay) pass() bool {
	p.t.Helper()
	var d time.Duration
	open, err := p.Jobs(p.ctx(), store.JobFilter{States: []sluice.State{sluice.StateQueued, sluice.StateScheduled}})
	p.must(err)
	now, err := p.Now(p.ctx())
	p.must(err)
	for _, j := range open {
		at := j.ScheduledFor.Sub(now)
		if j.State == sluice.StateQueued {
			at = time.Second // it waits for its limit, or for its time to run out
		}
		d = cmp.Or(min(cmp.Or(d, at), at), d)
	}
	next, err := p.MoveFlows(p.ctx())
	p.must(err)
	if next > 0 {
		d = min(cmp.Or(d, next), next)
	}
	if d <= 0 {
		return false
	}
	p.clock.advance(d)
	last := p.said[len(p.said)-1]
	var before int
	if n, _ := fmt.Sscanf(last, "+%ds", &before); n == 1 && len(open) > 0 && open[0].State == sluice.StateQueued {
		p.said = p.said[:len(p.said)-1]
		d += time.Duration(before) * time.Second
	}
	p.say(fmt.Sprintf("+%ds", d/time.Second))
	return true
}

// awaits tells what a run that goes on waits for.
func (p *gridPlay) awaits(id string) string {
	v, err := p.FlowView(p.ctx(), "main", id)
	p.must(err)
	for _, m := range v.Modules {
		if m.Status == flow.WaitingForEvents {
			return fmt.Sprintf(": %d of %d approvals of %s", len(m.Resumes), m.Wait.Required, m.ID)
		}
	}
	return ""
}
