package flow

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"sluice/limit"
)

var languageName = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)

// MaxContent bounds the code of one step.
const MaxContent = 1 << 20

const maxTag = 50

// notRaw are fields of code in a flow that are refused.
var notRaw = map[string]string{
	"debounce_key":     debounceHint,
	"debounce_delay_s": debounceHint,
}

// ofCode are fields of inline code, with what to do on other kinds of steps.
// Windmill has none of them there; a limit that nobody keeps is worse than none.
func ofCode(kind Kind) map[string]string {
	hint := "take it out, and put it on the steps within"
	switch kind {
	case KindScript, KindFlow:
		hint = "set it on the " + string(kind) + " that the step calls"
	case KindIdentity:
		hint = "take it out; it runs nothing"
	case KindRaw, KindFor, KindWhile, KindBranchOne, KindBranchAll:
	}
	fields := map[string]string{"custom_concurrency_key": hint}
	for _, name := range limitFields {
		fields[name] = hint
	}
	return fields
}

// limitFields are the fields of a limit.
var limitFields = []string{
	limit.FieldN, limit.FieldWindow, limit.FieldMode, limit.FieldKey, "on_concurrency_limit", "max_wait_s", "max_lost_attempts",
}

// foreign refuses fields of a value that another kind of step has, and that
// would be left without effect.
func (p *parser) foreign(o *fields, m *Module) {
	if m.Kind != KindRaw {
		p.refuse(o, ofCode(m.Kind))
	}
	if !m.Loop() {
		p.refuse(o, map[string]string{"squash": "take it out; it is for loops"})
	}
	if in := p.sub(o, "input_transforms"); !m.Leaf() && in != nil && len(in.m) > 0 {
		p.fail(in.name, "%s takes no arguments; name them on the steps within or after it", m.Kind.spoken())
	}
}

// value reads what a module does.
func (p *parser) value(o *fields, m *Module, depth int) {
	m.Kind = Kind(p.text(o, "type"))
	if known[m.Kind] {
		p.foreign(o, m)
	}
	switch m.Kind {
	case KindRaw:
		p.raw(o, m)
	case KindScript, KindFlow:
		m.Path, m.Hash = p.text(o, "path"), p.text(o, "hash")
		m.Tag = p.tag(o, "tag_override")
		if m.Path == "" && (m.Hash == "" || m.Kind == KindFlow) {
			p.fail(o.at("path"), "must name what to run")
		}
		if strings.HasPrefix(m.Path, "hub/") {
			p.fail(o.at("path"), "scripts of the hub are not here; push it under a path of your own")
		}
		p.inputs(o, m)
	case KindFor:
		if t := p.transform(o, "iterator"); t != nil {
			m.Iterator = *t
		} else {
			p.fail(o.at("iterator"), "must say what to loop over")
		}
		m.Parallelism = p.transform(o, "parallelism")
		p.loop(o, m, depth)
	case KindWhile:
		p.refuse(o, map[string]string{"parallel": "a whileloopflow needs the end of one iteration to know whether there is another"})
		p.loop(o, m, depth)
	case KindBranchOne:
		p.branches(o, m, depth)
		m.Default = p.modules(o, "default", m.ID+"/default", depth+1)
	case KindBranchAll:
		m.Parallel = o.get("parallel") == nil || p.flag(o, "parallel")
		p.branches(o, m, depth)
	case KindIdentity:
	case "":
		p.fail(o.at("type"), "must name the kind of the step, such as rawscript")
	case "aiagent", "aidecision":
		p.fail(o.at("type"), "%q is not carried out here; call the model from a script", m.Kind)
	default:
		p.fail(o.at("type"), "%q is no kind of step; use rawscript, script, flow, forloopflow, whileloopflow, branchone, branchall or identity", m.Kind)
	}
}

func (p *parser) loop(o *fields, m *Module, depth int) {
	p.refuse(o, map[string]string{"squash": "take it out; each iteration is a run of its own"})
	m.Parallel, m.SkipFailed = p.flag(o, "parallel"), p.flag(o, "skip_failures")
	m.Body = p.modules(o, "modules", m.ID, depth+1)
	if p.err == nil && len(m.Body) == 0 {
		p.module = m.ID
		p.fail(o.at("modules"), "must hold at least one step")
	}
}

