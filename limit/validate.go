package limit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The fields that carry a limit, as they stand in files and on the wire.
const (
	FieldN      = "concurrent_limit"
	FieldWindow = "concurrency_time_window_s"
	FieldKey    = "concurrency_key"
	FieldMode   = "concurrency_window_from"
)

// FieldError says what is wrong with one field and what to do.
type FieldError struct {
	Field   string
	Message string
}

// Error returns the field's name and the message.
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

func fieldErr(field, format string, args ...any) error {
	return &FieldError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// Fields are the limit fields of a runnable or an override as they were sent;
// nil or null means absent.
type Fields struct {
	N      json.RawMessage
	Window json.RawMessage
	Key    json.RawMessage
	Mode   json.RawMessage
}

// Settings are validated limit fields. Limit is nil if no limit was asked for;
// Key is then without effect.
type Settings struct {
	Limit *Limit
	Key   *Template // nil: the default key
}

// Validate reads the limit fields of a runnable. The error is a [*FieldError].
func (f Fields) Validate() (Settings, error) {
	o, err := f.ValidateOverride()
	if err != nil {
		return Settings{}, err
	}
	var s Settings
	if o.N != nil {
		l := Limit{N: *o.N, Mode: End}
		if o.Window != nil {
			l.Window = *o.Window
		}
		if o.Mode != nil {
			l.Mode = *o.Mode
		}
		s.Limit = &l
	}
	if !absent(f.Key) {
		var text string
		if err := json.Unmarshal(f.Key, &text); err != nil {
			return Settings{}, fieldErr(FieldKey, "must be a string, such as \"tenant-$args[tenant]\"")
		}
		t, err := ParseTemplate(text)
		if err != nil {
			return Settings{}, fieldErr(FieldKey, "%v", err)
		}
		if text != "" {
			s.Key = &t
		}
	}
	return s, nil
}

// ValidateOverride reads N, window and mode, each of which may be absent. A
// start mode without a window is refused. The error is a
// [*FieldError].
func (f Fields) ValidateOverride() (Override, error) {
	var o Override
	n, err := whole(FieldN, f.N, 1, MaxN, "leave it out for no limit")
	if err != nil {
		return o, err
	}
	if n != nil {
		v := int(*n)
		o.N = &v
	}
	w, err := whole(FieldWindow, f.Window, 0, int64(MaxWindow/time.Second), "it counts seconds, at most 31 days")
	if err != nil {
		return o, err
	}
	if w != nil {
		v := time.Duration(*w) * time.Second
		o.Window = &v
	}
	if !absent(f.Mode) {
		var m Mode
		if err := json.Unmarshal(f.Mode, &m); err != nil || m != End && m != Start {
			return o, fieldErr(FieldMode, `must be "end" or "start", not %s`, clip(string(f.Mode)))
		}
		o.Mode = &m
		if m == Start && (o.Window == nil || *o.Window == 0) {
			return o, fieldErr(FieldWindow, `must be at least 1 when %s is "start": a rate needs a window`, FieldMode)
		}
	}
	return o, nil
}

func absent(v json.RawMessage) bool {
	s := strings.TrimSpace(string(v))
	return s == "" || s == "null"
}

// whole reads a whole number from lowest to highest; nil means absent.
func whole(field string, v json.RawMessage, lowest, highest int64, hint string) (*int64, error) {
	if absent(v) {
		return nil, nil
	}
	s := strings.TrimSpace(string(v))
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		if f, ferr := strconv.ParseFloat(s, 64); ferr == nil && f == float64(int64(f)) && f >= -1e15 && f <= 1e15 {
			n, err = int64(f), nil // 5.0 and 1e3 are whole numbers too
		}
	}
	if err != nil || n < lowest || n > highest {
		return nil, fieldErr(field, "must be a whole number from %d to %d, not %s; %s", lowest, highest, clip(s), hint)
	}
	return &n, nil
}
