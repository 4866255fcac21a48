// Package cron says when a schedule is due, in Windmill's form of cron. It is
// pure but for the time zone database, which is part of the program.
//
// A pattern has six fields: second, minute, hour, day of month, month, day of
// week; with five the second is 0, and a seventh names years. Fields take *, ?,
// lists, ranges, steps, names of months and days, L and W in days of the month,
// # and L in days of the week. Days of the week count from Sunday, which is 0
// and 7. If day of month and day of week are both given, both must hold.
//
// Times are those of a wall clock in the schedule's zone. One that a change to
// summer time leaves out is due right after the gap; one that a change back
// repeats is due once, the first time, unless the hour is left open (*).
package cron

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that zones are known wherever the program runs

	"github.com/netresearch/go-cron"
)

// MaxSpec bounds the length of a pattern.
const MaxSpec = 200

const fields = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Extended

var parsers = map[int]cron.Parser{
	5: cron.MustNewParser(fields),
	6: cron.MustNewParser(cron.Second | fields),
	7: cron.MustNewParser(cron.Second | fields | cron.Year),
}

// Schedule is a pattern in a time zone. It is immutable.
type Schedule struct {
	s       cron.Schedule
	zone    *time.Location
	anyHour bool
}

// Parse reads a pattern and the IANA name of a time zone ("" is UTC). version
// "v1" counts days of the week from 1, which is Sunday, as Windmill once did;
// "" and "v2" as above. The error says what is wrong, for people.
func Parse(spec, zone, version string) (*Schedule, error) {
	loc, err := Zone(zone)
	if err != nil {
		return nil, err
	}
	if len(spec) > MaxSpec {
		return nil, fmt.Errorf("has %d characters; at most %d are allowed", len(spec), MaxSpec)
	}
	f := strings.Fields(spec)
	p, ok := parsers[len(f)]
	if !ok {
		return nil, fmt.Errorf("must have six fields (second minute hour day-of-month month day-of-week), such as \"0 30 9 * * MON-FRI\"; it has %d", len(f))
	}
	hour, dow := len(f)-4, len(f)-1
	switch len(f) {
	case 6:
		hour, dow = 2, 5
	case 7:
		hour, dow = 2, 5
	}
	switch version {
	case "", "v2":
	case "v1":
		f[dow] = fromOne(f[dow])
	default:
		return nil, fmt.Errorf("cron_version must be \"v1\" or \"v2\", not %q", version)
	}
	s, err := p.Parse(strings.Join(f, " "))
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "cron: "))
	}
	return &Schedule{s: s, zone: loc, anyHour: strings.ContainsAny(f[hour], "*?")}, nil
}

// Zone returns a time zone by its IANA name; "" is UTC.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New("must name a time zone, such as Europe/Berlin")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone; use a name such as Europe/Berlin or UTC", name)
	}
	return loc, nil
}

var number = regexp.MustCompile(`[/#]?\d+`)

// fromOne turns days of the week that count from 1 into those that count from 0.
func fromOne(field string) string {
	return number.ReplaceAllStringFunc(field, func(s string) string {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 7 { // a step, or nonsense that the parser refuses
			return s
		}
		return strconv.Itoa(n - 1)
	})
}

// Next returns the first instant after another at which the schedule is due,
// in UTC; zero: never again.
func (s *Schedule) Next(after time.Time) time.Time {
	for t := after; ; {
		t = s.s.Next(t.In(s.zone))
		if t.IsZero() {
			return t
		}
		if s.anyHour || !repeated(t) {
			return t.UTC()
		}
	}
}

// repeated reports whether the wall clock has shown the time of t shortly
// before, too.
func repeated(t time.Time) bool {
	for _, d := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
		if before := t.Add(-d); before.Format(time.DateTime) == t.Format(time.DateTime) {
			return true
		}
	}
	return false
}
