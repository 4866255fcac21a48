// Package cron says when a schedule falls due, in Windmill's form of cron. It
// is pure but for the time zone database, which is part of the program.
//
// An expression has the fields
//
//	[second] minute hour day-of-month month day-of-week [year]
//
// five of them (second 0), six, or seven. A field is *, ? (the same), a value, a
// range such as 1-5 or FRI-MON, any of them with a step such as */15 or 10/5,
// or a list of those. Months and days of the week have names (JAN, MON); 0 and
// 7 are Sunday. A day of the month may be L (the last), L-3, 15W (the weekday
// nearest to the 15th) or LW; a day of the week FRI#2 (the second), FRI#L or
// FRIL (the last of the month). Where both kinds of days are given, both must
// hold. @yearly, @monthly, @weekly, @daily and @hourly stand for what they say.
//
// # Changes of the clock
//
// If the hour is given, each time of the day comes once: one that the clock
// skips comes as much later as the clock is put forward, and one that comes
// twice counts the first time. If the hour is a * (or a step of it), the
// schedule goes on through both: what is skipped is left out, and what comes
// twice counts twice.
package cron

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones must not depend on the machine
)

// MaxLen bounds an expression, in bytes.
const MaxLen = 256

// Years that a field may name.
const (
	minYear = 1970
	maxYear = 9999
)

// horizon is how far Next looks: the calendar repeats itself after 400 years,
// so what is not found by then never comes.
const horizon = 400

// Schedule is a parsed expression in a zone. It is immutable.
type Schedule struct {
	second, minute, hour uint64 // bit n: the value n
	dom, month, dow      uint64
	years                []years // nil: all
	doms                 []dayOfMonth
	dows                 []nthWeekday
	anyHour              bool // the hour is a * or a step of it
	loc                  *time.Location
}

type years struct{ from, to, step int }

// dayOfMonth is a day that depends on the month.
type dayOfMonth struct {
	last    bool // counted from the last day: day is how many before it
	day     int
	weekday bool // the weekday nearest to it within the month
}

// nthWeekday is a weekday's nth occurrence in a month; 0: the last.
type nthWeekday struct{ weekday, n int }

func wrong(format string, a ...any) error { return fmt.Errorf(format, a...) }

var nicknames = map[string]string{
	"@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *", "@monthly": "0 0 0 1 * *", "@weekly": "0 0 0 * * 0",
	"@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *", "@hourly": "0 0 * * * *",
}