func (p *parser) branches(o *fields, m *Module, depth int) {
	list := p.list(o, "branches")
	if len(list) > MaxBranches {
		p.fail(o.at("branches"), "may be %d at most", MaxBranches)
	}
	for i, raw := range list {
		b := p.object(fmt.Sprintf("%s[%d]", o.at("branches"), i), raw)
		if b == nil || p.err != nil {
			return
		}
		br := Branch{Summary: p.text(b, "summary")}
		if m.Kind == KindBranchOne {
			br.Expr = p.expr(b)
		} else {
			br.SkipFailure = p.flag(b, "skip_failure")
			p.refuse(b, map[string]string{"parallel": "set parallel beside branches"})
		}
		br.Modules = p.modules(b, "modules", fmt.Sprintf("%s/%d", m.ID, i), depth+1)
		m.Branches = append(m.Branches, br)
	}
}

func (p *parser) raw(o *fields, m *Module) {
	p.refuse(o, notRaw)
	r := &Raw{Content: p.text(o, "content"), Language: p.text(o, "language")}
	switch {
	case !languageName.MatchString(r.Language):
		p.fail(o.at("language"), "must name a language, such as bash")
	case len(r.Content) > MaxContent:
		p.fail(o.at("content"), "has %d bytes; at most %d are allowed", len(r.Content), MaxContent)
	}
	if raw := o.get("lock"); raw != nil {
		lock := p.text(o, "lock")
		r.Lock = &lock
	}
	m.Tag = p.tag(o, "tag")
	r.Limits, r.OnLimit, r.MaxWait, r.MaxLost = p.limits(o, "custom_concurrency_key")
	m.Raw = r
	p.inputs(o, m)
}

func (p *parser) tag(o *fields, name string) string {
	tag := p.text(o, name)
	if len(tag) > maxTag || strings.ContainsAny(tag, "\n\x00,") {
		p.fail(o.at(name), "must be at most %d characters without comma or line feed", maxTag)
	}
	return tag
}

func (p *parser) inputs(o *fields, m *Module) {
	in := p.sub(o, "input_transforms")
	if in == nil {
		return
	}
	for _, name := range sortedKeys(in.m) {
		if !utf8.ValidString(name) {
			p.fail(in.name, "names of arguments must be valid UTF-8")
			return
		}
		if t := p.transform(in, name); t != nil {
			m.Inputs = append(m.Inputs, Named{Name: name, Transform: *t})
		} else if p.err != nil {
			return
		}
	}
}

// within is what to do with an option that a loop or a branch does not have.
const within = "put it on the steps within"

// fits refuses options that make no sense on a kind of step, by name.
func (p *parser) fits(o *fields, m *Module) {
	if p.err != nil {
		return
	}
	no := func(set bool, name, hint string) {
		if m.Kind == KindIdentity && hint == within {
			hint = "it runs nothing"
		}
		if set {
			p.fail(o.at(name), "has no meaning on %s; %s", m.Kind.spoken(), hint)
		}
	}
	container := !m.Leaf() && m.Kind != KindIdentity
	no(m.StopAfterAll != nil && !m.Loop() && m.Kind != KindBranchAll, "stop_after_all_iters_if", "use stop_after_if")
	no(m.Kind == KindBranchAll && m.StopIf != nil, "stop_after_if", "use stop_after_all_iters_if")
	no(m.Retry != nil && !m.Leaf(), "retry", within)
	no(m.Timeout != nil && !m.Leaf(), "timeout", within)
	no(m.CacheTTL != 0 && !m.Leaf(), "cache_ttl", within)
	no(m.Priority != nil && !m.Leaf(), "priority", within)
	no(m.DeleteAfterUse && !m.Leaf(), "delete_after_use", within)
	no(m.ContinueOnError && m.Kind == KindIdentity, "continue_on_error", "it cannot fail")
	no(m.Suspend != nil && container, "suspend", "put it on the step before or on an identity step after it")
}
