package httpapi

import (
	"bytes"

	"github.com/danielgtaylor/huma/v2"

	"sluice/limit"
)

// LimitFields are the fields of a limit, wherever they stand. Their values are
// kept as they were sent: package limit judges them.
type LimitFields struct {
	N      rawInt    `json:"concurrent_limit,omitempty" minimum:"1" maximum:"1000000" doc:"At most so many executions at once, or in any window; no limit if left out"`
	Window rawInt    `json:"concurrency_time_window_s,omitempty" minimum:"0" maximum:"2678400" doc:"Seconds for which an execution goes on to count"`
	Key    rawString `json:"concurrency_key,omitempty" maxLength:"10000" doc:"What is counted together; may hold $workspace and $args[name]"`
	Mode   rawString `json:"concurrency_window_from,omitempty" enum:"end,start" doc:"Ours: whether the window runs from the end (if left out) or the start of an execution"`
}

func (f *LimitFields) fields() limit.Fields {
	return limit.Fields{N: f.N.raw, Window: f.Window.raw, Key: f.Key.raw, Mode: f.Mode.raw}
}

// rawInt is a whole number or null as it was sent.
type rawInt struct{ raw []byte }

// Schema describes the number.
func (rawInt) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Nullable: true}
}

// UnmarshalJSON keeps the number.
func (v *rawInt) UnmarshalJSON(b []byte) error {
	v.raw = bytes.Clone(b)
	return nil
}

// rawString is a string or null as it was sent.
type rawString struct{ raw []byte }

// Schema describes the string.
func (rawString) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Nullable: true}
}

// UnmarshalJSON keeps the string.
func (v *rawString) UnmarshalJSON(b []byte) error {
	v.raw = bytes.Clone(b)
	return nil
}
