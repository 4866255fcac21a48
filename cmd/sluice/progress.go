package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	redrawEvery = 100 * time.Millisecond
	barWidth    = 30
)

// progress draws a bar on a terminal while something takes long. Without a
// terminal it draws nothing. It is for one goroutine.
type progress struct {
	w     io.Writer // nil: draws nothing
	now   func() time.Time
	label string
	total int64
	begun time.Time
	drawn time.Time
	shown bool
}

func (a *app) progress(label string, total int64) *progress {
	p := &progress{now: a.now, label: label, total: total, begun: a.now()}
	if a.live {
		p.w = a.err
	}
	return p
}

// set draws how much is done, now and then.
func (p *progress) set(done int64, note string) {
	now := p.now()
	if p.w == nil || (p.shown && done < p.total && now.Sub(p.drawn) < redrawEvery) {
		return
	}
	p.drawn, p.shown = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.line(done, now, note))
}

func (p *progress) line(done int64, now time.Time, note string) string {
	share := 1.0
	if p.total > 0 {
		share = float64(done) / float64(p.total)
	}
	full := int(share * barWidth)
	s := fmt.Sprintf("%s %s%s %3.0f %%  %s of %s", p.label, strings.Repeat("█", full), strings.Repeat("░", barWidth-full),
		share*100, grouped(done), grouped(p.total))
	if past := now.Sub(p.begun); done > 0 && done < p.total && past > time.Second {
		s += "  " + brief(time.Duration(float64(past)*(1-share)/share)) + " left"
	}
	if note != "" {
		s += "  " + note
	}
	return s
}

// say draws a line that the next one replaces.
func (p *progress) say(text string) {
	if p.w == nil {
		return
	}
	p.shown = true
	fmt.Fprintf(p.w, "\r\x1b[K%s", clean(text))
}

// done wipes what was drawn.
func (p *progress) done() {
	if p.w != nil && p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
