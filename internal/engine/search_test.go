package engine

import (
	"encoding/json"
	"testing"
	"time"
)

// TestContains: what PostgreSQL's @> says of the same values, but that a list
// does not hold a bare value.
func TestContains(t *testing.T) {
	for _, tc := range []struct {
		have, want string
		holds      bool
	}{
		{`{"a":1,"b":{"c":[1,2,{"d":null}]}}`, `{"b":{"c":[{"d":null},1]}}`, true},
		{`{"a":1}`, `{}`, true},
		{`[]`, `{}`, false},
		{`{"a":1}`, `{"a":1.0}`, true},
		{`{"a":12345678901234567890}`, `{"a":12345678901234567890}`, true},
		{`{"a":12345678901234567890}`, `{"a":12345678901234567891}`, false},
		{`{"a":1e999999999}`, `{"a":1}`, false},
		{`{"a":"1"}`, `{"a":1}`, false},
		{`{"a":null}`, `{"a":null}`, true},
		{`{}`, `{"a":null}`, false},
		{`{"a":{}}`, `{"a":null}`, false},
		{`{"a":[1]}`, `{"a":[1,1]}`, true},
		{`{"a":[1]}`, `{"a":[2]}`, false},
		{`{"a":[]}`, `{"a":"x"}`, false},
		{`"x"`, `"x"`, true},
		{`true`, `false`, false},
		{`{"a":`, `{}`, false},
	} {
		want, err := decodeNumber(json.RawMessage(tc.want))
		if err != nil {
			t.Fatal(err)
		}
		m := &matcher{steps: 1000}
		if got := m.holds(json.RawMessage(tc.have), want); got != tc.holds {
			t.Errorf("%s contains %s: %v", tc.have, tc.want, got)
		}
	}
}

// Before anything has ended, nothing is known of how long executions last.
func TestEstimateBasis(t *testing.T) {
	for typical, want := range map[time.Duration]string{
		0:                       "no execution of this key has ended yet, so it is taken to last no time, and 2 are ahead",
		1500 * time.Millisecond: "executions of this key last 1.5 s, and 2 are ahead",
	} {
		if got := estimateBasis(typical, 2); got != want {
			t.Errorf("%v: %q", typical, got)
		}
	}
}
