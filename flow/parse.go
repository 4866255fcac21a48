package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluice/limit"
)

// Error says what is wrong with a flow's value, and where.
type Error struct {
	Field   string // such as value.modules[2].retry.constant.attempts
	Module  string // id of the module; "": the flow as a whole
	Message string // what to do, for people
}

func (e *Error) Error() string {
	if e.Module == "" {
		return e.Field + ": " + e.Message
	}
	return fmt.Sprintf("%s (step %s): %s", e.Field, e.Module, e.Message)
}

// moduleID is what may be the id of a module: it is part of keys and of
// expressions.
var moduleID = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// Parse reads and checks the value of a flow, in OpenFlow's form. Unknown
// fields are ignored; what is known and not carried out is refused by name.
// The error is an [*Error].
func Parse(raw json.RawMessage) (*Value, error) {
	p := &parser{v: &Value{scopes: map[string][]*Module{}, byID: map[string]*Module{}, in: map[string]string{}}}
	o := p.object("value", raw)
	if o == nil {
		return nil, p.err
	}
	p.flow(o)
	if p.err != nil {
		return nil, p.err
	}
	return p.v, nil
}

// parser gathers the first error; after it, all that it reads is void.
type parser struct {
	v      *Value
	err    error
	module string // the module that is read
	count  int
}

func (p *parser) fail(field, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Field: field, Module: p.module, Message: fmt.Sprintf(format, args...)}
	}
}

// fields is a JSON object with the name under which it stands.
type fields struct {
	name string
	m    map[string]json.RawMessage
}

func null(raw json.RawMessage) bool {
	t := bytes.TrimSpace(raw)
	return len(t) == 0 || bytes.Equal(t, []byte("null"))
}

func (o *fields) get(name string) json.RawMessage {
	if raw := o.m[name]; !null(raw) {
		return raw
	}
	return nil
}

func (o *fields) at(name string) string { return o.name + "." + name }

func (p *parser) object(name string, raw json.RawMessage) *fields {
	o := &fields{name: name}
	if null(raw) || json.Unmarshal(raw, &o.m) != nil || o.m == nil {
		p.fail(name, "must be an object")
		return nil
	}
	return o
}

// sub reads an object within another; nil if it is absent.
func (p *parser) sub(o *fields, name string) *fields {
	if o.get(name) == nil {
		return nil
	}
	return p.object(o.at(name), o.get(name))
}

func (p *parser) list(o *fields, name string) []json.RawMessage {
	raw := o.get(name)
	if raw == nil {
		return nil
	}
	var out []json.RawMessage
	if json.Unmarshal(raw, &out) != nil {
		p.fail(o.at(name), "must be a list")
	}
	return out
}

func (p *parser) text(o *fields, name string) string {
	var s string
	if raw := o.get(name); raw != nil && json.Unmarshal(raw, &s) != nil {
		p.fail(o.at(name), "must be a text")
	}
	return s
}

func (p *parser) flag(o *fields, name string) bool {
	var b bool
	if raw := o.get(name); raw != nil && json.Unmarshal(raw, &b) != nil {
		p.fail(o.at(name), "must be true or false")
	}
	return b
}

// whole reads a whole number from least to most; nil if it is absent.
func (p *parser) whole(o *fields, name string, least, most int64) *int64 {
	raw := o.get(name)
	if raw == nil {
		return nil
	}
	var f float64
	if json.Unmarshal(raw, &f) != nil || f != math.Trunc(f) || f < float64(least) || f > float64(most) {
		p.fail(o.at(name), "must be a whole number from %d to %d", least, most)
		return nil
	}
	n := int64(f)
	return &n
}

// int reads a number from 0 to most; 0 if it is absent.
func (p *parser) int(o *fields, name string, most int64) int {
	if n := p.whole(o, name, 0, most); n != nil {
		return int(*n)
	}
	return 0
}

func (p *parser) seconds(o *fields, name string) time.Duration {
	return time.Duration(p.int(o, name, int64(MaxDelay/time.Second))) * time.Second
}

