package engine

import (
	"bytes"
	"encoding/json"
	"slices"

	"sluice"
)

// FieldUse says what becomes of a field of a pushed script or flow.
type FieldUse string

// The uses. Refused is what would run something else, or more often, or show
// more than was asked for, if it were passed over in silence.
const (
	FieldHonoured FieldUse = "honoured"
	FieldInert    FieldUse = "inert"   // stored and given back; whoever pushes it is told that it has no effect
	FieldRefused  FieldUse = "refused" // by name, if it asks for anything
)

// ScriptFields are the fields of a script that Windmill knows, and ours. What
// is not here is stored and given back without a word.
var ScriptFields = map[string]FieldUse{
	"path": FieldHonoured, "content": FieldHonoured, "language": FieldHonoured, "summary": FieldHonoured,
	"description": FieldHonoured, "kind": FieldHonoured, "lock": FieldHonoured, "schema": FieldHonoured, "tag": FieldHonoured,
	"concurrent_limit": FieldHonoured, "concurrency_time_window_s": FieldHonoured, "concurrency_key": FieldHonoured,
	"concurrency_window_from": FieldHonoured, "on_concurrency_limit": FieldHonoured, "max_wait_s": FieldHonoured,
	"max_lost_attempts": FieldHonoured, "apply_limits_to_waiting": FieldHonoured,
	"priority": FieldHonoured, "timeout": FieldHonoured, "delete_after_secs": FieldHonoured, "delete_after_use": FieldHonoured,
	"has_preprocessor": FieldHonoured, "dedicated_worker": FieldHonoured, "labels": FieldHonoured, "deployment_message": FieldHonoured,
	"parent_hash": FieldHonoured, "auto_parent": FieldHonoured, "skip_draft_deletion": FieldHonoured, // there are no drafts

	"cache_ttl": FieldInert, "cache_ignore_s3_path": FieldInert, "ws_error_handler_muted": FieldInert,
	"on_behalf_of_email": FieldInert, "on_behalf_of": FieldInert, "preserve_on_behalf_of": FieldInert,

	"envs": FieldRefused, "codebase": FieldRefused, "modules": FieldRefused, "restart_unless_cancelled": FieldRefused,
	"visible_to_runner_only": FieldRefused, "debounce_key": FieldRefused, "debounce_delay_s": FieldRefused,
	"debounce_args_to_accumulate": FieldRefused, "max_total_debouncing_time": FieldRefused, "max_total_debounces_amount": FieldRefused,
}

// FlowFields are the same of a flow: the fields beside its value.
var FlowFields = map[string]FieldUse{
	"path": FieldHonoured, "summary": FieldHonoured, "description": FieldHonoured, "value": FieldHonoured, "schema": FieldHonoured,
	"tag": FieldHonoured, "priority": FieldHonoured, "timeout": FieldHonoured, "max_wait_s": FieldHonoured, "labels": FieldHonoured,
	"delete_after_secs": FieldHonoured, "delete_after_use": FieldHonoured, "apply_limits_to_waiting": FieldHonoured,
	"deployment_message": FieldHonoured, "skip_draft_deletion": FieldHonoured, // there are no drafts

	"dedicated_worker": FieldInert, "ws_error_handler_muted": FieldInert,
	"on_behalf_of_email": FieldInert, "on_behalf_of": FieldInert, "preserve_on_behalf_of": FieldInert,

	"visible_to_runner_only": FieldRefused, "draft_only": FieldRefused,
}

// refusals say why a field is refused.
var refusals = map[string]string{
	"envs":                        "environment variables of a script are not supported yet: it would run without them",
	"codebase":                    "bundled codebases are not supported yet: the script would run without its bundle",
	"modules":                     "modules of a script are not supported yet: it would run without them",
	"restart_unless_cancelled":    "is not supported yet: the script would run once and not again",
	"visible_to_runner_only":      "is not supported yet: everybody in the workspace would see its runs",
	"draft_only":                  "drafts are not supported: the flow would be there for everybody",
	"debounce_key":                "debouncing is not supported yet: the script would run more often than this asks for",
	"debounce_delay_s":            "debouncing is not supported yet: the script would run more often than this asks for",
	"debounce_args_to_accumulate": "debouncing is not supported yet: the script would run more often than this asks for",
	"max_total_debouncing_time":   "debouncing is not supported yet: the script would run more often than this asks for",
	"max_total_debounces_amount":  "debouncing is not supported yet: the script would run more often than this asks for",
}

// askedFields returns the fields of a use that a push sets to more than
// nothing, by name.
func askedFields(body json.RawMessage, known map[string]FieldUse, use FieldUse) []string {
	var pushed map[string]json.RawMessage
	if json.Unmarshal(body, &pushed) != nil {
		return nil // whoever reads the whole says what is wrong
	}
	var out []string
	for name, v := range pushed {
		if known[name] == use && Asks(v) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Asks reports whether the value of a field asks for anything: null, false, 0
// and what is empty do not.
func Asks(v json.RawMessage) bool {
	switch string(bytes.TrimSpace(v)) {
	case "null", "false", `""`, "0", "[]", "{}":
		return false
	}
	return true
}

// InertFields returns the fields that a pushed script sets and that have no
// effect here, by name.
func InertFields(body json.RawMessage) []string { return askedFields(body, ScriptFields, FieldInert) }

// InertFlowFields does the same for a pushed flow.
func InertFlowFields(body json.RawMessage) []string { return askedFields(body, FlowFields, FieldInert) }

// refuseFields refuses a push that asks for what it would not get.
func refuseFields(body json.RawMessage, known map[string]FieldUse) error {
	for _, name := range askedFields(body, known, FieldRefused) {
		return sluice.Invalid(name, "%s; leave it out", refusals[name])
	}
	return nil
}
