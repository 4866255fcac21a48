package cron

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(t *testing.T, zone, s string) time.Time {
	t.Helper()
	loc, err := Zone(zone)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestNext(t *testing.T) {
	const berlin, york, howe, kolkata = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"
	for _, c := range []struct{ spec, zone, after, want string }{
		{"*/15 * * * * *", "", "2026-01-01 00:00:00", "2026-01-01T00:00:15Z 2026-01-01T00:00:30Z"},
		{"30 9 * * *", "", "2026-01-01 09:30:00", "2026-01-02T09:30:00Z 2026-01-03T09:30:00Z"},
		{"0 30 9 * * MON-FRI", berlin, "2026-11-27 09:30:00", "2026-11-30T08:30:00Z 2026-12-01T08:30:00Z"},
		{"0 0 12 * * 0", "", "2026-11-27 00:00:00", "2026-11-29T12:00:00Z 2026-12-06T12:00:00Z"},
		{"0 0 12 * * 7", "", "2026-11-27 00:00:00", "2026-11-29T12:00:00Z 2026-12-06T12:00:00Z"},
		{"0 0 0 L * *", "", "2026-02-01 00:00:00", "2026-02-28T00:00:00Z 2026-03-31T00:00:00Z"},
		{"0 0 0 15W * *", "", "2026-08-01 00:00:00", "2026-08-14T00:00:00Z 2026-09-15T00:00:00Z"},
		{"0 0 0 * * FRI#1", "", "2026-11-27 00:00:00", "2026-12-04T00:00:00Z 2027-01-01T00:00:00Z"},
		{"0 0 0 13 * FRI", "", "2026-11-01 00:00:00", "2026-11-13T00:00:00Z 2027-08-13T00:00:00Z"},
		{"0 0 0 1 1 * 2027-2028", "", "2026-11-27 00:00:00", "2027-01-01T00:00:00Z 2028-01-01T00:00:00Z never"},
		{"0 0 0 30 2 *", "", "2026-11-27 00:00:00", "never"},
		{"0 0 0 29 2 *", "", "2026-11-27 00:00:00", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
		// The clock goes from 2:00 to 3:00, and from 3:00 back to 2:00.
		{"0 30 2 * * *", berlin, "2026-03-28 12:00:00", "2026-03-29T01:30:00Z 2026-03-30T00:30:00Z"},
		{"0 30 2 * * *", berlin, "2026-10-24 12:00:00", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"0 */30 * * * *", berlin, "2026-10-25 01:59:00", "2026-10-25T00:00:00Z 2026-10-25T00:30:00Z 2026-10-25T01:00:00Z 2026-10-25T01:30:00Z 2026-10-25T02:00:00Z"},
		{"0 */30 * * * *", berlin, "2026-03-29 01:29:00", "2026-03-29T00:30:00Z 2026-03-29T01:00:00Z 2026-03-29T01:30:00Z"},
		{"0 30 1 * * *", york, "2026-10-31 12:00:00", "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z"},
		{"0 30 2 * * *", york, "2026-03-07 12:00:00", "2026-03-08T07:30:00Z 2026-03-09T06:30:00Z"},
		{"0 45 1 * * *", howe, "2026-04-04 12:00:00", "2026-04-04T14:45:00Z 2026-04-05T15:15:00Z"},
		{"0 0 6 * * *", kolkata, "2026-01-01 06:00:00", "2026-01-02T00:30:00Z 2026-01-03T00:30:00Z"},
	} {
		s, err := Parse(c.spec, c.zone, "")
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		var got []string
		next := at(t, c.zone, c.after)
		for range strings.Fields(c.want) {
			if next = s.Next(next); next.IsZero() {
				got = append(got, "never")
				break
			}
			got = append(got, next.Format(time.RFC3339))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s %s after %s\n got %s\nwant %s", c.spec, c.zone, c.after, g, c.want)
		}
	}
}

func TestVersionOne(t *testing.T) {
	for one, two := range map[string]string{"1": "0", "7": "6", "2-6": "1-5", "1,3": "0,2", "*/2": "*/2", "MON": "MON", "6#2": "5#2"} {
		if got := fromOne(one); got != two {
			t.Errorf("%s: %s, want %s", one, got, two)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ spec, zone, version, want string }{
		{"* * *", "", "", "six fields"},
		{"", "", "", "it has 0"},
		{"60 * * * * *", "", "", "60"},
		{"0 0 0 * * XYZ", "", "", "XYZ"},
		{"@daily", "", "", "six fields"},
		{"0 0 0 * * *", "Mars/Base", "", "Mars/Base"},
		{"0 0 0 * * *", "Local", "", "time zone"},
		{"0 0 0 * * *", "", "v3", "v3"},
		{strings.Repeat("1,", 200) + "1 * * * * *", "", "", "at most"},
	} {
		if _, err := Parse(c.spec, c.zone, c.version); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: %v", c.spec, c.zone, err)
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

func FuzzParse(f *testing.F) {
	for _, s := range []string{"* * * * * *", "0 0 L * * FRI#1", "1-5/2 0 0 15W JAN MON 2030", "H * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := Parse(spec, "Europe/Berlin", "")
		if err != nil {
			return
		}
		now := time.Unix(1_700_000_000, 0)
		if next := s.Next(now); !next.IsZero() && !next.After(now) {
			t.Errorf("%q: %s", spec, next)
		}
	})
}
