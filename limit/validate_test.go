package limit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/limit"
)

// fields are limit fields as they stand in JSON; "" is absent.
type fields struct{ n, window, key, mode string }

func (f fields) raw() limit.Fields {
	raw := func(s string) json.RawMessage {
		if s == "" {
			return nil
		}
		return json.RawMessage(s)
	}
	return limit.Fields{N: raw(f.n), Window: raw(f.window), Key: raw(f.key), Mode: raw(f.mode)}
}

// TestValidate is case A26: what is taken for a limit, and what is refused
// with the name of its field.
func TestValidate(t *testing.T) {
	lim := func(n int, w time.Duration, m limit.Mode) *limit.Limit {
		return &limit.Limit{N: n, Window: w, Mode: m}
	}
	const day = 24 * time.Hour
	for _, test := range []struct {
		in    fields
		want  *limit.Limit
		field string // at fault; "" if none is
		hint  string
	}{
		{in: fields{}},
		{in: fields{n: "null", window: "null", key: "null", mode: "null"}},
		{in: fields{n: " null\n"}},
		{in: fields{n: "1"}, want: lim(1, 0, limit.End)},
		{in: fields{n: "1000000"}, want: lim(1_000_000, 0, limit.End)},
		{in: fields{n: "1000001"}, field: limit.FieldN, hint: "from 1 to 1000000"},
		{in: fields{n: "0"}, field: limit.FieldN, hint: "leave it out for no limit"},
		{in: fields{n: "-0"}, field: limit.FieldN},
		{in: fields{n: "-1"}, field: limit.FieldN, hint: "not -1"},
		{in: fields{n: "1.5"}, field: limit.FieldN, hint: "not 1.5"},
		{in: fields{n: "0.5"}, field: limit.FieldN},
		{in: fields{n: `"5"`}, field: limit.FieldN, hint: `not "5"`},
		{in: fields{n: "2147483648"}, field: limit.FieldN},
		{in: fields{n: "4294967297"}, field: limit.FieldN},
		{in: fields{n: "18446744073709551617"}, field: limit.FieldN},
		{in: fields{n: "1e400"}, field: limit.FieldN},
		{in: fields{n: "-1e400"}, field: limit.FieldN},
		{in: fields{n: "1e18"}, field: limit.FieldN},
		{in: fields{n: "true"}, field: limit.FieldN},
		{in: fields{n: "false"}, field: limit.FieldN},
		{in: fields{n: "[]"}, field: limit.FieldN},
		{in: fields{n: `{"n":1}`}, field: limit.FieldN},
		{in: fields{n: "NaN"}, field: limit.FieldN},
		{in: fields{n: strings.Repeat("9", 5000)}, field: limit.FieldN, hint: "…"},
		{in: fields{n: "1e3"}, want: lim(1000, 0, limit.End)},
		{in: fields{n: "5.0"}, want: lim(5, 0, limit.End)},
		{in: fields{n: " 5 "}, want: lim(5, 0, limit.End)},

		{in: fields{n: "5", window: "0"}, want: lim(5, 0, limit.End)},
		{in: fields{n: "5", window: "60"}, want: lim(5, time.Minute, limit.End)},
		{in: fields{n: "5", window: "6e1"}, want: lim(5, time.Minute, limit.End)},
		{in: fields{n: "5", window: "2678400"}, want: lim(5, 31*day, limit.End)},
		{in: fields{n: "5", window: "2678401"}, field: limit.FieldWindow, hint: "31 days"},
		{in: fields{n: "5", window: "-1"}, field: limit.FieldWindow},
		{in: fields{n: "5", window: "0.5"}, field: limit.FieldWindow},
		{in: fields{n: "5", window: `"60"`}, field: limit.FieldWindow},
		{in: fields{n: "5", window: "2147483648"}, field: limit.FieldWindow},
		{in: fields{n: "5", window: "true"}, field: limit.FieldWindow},
		{in: fields{window: "60"}}, // a window alone is no limit
		{in: fields{window: "-1"}, field: limit.FieldWindow},

		{in: fields{n: "5", mode: `"end"`}, want: lim(5, 0, limit.End)},
		{in: fields{n: "5", window: "1", mode: `"start"`}, want: lim(5, time.Second, limit.Start)},
		{in: fields{n: "5", mode: `"start"`}, field: limit.FieldWindow, hint: "start"},
		{in: fields{n: "5", window: "null", mode: `"start"`}, field: limit.FieldWindow},
		{in: fields{n: "5", window: "0", mode: `"start"`}, field: limit.FieldWindow},
		{in: fields{n: "5", window: "1", mode: `"Start"`}, field: limit.FieldMode, hint: `"Start"`},
		{in: fields{n: "5", window: "1", mode: `""`}, field: limit.FieldMode},
		{in: fields{n: "5", window: "1", mode: `"both"`}, field: limit.FieldMode},
		{in: fields{n: "5", window: "1", mode: `1`}, field: limit.FieldMode},
		{in: fields{mode: `"both"`}, field: limit.FieldMode},

		{in: fields{n: "5", key: `"t-$args[x]"`}, want: lim(5, 0, limit.End)},
		{in: fields{n: "5", key: `"$args["`}, field: limit.FieldKey, hint: "]"},
		{in: fields{n: "5", key: `"$args[]"`}, field: limit.FieldKey},
		{in: fields{n: "5", key: `7`}, field: limit.FieldKey, hint: "string"},
		{in: fields{key: `"only a key"`}}, // a key without a limit is no group
		{in: fields{key: `"$args["`}, field: limit.FieldKey},
	} {
		got, err := test.in.raw().Validate()
		if test.field != "" {
			var fault *limit.FieldError
			if !errors.As(err, &fault) || fault.Field != test.field || !strings.HasPrefix(err.Error(), test.field+": ") ||
				!strings.Contains(fault.Message, test.hint) || len(err.Error()) > 250 {
				t.Errorf("%.60v: error %.300v, want one about %s with %q", test.in, err, test.field, test.hint)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", test.in, err)
			continue
		}
		if (got.Limit == nil) != (test.want == nil) || got.Limit != nil && *got.Limit != *test.want {
			t.Errorf("%v: %v, want %v", test.in, got.Limit, test.want)
		}
	}
}

// TestValidateKey: no key, an empty one and null mean the default key.
func TestValidateKey(t *testing.T) {
	for in, want := range map[string]bool{"": false, "null": false, `""`: false, `" "`: true, `"a"`: true, `"$workspace"`: true} {
		s, err := fields{n: "1", key: in}.raw().Validate()
		if err != nil || (s.Key != nil) != want {
			t.Errorf("key %s: own key %t (%v), want %t", in, s.Key != nil, err, want)
		}
	}
	s, err := fields{n: "1", key: `"a-$args[x]"`}.raw().Validate()
	if err != nil {
		t.Fatal(err)
	}
	if key, err := s.Key.Resolve("w", json.RawMessage(`{"x":"y"}`)); err != nil || key != "a-y" {
		t.Errorf("key %q (%v), want a-y", key, err)
	}
}

// TestValidateOverride: each field may be absent; what is given is held to the
// same bounds.
func TestValidateOverride(t *testing.T) {
	o, err := fields{}.raw().ValidateOverride()
	if err != nil || !o.Empty() {
		t.Errorf("nothing given: %+v, %v", o, err)
	}
	o, err = fields{n: "3", window: "7", mode: `"start"`, key: "ignored"}.raw().ValidateOverride()
	if err != nil || *o.N != 3 || *o.Window != 7*time.Second || *o.Mode != limit.Start {
		t.Errorf("all given: %+v, %v", o, err)
	}
	o, err = fields{window: "0"}.raw().ValidateOverride()
	if err != nil || o.N != nil || o.Mode != nil || *o.Window != 0 {
		t.Errorf("a window of nought: %+v, %v", o, err)
	}
	for _, bad := range []fields{{n: "0"}, {window: "-1"}, {mode: `"x"`}, {n: "3", mode: `"start"`}} {
		if _, err := bad.raw().ValidateOverride(); err == nil {
			t.Errorf("%v: accepted", bad)
		}
	}
}