// Parse reads an expression and the IANA name of a time zone ("" is UTC).
// version "v1" counts days of the week from 1, which is Sunday, as Windmill once
// did; "" and "v2" as above. The error says what is wrong, for people.
func Parse(expr, zone, version string) (*Schedule, error) {
	loc, err := Zone(zone)
	if err != nil {
		return nil, err
	}
	firstDay := 0
	switch version {
	case "", "v2":
	case "v1":
		firstDay = 1
	default:
		return nil, wrong("cron_version must be \"v1\" or \"v2\", not %q", version)
	}
	if len(expr) > MaxLen {
		return nil, wrong("has %d bytes; at most %d are allowed", len(expr), MaxLen)
	}
	if strings.HasPrefix(expr, "@") {
		full, ok := nicknames[strings.ToLower(strings.TrimSpace(expr))]
		if !ok {
			return nil, wrong("%q is unknown; there are @yearly, @monthly, @weekly, @daily and @hourly", expr)
		}
		expr, firstDay = full, 0
	}
	fields := strings.Fields(expr)
	if len(fields) == 5 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 6 && len(fields) != 7 {
		return nil, wrong("has %d fields; it must have 6 (second minute hour day-of-month month day-of-week), 7 with a year, or 5 without the second", len(fields))
	}
	s := &Schedule{loc: loc, anyHour: fields[2][0] == '*' || fields[2][0] == '?'}
	for i, into := range []*uint64{&s.second, &s.minute, &s.hour} {
		if *into, err = parseField(fields[i], bounds[i]); err != nil {
			return nil, err
		}
	}
	if s.month, err = parseField(fields[4], bounds[4]); err != nil {
		return nil, err
	}
	if err := s.parseDays(fields[3], fields[5], firstDay); err != nil {
		return nil, err
	}
	if len(fields) == 7 {
		if s.years, err = parseYears(fields[6]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Zone returns the zone of a name such as Europe/Berlin; "" is UTC.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, wrong("%q is no time zone; name one such as Europe/Berlin or UTC", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, wrong("%q is no time zone; name one such as Europe/Berlin or UTC", name)
	}
	return loc, nil
}

// Next returns the first instant after another at which the schedule falls
// due, in UTC; zero: it never does.
func (s *Schedule) Next(after time.Time) time.Time {
	t := after.Truncate(time.Second).Add(time.Second)
	for limit := t.Year() + horizon; t.Year() <= limit && s.goesOn(t.Year()-1); {
		start, end := t.In(s.loc).ZoneBounds()
		if end.IsZero() {
			end = time.Date(limit+1, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if !end.After(t) { // so it is on the last day of distant leap years, on which no zone changes its clock
			end = t.Add(24 * time.Hour)
		}
		if due := s.between(t, start, end); !due.IsZero() {
			return due
		}
		t = end.UTC()
	}
	return time.Time{}
}

// Upcoming returns the first n instants after another, or fewer if there are
// no more.
func (s *Schedule) Upcoming(after time.Time, n int) []time.Time {
	var list []time.Time
	for len(list) < n {
		if after = s.Next(after); after.IsZero() {
			break
		}
		list = append(list, after)
	}
	return list
}

// goesOn reports whether a year after this one is named.
func (s *Schedule) goesOn(year int) bool {
	if s.years == nil {
		return year < maxYear
	}
	for _, y := range s.years {
		if y.to > year {
			return true
		}
	}
	return false
}

// between returns the first instant at or after t and before end at which the
// schedule falls due. From start to end the clock does not change; zero: it
// never did before.
func (s *Schedule) between(t, start, end time.Time) time.Time {
	offset := offsetAt(t, s.loc)
	if s.anyHour || start.IsZero() {
		return s.search(t, end, offset)
	}
	before := offsetAt(start.Add(-time.Second), s.loc)
	put := offset - before
	if put < 0 { // what the clock shows until then it has shown before
		if fresh := start.Add(-put).UTC(); t.Before(fresh) {
			t = fresh
		}
		return s.search(t, end, offset)
	}
	due := s.search(t, end, offset)
	until := start.Add(put)
	if until.After(end) {
		until = end
	}
	// What the clock would show, had it not been put forward.
	if skipped := s.search(t, until, before); !skipped.IsZero() && (due.IsZero() || skipped.Before(due)) {
		return skipped
	}
	return due
}

func offsetAt(t time.Time, loc *time.Location) time.Duration {
	_, offset := t.In(loc).Zone()
	return time.Duration(offset) * time.Second
}

// search returns the first instant at or after t and before end at which a
// clock with an offset shows what the schedule asks for.
func (s *Schedule) search(t, end time.Time, offset time.Duration) time.Time {
	for shown := t.UTC().Add(offset); ; {
		due := shown.Add(-offset)
		if !due.Before(end) {
			return time.Time{}
		}
		year, month, day := shown.Date()
		switch {
		case !s.hasYear(year):
			if !s.goesOn(year) {
				return time.Time{}
			}
			shown = time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC)
			continue
		case s.month&(1<<uint(month)) == 0:
			shown = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		case s.hasDay(year, month, day):
			if h, m, sec, ok := s.clock(shown.Clock()); ok {
				due = time.Date(year, month, day, h, m, sec, 0, time.UTC).Add(-offset)
				if !due.Before(end) {
					return time.Time{}
				}
				return due
			}
		}
		shown = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
	}
}

func (s *Schedule) hasYear(year int) bool {
	if s.years == nil {
		return true
	}
	for _, y := range s.years {
		if year >= y.from && year <= y.to && (year-y.from)%y.step == 0 {
			return true
		}
	}
	return false
}

// hasDay reports whether a day is one of the schedule's.
func (s *Schedule) hasDay(year int, month time.Month, day int) bool {
	date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	ofMonth := s.dom&(1<<uint(day)) != 0
	for _, d := range s.doms {
		ofMonth = ofMonth || d.in(year, month, last) == day
	}
	weekday := int(date.Weekday())
	ofWeek := s.dow&(1<<uint(weekday)) != 0
	for _, d := range s.dows {
		ofWeek = ofWeek || d.weekday == weekday && (d.n == (day+6)/7 || d.n == 0 && day+7 > last)
	}
	return ofMonth && ofWeek
}

// in returns the day in a month; 0: it has no such day.
func (d dayOfMonth) in(year int, month time.Month, last int) int {
	day := d.day
	if d.last {
		day = last - d.day
	}
	if day < 1 || day > last {
		return 0
	}
	if !d.weekday {
		return day
	}
	switch weekday := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday(); {
	case weekday == time.Saturday && day == 1:
		return day + 2
	case weekday == time.Saturday:
		return day - 1
	case weekday == time.Sunday && day == last:
		return day - 2
	case weekday == time.Sunday:
		return day + 1
	}
	return day
}

// clock returns the first time of the day at or after another.
func (s *Schedule) clock(hour, minute, second int) (h, m, sec int, ok bool) {
	if s.hour&(1<<uint(hour)) != 0 {
		if s.minute&(1<<uint(minute)) != 0 {
			if sec, ok = from(s.second, second); ok {
				return hour, minute, sec, true
			}
		}
		if m, ok = from(s.minute, minute+1); ok {
			sec, _ = from(s.second, 0)
			return hour, m, sec, true
		}
	}
	if h, ok = from(s.hour, hour+1); !ok {
		return 0, 0, 0, false
	}
	m, _ = from(s.minute, 0)
	sec, _ = from(s.second, 0)
	return h, m, sec, true
}
