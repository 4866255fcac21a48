package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/store"
)

// What a job says of itself: labels, a result stream, how far it is.

// readLabels reads a list of labels, at most [sluice.MaxLabels] of them,
// without repetition. ok is false if something in it is no label.
func readLabels(raw json.RawMessage) (labels []string, ok bool) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, false
	}
	ok = true
	for _, e := range list {
		var l string
		if json.Unmarshal(e, &l) != nil || l == "" || len(l) > sluice.MaxLabelBytes || strings.ContainsAny(l, "\n\r\x00") {
			ok = false
			continue
		}
		if slices.Contains(labels, l) {
			continue
		}
		if len(labels) == sluice.MaxLabels {
			return labels, false
		}
		labels = append(labels, l)
	}
	return labels, ok
}

const labelsField = "wm_labels"

// saveLabels gives a job the labels that its result asks for. What is no label
// is left out, and the job's log says so.
func (u *unit) saveLabels(j *sluice.Job, x *sluice.Execution, result json.RawMessage) error {
	if !bytes.Contains(result, []byte(`"`+labelsField+`"`)) {
		return nil
	}
	var asked map[string]json.RawMessage
	if json.Unmarshal(result, &asked) != nil || asked[labelsField] == nil {
		return nil // the words stand elsewhere in the result
	}
	own, ok := readLabels(asked[labelsField])
	all := j.Labels
	for _, l := range own {
		switch {
		case slices.Contains(all, l):
		case len(all) == sluice.MaxLabels:
			ok = false
		default:
			all = append(slices.Clip(all), l)
		}
	}
	if !ok {
		if err := u.note(j, x, "[some of "+labelsField+" were ignored: it must be a list of strings, 1 to 100 bytes each, on one line; at most 32 of them]"); err != nil {
			return err
		}
	}
	if len(all) == len(j.Labels) {
		return nil
	}
	j.Labels = all
	return u.tx.SaveLabels(j.Seq, all)
}

// note adds a line of the server's own to a job's log.
func (u *unit) note(j *sluice.Job, x *sluice.Execution, line string) error {
	end, stored, err := u.tx.LogEnd(j.Seq, x.ID)
	if err != nil || stored >= sluice.MaxLogBytes {
		return err
	}
	return u.tx.AppendLog(j.Seq, x.ID, end, "\n"+line+"\n")
}

// endLog adds to a job's log what was held back of it.
func (u *unit) endLog(j *sluice.Job, x *sluice.Execution) error {
	rest := u.e.handed.ended(x.ID)
	if len(rest) == 0 {
		return nil
	}
	end, stored, err := u.tx.LogEnd(j.Seq, x.ID)
	if err != nil || stored >= sluice.MaxLogBytes {
		return err
	}
	return u.tx.AppendLog(j.Seq, x.ID, end, strings.ToValidUTF8(string(rest), "\uFFFD"))
}

// streamed returns the result of a job that sent a result stream and then
// returned nothing: the text of the stream. A text too long for a result stays
// a stream only.
func (u *unit) streamed(j *sluice.Job, r *sluice.Report) (json.RawMessage, error) {
	if empty := strings.TrimSpace(string(r.Result)); !r.Streamed || empty != "null" && empty != `""` {
		return r.Result, nil
	}
	text, _, err := readStream(u.tx, j.Seq, 0, sluice.MaxStreamBytes)
	if err != nil || text == "" {
		return r.Result, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil || b.Len() > sluice.MaxResultBytes {
		return r.Result, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

func readStream(r store.Reader, seq, from int64, most int) (string, int64, error) {
	parts, err := r.Stream(seq, max(from, 0), most)
	return joinParts(parts, from, err)
}

// progressPace is how often words on progress are stored at most.
const progressPace = time.Second

// progressBook holds the words of jobs on their progress that are not stored yet.
type progressBook struct {
	mu   sync.Mutex
	said map[string]saidProgress // by job id
	kick chan struct{}
}

type saidProgress struct {
	seq     int64
	percent int
}

func newProgressBook() *progressBook {
	return &progressBook{said: map[string]saidProgress{}, kick: make(chan struct{}, 1)}
}

// SetProgress notes how far a running job is, 0 to 100 percent. It is seen at
// once and stored within about a second.
func (e *Engine) SetProgress(ctx context.Context, workspace, id string, percent int) error {
	if percent < 0 || percent > 100 {
		return sluice.Invalid("percent", "must be 0 to 100")
	}
	j, err := view(ctx, e, func(r store.Reader) (*sluice.Job, error) { return jobIn(r, workspace, id) })
	if err != nil {
		return err
	}
	if j.State != sluice.StateRunning {
		return sluice.Errorf(sluice.CodeConflict, "job %s does not run, so it makes no progress", j.ID)
	}
	p := e.progress
	p.mu.Lock()
	p.said[j.ID] = saidProgress{j.Seq, percent}
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
	return nil
}

// Progress returns how far a job is, in percent; nil if it never said.
func (e *Engine) Progress(ctx context.Context, workspace, id string) (*int, error) {
	j, err := view(ctx, e, func(r store.Reader) (*sluice.Job, error) { return jobIn(r, workspace, id) })
	if err != nil {
		return nil, err
	}
	e.progress.bring(j)
	return j.Progress, nil
}

// bring brings a job that was read up to what was said and is not stored yet.
func (p *progressBook) bring(j *sluice.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.said[j.ID]; ok {
		j.Progress = &s.percent
	}
}

// runProgress stores what jobs said until ctx ends.
func (e *Engine) runProgress(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.progress.kick:
		}
		if err := e.SaveProgress(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("store progress", "error", err)
		}
		t := time.NewTimer(progressPace)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// SaveProgress stores what was said since the last time, in one transaction.
// Run calls it, at most once a second.
func (e *Engine) SaveProgress(ctx context.Context) error {
	p := e.progress
	p.mu.Lock()
	said := maps.Clone(p.said)
	p.mu.Unlock()
	err := e.store.Update(ctx, func(tx store.Tx) error {
		for _, s := range said {
			if err := tx.SaveProgress(s.seq, s.percent); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, s := range said {
		if p.said[id] == s {
			delete(p.said, id)
		}
	}
	return nil
}