func (p *parser) optionalInt(o *fields, name string, least, most int64) *int {
	n := p.whole(o, name, least, most)
	if n == nil {
		return nil
	}
	v := int(*n)
	return &v
}

// refuse refuses fields that are set to something and would have no effect.
func (p *parser) refuse(o *fields, names map[string]string) {
	for _, name := range sortedKeys(names) {
		raw := o.get(name)
		if raw == nil || bytes.Equal(bytes.TrimSpace(raw), []byte("false")) {
			continue
		}
		p.fail(o.at(name), "is not carried out here: %s", names[name])
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

const debounceHint = "take it out; jobs are queued by the limit, and not merged"

// notFlow are fields of a flow's value that are refused.
var notFlow = map[string]string{
	"same_worker":                   "take it out; pass values between steps as results",
	"debounce_key":                  debounceHint,
	"debounce_delay_s":              debounceHint,
	"debounce_args_to_accumulate":   debounceHint,
	"max_total_debouncing_time":     debounceHint,
	"max_total_debounces_amount":    debounceHint,
	"skip_expr":                     "put skip_if on the steps",
	"chat_input_enabled":            "take it out",
	"cache_ignore_s3_path":          "take it out",
	"concurrency_count_all_retries": "take it out; every attempt counts",
}

func (p *parser) flow(o *fields) {
	v := p.v
	p.refuse(o, notFlow)
	v.Limits, v.OnLimit, v.MaxWait, v.MaxLost = p.limits(o, "concurrency_key")
	v.Priority = p.optionalInt(o, "priority", -100, 100)
	v.EarlyReturn = p.text(o, "early_return")
	v.CacheTTL = p.seconds(o, "cache_ttl")
	if raw := o.get("flow_env"); raw != nil {
		p.object(o.at("flow_env"), raw)
		v.Env = raw
	}
	v.Failure = p.special(o, "failure_module", FailureStep)
	v.Preprocessor = p.special(o, "preprocessor_module", PreprocessorStep)
	if o.get("modules") == nil {
		p.fail(o.at("modules"), "must be a list of steps")
	}
	v.Modules = p.modules(o, "modules", "", 0)
	if v.EarlyReturn != "" && p.err == nil && (v.byID[v.EarlyReturn] == nil || v.in[v.EarlyReturn] != "") {
		p.fail(o.at("early_return"), "must be the id of a step of the flow itself; there is none %q", v.EarlyReturn)
	}
}

// special reads the failure module or the preprocessor.
func (p *parser) special(o *fields, name, id string) *Module {
	raw := o.get(name)
	if raw == nil {
		return nil
	}
	m := p.one(o.at(name), raw, id, "", 0)
	p.module = ""
	if m == nil || p.err != nil {
		return nil
	}
	if m.Kind != KindRaw && m.Kind != KindScript {
		p.fail(o.at(name), "must be a rawscript or a script, not a %s", m.Kind)
	}
	if !m.Plain() {
		p.fail(o.at(name), "takes no retry, suspend, sleep, mock, skip_if, stop_after_if or continue_on_error")
	}
	return m
}

// limits reads the fields of a limit that stand beside each other in o.
func (p *parser) limits(o *fields, keyName string) (s limit.Settings, onLimit string, wait time.Duration, lost *int) {
	f := limit.Fields{N: o.m[limit.FieldN], Window: o.m[limit.FieldWindow], Mode: o.m[limit.FieldMode], Key: o.m[keyName]}
	if keyName != limit.FieldKey && null(f.Key) {
		f.Key, keyName = o.m[limit.FieldKey], limit.FieldKey
	}
	s, err := f.Validate()
	var fe *limit.FieldError
	if errors.As(err, &fe) {
		name := fe.Field
		if name == limit.FieldKey {
			name = keyName
		}
		p.fail(o.at(name), "%s", fe.Message)
	} else if err != nil {
		p.fail(o.name, "%v", err)
	}
	onLimit = p.text(o, "on_concurrency_limit")
	if onLimit != "" && onLimit != "queue" && onLimit != "fail" {
		p.fail(o.at("on_concurrency_limit"), `must be "queue" or "fail"`)
	}
	wait = p.seconds(o, "max_wait_s")
	lost = p.optionalInt(o, "max_lost_attempts", 0, 1000)
	return s, onLimit, wait, lost
}

// modules reads a list of modules, which is a scope.
func (p *parser) modules(o *fields, name, scope string, depth int) []*Module {
	if depth > MaxDepth {
		p.fail(o.at(name), "loops and branches may stand %d deep within each other", MaxDepth)
		return nil
	}
	outer := p.module
	var out []*Module
	for i, raw := range p.list(o, name) {
		if p.err != nil {
			return nil
		}
		if m := p.one(fmt.Sprintf("%s[%d]", o.at(name), i), raw, "", scope, depth); m != nil {
			out = append(out, m)
		}
		p.module = outer
	}
	p.v.scopes[scope] = out
	return out
}

// notModule are fields of a module that are refused.
var notModule = map[string]string{
	"apply_preprocessor":       "take it out; use preprocessor_module",
	"pass_flow_input_directly": "take it out; name the arguments in input_transforms",
	"cache_ignore_s3_path":     "take it out",
	"delete_after_secs":        "use delete_after_use",
	"debounce_key":             debounceHint,
}

// one reads one module. id is its id if it names none.
func (p *parser) one(name string, raw json.RawMessage, id, scope string, depth int) *Module {
	o := p.object(name, raw)
	if o == nil {
		return nil
	}
	m := &Module{ID: p.text(o, "id"), Summary: p.text(o, "summary")}
	if m.ID == "" {
		m.ID = id
	}
	p.module = m.ID
	if p.count++; p.count > MaxModules {
		p.fail(name, "a flow may have %d steps in all", MaxModules)
	}
	switch {
	case !moduleID.MatchString(m.ID):
		p.fail(o.at("id"), "must begin with a letter and hold letters, digits, _ and - only (at most 64)")
	case p.v.byID[m.ID] != nil:
		p.fail(o.at("id"), "is the id of another step, too; ids are unique in a flow, loops and branches included")
	}
	p.v.byID[m.ID], p.v.in[m.ID] = m, scope
	p.options(o, m)
	if v := p.sub(o, "value"); v != nil {
		p.value(v, m, depth)
	} else {
		p.fail(o.at("value"), "must say what the step does")
	}
	p.module = m.ID
	p.fits(o, m)
	if p.err != nil {
		return nil
	}
	return m
}

func (p *parser) options(o *fields, m *Module) {
	p.refuse(o, notModule)
	for _, name := range append(limitFields, "custom_concurrency_key") {
		if o.get(name) != nil {
			p.fail(o.at(name), "belongs in the step's value, beside its language")
		}
	}
	m.StopIf = p.stop(o, "stop_after_if")
	m.StopAfterAll = p.stop(o, "stop_after_all_iters_if")
	if s := p.sub(o, "skip_if"); s != nil {
		m.SkipIf = p.expr(s)
	}
	m.Sleep = p.transform(o, "sleep")
	m.Timeout = p.transform(o, "timeout")
	m.CacheTTL = p.seconds(o, "cache_ttl")
	m.ContinueOnError = p.flag(o, "continue_on_error")
	m.DeleteAfterUse = p.flag(o, "delete_after_use")
	m.Priority = p.optionalInt(o, "priority", -100, 100)
	m.Retry = p.retry(o)
	m.Suspend = p.suspend(o)
	if s := p.sub(o, "mock"); s != nil && p.flag(s, "enabled") {
		m.Mock = &Mock{Value: s.get("return_value")}
		if m.Mock.Value == nil {
			m.Mock.Value = json.RawMessage("null")
		}
	}
}

// expr reads the field expr, which must be there.
func (p *parser) expr(o *fields) string {
	const name = "expr"
	s := p.text(o, name)
	switch {
	case strings.TrimSpace(s) == "":
		p.fail(o.at(name), "must be a JavaScript expression")
	case len(s) > MaxExpr:
		p.fail(o.at(name), "has %d bytes; at most %d are allowed", len(s), MaxExpr)
	}
	return s
}

func (p *parser) stop(o *fields, name string) *Stop {
	s := p.sub(o, name)
	if s == nil {
		return nil
	}
	st := &Stop{Expr: p.expr(s), Skipped: p.flag(s, "skip_if_stopped")}
	if raw := s.get("error_message"); raw != nil {
		st.Message = p.text(s, "error_message")
		if st.Message == "" {
			st.Message = "The flow was stopped early after this step."
		}
	}
	return st
}

func (p *parser) retry(o *fields) *Retry {
	s := p.sub(o, "retry")
	if s == nil {
		return nil
	}
	r := &Retry{}
	if c := p.sub(s, "constant"); c != nil {
		r.Constant = p.int(c, "attempts", MaxAttempts)
		r.Delay = p.seconds(c, "seconds")
	}
	if e := p.sub(s, "exponential"); e != nil {
		r.Exponential = p.int(e, "attempts", MaxAttempts)
		r.Multiplier, r.Base = 1, 1
		if n := p.whole(e, "multiplier", 0, 1_000_000); n != nil {
			r.Multiplier = int(*n)
		}
		if n := p.whole(e, "seconds", 1, 1_000_000); n != nil {
			r.Base = int(*n)
		}
		r.Jitter = p.int(e, "random_factor", 100)
	}
	if i := p.sub(s, "retry_if"); i != nil {
		r.If = p.expr(i)
	}
	if r.Constant+r.Exponential > MaxAttempts {
		p.fail(s.name, "may make %d attempts in all", MaxAttempts)
	}
	if r.Constant+r.Exponential == 0 {
		return nil // Windmill's page leaves such objects behind
	}
	return r
}

func (p *parser) suspend(o *fields) *Suspend {
	s := p.sub(o, "suspend")
	if s == nil {
		return nil
	}
	su := &Suspend{Required: 1, Timeout: p.seconds(s, "timeout")}
	if n := p.whole(s, "required_events", 0, MaxEvents); n != nil {
		su.Required = int(*n)
	}
	if f := p.sub(s, "resume_form"); f != nil {
		su.Form = f.get("schema")
	}
	su.UserRequired = p.flag(s, "user_auth_required")
	su.NoSelf = p.flag(s, "self_approval_disabled")
	su.GoOn = p.flag(s, "continue_on_disapprove_timeout")
	if t := p.transform(s, "user_groups_required"); t != nil {
		if su.GroupsDynamic = t.Expr; t.Expr == "" && !null(t.Static) && json.Unmarshal(t.Static, &su.Groups) != nil {
			p.fail(s.at("user_groups_required"), "must be a list of names of groups")
		}
	}
	if su.GroupsDynamic != "" || len(su.Groups) > 0 {
		p.fail(s.at("user_groups_required"), "is not carried out here: there are no groups of users; use user_auth_required")
	}
	if su.Required == 0 {
		return nil
	}
	return su
}

// transform reads an input transform; nil if it is absent.
func (p *parser) transform(o *fields, name string) *Transform {
	raw := o.get(name)
	if raw == nil {
		return nil
	}
	var n float64
	if json.Unmarshal(raw, &n) == nil { // as older files have it
		return &Transform{Static: raw}
	}
	t := p.object(o.at(name), raw)
	if t == nil {
		return nil
	}
	switch kind := p.text(t, "type"); kind {
	case "static", "":
		return &Transform{Static: t.get("value")}
	case "javascript":
		return &Transform{Expr: p.expr(t)}
	case "ai":
		p.fail(t.at("type"), `"ai" is not carried out here; use static or javascript`)
	default:
		p.fail(t.at("type"), `must be "static" or "javascript", not %q`, kind)
	}
	return nil
}
