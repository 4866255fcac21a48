package cron

import (
	"math/bits"
	"strconv"
	"strings"
)

// field is what one field of an expression may hold.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var bounds = [...]field{
	{"second", 0, 59, nil},
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	{"day of the week", 0, 7, []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
	{"year", minYear, maxYear, nil},
}

const (
	daysOfMonth = 3
	daysOfWeek  = 5
	yearField   = 6
)

// from returns the lowest value of a set at or above another.
func from(set uint64, least int) (int, bool) {
	set = set >> uint(least) << uint(least)
	return bits.TrailingZeros64(set), set != 0
}

// span is a range with a step. It goes round if it ends before it begins.
type span struct{ from, to, step int }

// value reads one value of a field.
func (f *field) value(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.min + i, nil
		}
	}
	n, err := number(text)
	if err != nil {
		return 0, wrong("%s: %q is no value", f.name, text)
	}
	if n < f.min || n > f.max {
		return 0, wrong("%s: %d is out of range; it must be %d to %d", f.name, n, f.min, f.max)
	}
	return n, nil
}

// number reads a number of at most four digits.
func number(text string) (int, error) {
	if len(text) > 4 || strings.Trim(text, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(text)
}

// span reads one entry of a list.
func (f *field) span(text string) (span, error) {
	values, step, stepped := strings.Cut(text, "/")
	s := span{f.min, f.max, 1}
	if stepped {
		var err error
		if s.step, err = number(step); err != nil || s.step < 1 {
			return s, wrong("%s: the step of %q must be a number from 1 on", f.name, text)
		}
	}
	if values == "*" || values == "?" {
		return s, nil
	}
	low, high, ranged := strings.Cut(values, "-")
	var err error
	if s.from, err = f.value(low); err != nil {
		return s, err
	}
	switch {
	case ranged:
		s.to, err = f.value(high)
	case !stepped: // with a step, a value is the start of a range to the end
		s.to = s.from
	}
	return s, err
}

// set returns the values of a span.
func (s span) set(min, max int) uint64 {
	to := s.to
	if to < s.from {
		to += max - min + 1
	}
	var set uint64
	for n := s.from; n <= to; n += s.step {
		set |= 1 << uint(min+(n-min)%(max-min+1))
	}
	return set
}

// parseField reads a list of spans.
func parseField(text string, f field) (uint64, error) {
	var set uint64
	for entry := range strings.SplitSeq(text, ",") {
		s, err := f.span(entry)
		if err != nil {
			return 0, err
		}
		set |= s.set(f.min, f.max)
	}
	return set, nil
}

// parseDays reads days of the month and of the week.
func (s *Schedule) parseDays(ofMonth, ofWeek string, firstDay int) error {
	for entry := range strings.SplitSeq(ofMonth, ",") {
		if upper := strings.ToUpper(entry); strings.ContainsAny(upper, "LW") {
			d, err := parseDayOfMonth(upper)
			if err != nil {
				return err
			}
			s.doms = append(s.doms, d)
			continue
		}
		set, err := parseField(entry, bounds[daysOfMonth])
		if err != nil {
			return err
		}
		s.dom |= set
	}
	week := bounds[daysOfWeek]
	week.min = firstDay
	for entry := range strings.SplitSeq(ofWeek, ",") {
		if err := s.parseWeekdays(entry, week); err != nil {
			return err
		}
	}
	return nil
}

// parseDayOfMonth reads L, L-3, LW or 15W.
func parseDayOfMonth(text string) (dayOfMonth, error) {
	var d dayOfMonth
	rest := text
	rest, d.weekday = strings.CutSuffix(rest, "W")
	rest, d.last = strings.CutPrefix(rest, "L")
	if d.last && rest == "" {
		return d, nil
	}
	if d.last {
		back, ok := strings.CutPrefix(rest, "-")
		n, err := number(back)
		if !ok || err != nil || n < 1 || n > 30 {
			return d, wrong("day of the month: %q is none; it may be L, L-1 to L-30, LW or 1W to 31W", text)
		}
		d.day = n
		return d, nil
	}
	n, err := number(rest)
	if !d.weekday || err != nil || n < 1 || n > 31 {
		return d, wrong("day of the month: %q is none; it may be L, L-1 to L-30, LW or 1W to 31W", text)
	}
	d.day = n
	return d, nil
}

// parseWeekdays reads one entry of the days of the week.
func (s *Schedule) parseWeekdays(entry string, week field) error {
	day, nth, counted := strings.Cut(entry, "#")
	if !counted && len(entry) > 1 {
		if cut := entry[:len(entry)-1]; strings.EqualFold(entry[len(entry)-1:], "L") {
			day, nth, counted = cut, "L", true
		}
	}
	if !counted {
		if strings.EqualFold(entry, "L") { // the last of the week
			entry = "SAT"
		}
		set, err := weekdays(entry, week)
		s.dow |= set
		return err
	}
	n := 0
	if !strings.EqualFold(nth, "L") {
		var err error
		if n, err = number(nth); err != nil || n < 1 || n > 5 {
			return wrong("day of the week: after # there must be 1 to 5 or L, not %q", nth)
		}
	}
	if strings.ContainsAny(day, "-/*?") {
		return wrong("day of the week: before # or L there must be one day, not %q", day)
	}
	set, err := weekdays(day, week)
	if err != nil {
		return err
	}
	weekday, _ := from(set, 0)
	s.dows = append(s.dows, nthWeekday{weekday, n})
	return nil
}

// weekdays returns a set of days from 0, which is Sunday, to 6.
func weekdays(entry string, week field) (uint64, error) {
	s, err := week.span(entry)
	if err != nil {
		return 0, err
	}
	values, _, stepped := strings.Cut(entry, "/")
	s.from, s.to = s.from-week.min, s.to-week.min
	const saturday, sunday = 6, 7 // 0, too
	switch {
	case values == "*" || values == "?":
		s.from, s.to = 0, saturday
	case stepped && !strings.Contains(values, "-"): // to the end of the week
		s.to = saturday
	}
	if s.from == sunday {
		if s.from = 0; s.to == sunday {
			s.to = 0
		}
	}
	if s.to < s.from {
		return s.set(0, saturday), nil
	}
	var set uint64
	for n := s.from; n <= s.to; n += s.step {
		set |= 1 << uint(n%sunday)
	}
	return set, nil
}

// parseYears reads a list of years.
func parseYears(text string) ([]years, error) {
	var list []years
	for entry := range strings.SplitSeq(text, ",") {
		s, err := bounds[yearField].span(entry)
		if err != nil {
			return nil, err
		}
		if s.to < s.from {
			return nil, wrong("year: %q ends before it begins", entry)
		}
		list = append(list, years(s))
	}
	return list, nil
}
