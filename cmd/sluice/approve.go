package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sluice"
	"sluice/client"
)

// decision is what approving and disapproving have in common.
type decision struct {
	ID   string `arg:"" help:"Id of the flow's job, or of the step's where several wait."`
	Data string `help:"A JSON value that the steps after it see as resume." short:"d" placeholder:"JSON"`
	remote
	output
}

type (
	jobsApproveCmd    struct{ decision }
	jobsDisapproveCmd struct{ decision }
)

// Run approves.
func (d *jobsApproveCmd) Run(ctx context.Context, a *app) error {
	return d.carryOut(ctx, a, (*client.Client).Approve, "Approved", "approved")
}

// Run disapproves.
func (d *jobsDisapproveCmd) Run(ctx context.Context, a *app) error {
	return d.carryOut(ctx, a, (*client.Client).Disapprove, "Disapproved", "disapproved")
}

func (d *decision) carryOut(ctx context.Context, a *app, do func(*client.Client, context.Context, string, json.RawMessage) error, said, field string) error {
	if d.Data != "" && !json.Valid([]byte(d.Data)) {
		return sluice.Invalid("--data", "must be a JSON value; put texts in quotes")
	}
	c, err := d.connect(a)
	if err != nil {
		return err
	}
	if err := do(c, ctx, d.ID, json.RawMessage(d.Data)); err != nil {
		return err
	}
	return a.done(d.JSON, said+" "+clean(d.ID)+".", map[string]string{field: d.ID})
}

// lookedInto bounds the parts of a flow in which approvals are looked for.
const lookedInto = 20

// showApprovals says which steps of a flow wait for approvals, those of its
// parts included.
func (a *app) showApprovals(ctx context.Context, c *client.Client, j *client.Job, now time.Time) error {
	parts := []*client.Job{j}
	for i := 0; i < len(parts); i++ {
		f := parts[i].FlowStatus
		if f == nil || parts[i].Completed() {
			continue
		}
		for k := range f.Modules {
			m := &f.Modules[k]
			if m.Needed != nil {
				a.sayApproval(m, parts[i].ID, now)
				continue
			}
			if m.Type == "Success" || m.Type == "Failure" {
				continue
			}
			ids := m.Jobs
			if len(ids) == 0 && m.Job != "" {
				ids = []string{m.Job}
			}
			for n := max(0, len(ids)-lookedInto); n < len(ids) && len(parts) < lookedInto; n++ {
				part, err := c.Job(ctx, ids[n])
				if err != nil {
					return err
				}
				parts = append(parts, part)
			}
		}
	}
	return nil
}

// sayApproval says what a step waits for, and what would end that.
func (a *app) sayApproval(m *client.ModuleStatus, flow string, now time.Time) {
	s := fmt.Sprintf("Step %s waits for approvals: it has %d of %d", clean(m.ID), len(m.Approvers), *m.Needed)
	for i, who := range m.Approvers {
		if who.Name == "" {
			continue
		}
		if i == 0 {
			s += ", from "
		} else {
			s += " and "
		}
		s += clean(who.Name)
	}
	if m.Until != nil {
		s += fmt.Sprintf(". It waits until %s", a.when(*m.Until, now))
	} else {
		s += ". It waits for as long as it takes"
	}
	id := m.Job
	if id == "" {
		id = flow
	}
	writeWrapped(a.out, a.width, s+".")
	fmt.Fprintf(a.out, "Approve it: sluice jobs approve %s\n", clean(id))
}
