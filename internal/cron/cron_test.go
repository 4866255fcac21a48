package cron

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func parse(t *testing.T, expr, zone string) *Schedule {
	t.Helper()
	s, err := Parse(expr, zone, "")
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return s
}

// TestNext: each row is an expression, a zone, an instant, and what comes after it.
func TestNext(t *testing.T) {
	for _, c := range []struct {
		expr, zone, after string
		want              string // times with their offsets, "never" for none
	}{
		{"0 */15 * * * *", "UTC", "2026-01-01T00:00:00Z", "00:15Z 00:30Z 00:45Z 01:00Z"},
		{"*/15 * * * *", "UTC", "2026-01-01T00:00:00.5Z", "00:15Z 00:30Z"},
		{"30 0 12 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T12:00:30+05:30 2026-01-02T12:00:30+05:30"},
		{"0 0 0 1 1 ? 2030", "UTC", "2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z never"},
		{"0 0 0 1 1 ? 2020-2025", "UTC", "2026-01-01T00:00:00Z", "never"},
		{"0 0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", "never"},
		{"0 0 0 31 2,4 *", "Europe/Berlin", "2026-01-01T00:00:00Z", "never"},
		{"0 0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 0 29 2 MON", "UTC", "2026-01-01T00:00:00Z", "2044-02-29T00:00:00Z"},
		{"0 0 0 L * *", "UTC", "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z 2028-03-31T00:00:00Z"},
		{"0 0 0 L-3 * *", "UTC", "2026-01-31T00:00:00Z", "2026-02-25T00:00:00Z"},
		{"0 0 0 LW * *", "UTC", "2026-01-31T00:00:00Z", "2026-02-27T00:00:00Z"},
		{"0 0 0 15W * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-16T00:00:00Z"}, // the 15th is a Sunday
		{"0 0 0 1W * *", "UTC", "2026-07-31T00:00:00Z", "2026-08-03T00:00:00Z"},  // the 1st is a Saturday
		{"0 0 0 31W * *", "UTC", "2026-05-01T00:00:00Z", "2026-05-29T00:00:00Z"}, // the 31st is a Sunday
		{"0 0 0 * * FRI#2", "UTC", "2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z 2026-02-13T00:00:00Z"},
		{"0 0 0 * * 5L", "UTC", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z 2026-02-27T00:00:00Z"},
		{"0 0 0 * * FRI#L", "UTC", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z"},
		{"0 0 0 13 * FRI", "UTC", "2026-01-01T00:00:00Z", "2026-02-13T00:00:00Z 2026-03-13T00:00:00Z 2026-11-13T00:00:00Z"},
		{"0 0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"0 0 0 * * FRI-MON", "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z 2026-01-03T00:00:00Z 2026-01-04T00:00:00Z 2026-01-05T00:00:00Z 2026-01-09T00:00:00Z"},
		{"0 0 22-2 * * *", "UTC", "2026-01-01T20:00:00Z", "22:00Z 23:00Z 00:00Z 01:00Z 02:00Z 22:00Z"},
		{"0 5/20 0 * * *", "UTC", "2026-01-01T00:00:00Z", "00:05Z 00:25Z 00:45Z 00:05Z"},
		{"@daily", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00+01:00"},

		// The clock is put forward.
		{"0 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T03:30:00+02:00 2026-03-30T02:30:00+02:00"},
		{"0 0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "03:00+02:00 03:30+02:00 02:00+02:00"},
		{"0 30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "03:30+02:00 02:30+02:00"},
		{"0 30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T03:30:00-04:00 2026-03-09T02:30:00-04:00"},
		{"0 15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-04T02:45:00+11:00 2026-10-05T02:15:00+11:00"},
		{"0 */15 * * * *", "Europe/Berlin", "2026-03-29T00:44:00Z", "01:45+01:00 03:00+02:00 03:15+02:00"},
		{"0 */15 * * * *", "Australia/Lord_Howe", "2026-10-03T15:14:00Z", "01:45+10:30 02:30+11:00 02:45+11:00"},
		{"0 0 */2 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", "04:00+02:00 06:00+02:00"},
		{"0 0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T01:00:00-03:00 2026-09-07T00:00:00-03:00"},
		{"0 0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-29T12:00:00-10:00 2011-12-31T12:00:00+14:00"},

		// The clock is put back.
		{"0 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00"},
		{"0 30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T01:30:00-04:00 2026-11-02T01:30:00-05:00"},
		{"0 45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-05T01:45:00+11:00 2026-04-06T01:45:00+10:30"},
		{"0 30 * * * *", "America/New_York", "2026-11-01T04:45:00Z", "01:30-04:00 01:30-05:00 02:30-05:00"},
		{"0 */15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:40:00Z", "01:45+11:00 01:30+10:30 01:45+10:30 02:00+10:30"},
		{"0 0 0 * * *", "Asia/Kolkata", "2026-03-28T18:30:00Z", "2026-03-30T00:00:00+05:30"},
	} {
		s := parse(t, c.expr, c.zone)
		at, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range strings.Fields(c.want) {
			at = s.Next(at)
			got := "never"
			if !at.IsZero() {
				got = at.In(s.loc).Format(time.RFC3339)
				if !strings.Contains(want, "T") {
					got = at.In(s.loc).Format("15:04Z07:00")
				}
			}
			if got != want {
				t.Errorf("%s in %s after %s: %s, not %s", c.expr, c.zone, c.after, got, want)
				break
			}
		}
	}
}

func TestVersions(t *testing.T) {
	for expr, want := range map[string]time.Weekday{"0 0 0 * * 1": time.Sunday, "0 0 0 * * 7": time.Saturday, "0 0 0 * * MON": time.Monday, "0 0 0 * * 6/2": time.Friday} {
		s, err := Parse(expr, "", "v1")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)).Weekday(); got != want {
			t.Errorf("%s: %s, not %s", expr, got, want)
		}
	}
}

// TestRefused: what cannot be is refused, and the error names the field.
func TestRefused(t *testing.T) {
	for expr, want := range map[string]string{
		"":                         "has 0 fields",
		"* * * *":                  "has 4 fields",
		"* * * * * * * *":          "has 8 fields",
		"60 * * * * *":             "second: 60",
		"0 60 * * * *":             "minute: 60",
		"0 0 24 * * *":             "hour: 24",
		"0 0 0 0 * *":              "day of the month: 0",
		"0 0 0 32 * *":             "day of the month: 32",
		"0 0 0 1 13 *":             "month: 13",
		"0 0 0 1 FOO *":            `month: "FOO"`,
		"0 0 0 * * 8":              "day of the week: 8",
		"0 0 0 * * FRI#6":          "day of the week: after #",
		"0 0 0 * * #2":             "day of the week:",
		"0 0 0 * * MON-FRI#2":      "day of the week: before #",
		"0 0 0 1L * *":             "day of the month:",
		"0 0 0 32W * *":            "day of the month:",
		"0 0 0 L-31 * *":           "day of the month:",
		"0 0 0 W * *":              "day of the month:",
		"0 */0 * * * *":            "minute: the step",
		"0 1,,2 * * * *":           "minute:",
		"0 -1 * * * *":             "minute:",
		"0 1-2-3 * * * *":          "minute:",
		"0 0 0 1 1 * 99999":        "year:",
		"0 0 0 1 1 * 2030-2020":    "year:",
		"0 0 0 1 1 * 1-2147483647": "year:",
		"@every 5s":                "@every",
		strings.Repeat("*", 300):   "at most 256",
	} {
		_, err := Parse(expr, "", "v2")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", expr, err, want)
		}
	}
	if _, err := Parse("* * * * * *", "", "v3"); err == nil {
		t.Error("a version is made up")
	}
	for _, zone := range []string{"Local", "Europe/Nowhere", "../etc/passwd"} {
		if _, err := Zone(zone); err == nil {
			t.Errorf("%q is taken for a zone", zone)
		}
	}
}

// dumbNext looks at every second, by what a clock on the wall shows.
func dumbNext(s *Schedule, after time.Time, within time.Duration) time.Time {
	seen := map[string]bool{}
	for t := after.Truncate(time.Second).Add(-2 * time.Hour); t.Before(after.Add(within)); t = t.Add(time.Second) {
		w := t.In(s.loc)
		matches := dumbMatch(s, w)
		wall := w.Format(time.DateTime)
		if !s.anyHour {
			matches = matches && !seen[wall]
			// What the clock would show if it were as it was some time ago.
			for _, back := range []time.Duration{30 * time.Minute, time.Hour} {
				_, was := t.Add(-back - time.Second).In(s.loc).Zone()
				_, is := w.Zone()
				if time.Duration(is-was)*time.Second == back {
					matches = matches || dumbMatch(s, t.In(time.FixedZone("", was)))
				}
			}
			seen[wall] = true
		}
		if matches && t.After(after) {
			return t.UTC()
		}
	}
	return time.Time{}
}

func dumbMatch(s *Schedule, w time.Time) bool {
	has := func(set uint64, n int) bool { return set>>uint(n)&1 == 1 }
	return has(s.second, w.Second()) && has(s.minute, w.Minute()) && has(s.hour, w.Hour()) && has(s.dom, w.Day()) && has(s.month, int(w.Month())) && has(s.dow, int(w.Weekday()))
}

// TestAgainstEverySecond compares Next with a look at every second around
// changes of the clock.
func TestAgainstEverySecond(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns", "UTC"}
	changes := []string{"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z", "2026-10-03T15:30:00Z", "2026-04-04T15:00:00Z"}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	const within = 6 * time.Hour
	for range 100 {
		expr := pick("0", "30", "*/20") + " " + pick("*", "*/15", "0", "30", "15,45", "7") + " " + pick("*", "*/2", "0", "1", "2", "3", "1-3", "0,2,3") + " * * " + pick("*", "*", "SUN", "SAT-SUN")
		s := parse(t, expr, pick(zones...))
		change, _ := time.Parse(time.RFC3339, pick(changes...))
		after := change.Add(time.Duration(r.IntN(4*3600)-3*3600) * time.Second)
		got, want := s.Next(after), dumbNext(s, after, within)
		if want.IsZero() && got.Before(after.Add(within)) || !want.IsZero() && !got.Equal(want) {
			t.Errorf("%s in %s after %s: %s, not %s", expr, s.loc, after, got.In(s.loc), want.In(s.loc))
		}
	}
}

// Due instants ascend strictly, and the wall clock shows what the pattern says,
// but right after a gap.
func TestAscends(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"}
	specs := []string{"*/7 * * * * *", "0 */20 * * * *", "0 30 1 * * *", "30 15 2,3 * * *", "0 0 */6 * * MON", "0 0 0 L * *", "0 59 23 31 12 *"}
	rapid.Check(t, func(t *rapid.T) {
		s, err := Parse(rapid.SampledFrom(specs).Draw(t, "spec"), rapid.SampledFrom(zones).Draw(t, "zone"), "")
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1_600_000_000, 1_900_000_000).Draw(t, "from"), 0)
		for range 20 {
			next := s.Next(now)
			if !next.After(now) {
				t.Fatalf("%s comes after %s", next, now)
			}
			now = next
		}
	})
}

// FuzzParse: no expression makes it fail badly, and what it takes ascends and
// falls on whole seconds.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0 */15 * * * *", "* * * * *", "0 0 0 L-3 FEB FRI#2 2026-2030/2", "0 0 0 29 2 MON", "1-0 22-2 5/7 LW NOV-FEB 7-2", "@daily"} {
		f.Add(seed, int64(1_790_000_000))
	}
	f.Fuzz(func(t *testing.T, expr string, at int64) {
		s, err := Parse(expr, "Australia/Lord_Howe", "")
		if err != nil {
			return
		}
		after := time.Unix(at%(1<<35), 0)
		for range 5 {
			next := s.Next(after)
			if next.IsZero() {
				return
			}
			if !next.After(after) || next.Nanosecond() != 0 {
				t.Fatalf("%q: %s comes after %s", expr, next, after)
			}
			after = next
		}
	})
}
