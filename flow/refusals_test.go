package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const code = `{"type":"rawscript","language":"bash","content":"x"}`

// stepOf is a step with an id, the options given and a value.
func stepOf(options, value string) string {
	if options != "" {
		options += ","
	}
	return `{"modules":[{"id":"a",` + options + `"value":` + value + `}]}`
}

// TestParse_Refusals: what cannot be carried out is refused by the path of the
// field, with what to do.
func TestParse_Refusals(t *testing.T) {
	t.Parallel()
	deep := code
	for i := range MaxDepth + 1 {
		deep = fmt.Sprintf(`{"type":"branchall","branches":[{"modules":[{"id":"d%d","value":%s}]}]}`, i, deep)
	}
	many := strings.Repeat(`{"modules":[]},`, MaxBranches) + `{"modules":[]}`
	for _, c := range []struct{ in, field, words string }{
		{`7`, "value", "must be an object"},
		{`{}`, "value.modules", "must be a list"},
		{`{"modules":{}}`, "value.modules", "must be a list"},
		{`{"modules":[7]}`, "value.modules[0]", "must be an object"},
		{`{"modules":[{"value":` + code + `}]}`, "value.modules[0].id", "must begin with a letter"},
		{`{"modules":[{"id":"a b","value":` + code + `}]}`, "value.modules[0].id", "must begin with a letter"},
		{`{"modules":[{"id":"a","value":` + code + `},{"id":"a","value":` + code + `}]}`, "value.modules[1].id", "unique"},
		{`{"modules":[{"id":"a"}]}`, "value.modules[0].value", "must say what the step does"},
		{`{"modules":[],"same_worker":true}`, "value.same_worker", "take it out"},
		{`{"modules":[],"skip_expr":"x"}`, "value.skip_expr", "put skip_if on the steps"},
		{`{"modules":[],"chat_input_enabled":true}`, "value.chat_input_enabled", "take it out"},
		{`{"modules":[],"debounce_delay_s":5}`, "value.debounce_delay_s", "take it out"},
		{`{"modules":[],"concurrent_limit":0}`, "value.concurrent_limit", "leave it out for no limit"},
		{`{"modules":[],"concurrency_key":5}`, "value.concurrency_key", "must be a string"},
		{`{"modules":[],"concurrent_limit":1,"concurrency_time_window_s":-1}`, "value.concurrency_time_window_s", "must"},
		{`{"modules":[],"on_concurrency_limit":"x"}`, "value.on_concurrency_limit", `"queue" or "fail"`},
		{`{"modules":[],"priority":101}`, "value.priority", "from -100 to 100"},
		{`{"modules":[],"cache_ttl":-1}`, "value.cache_ttl", "whole number"},
		{`{"modules":[],"early_return":"b"}`, "value.early_return", "there is none"},
		{`{"modules":[],"flow_env":[]}`, "value.flow_env", "must be an object"},
		{`{"modules":[],"failure_module":{"value":{"type":"identity"}}}`, "value.failure_module", "rawscript or a script"},
		{`{"modules":[],"preprocessor_module":{"retry":{"constant":{"attempts":1}},"value":` + code + `}}`, "value.preprocessor_module", "takes no retry"},
		{stepOf("", `{"type":"nothing"}`), "value.modules[0].value.type", "use rawscript"},
		{stepOf("", `{}`), "value.modules[0].value.type", "must name the kind"},
		{stepOf("", `{"type":"aiagent"}`), "value.modules[0].value.type", "call the model from a script"},
		{stepOf("", `{"type":"rawscript"}`), "value.modules[0].value.language", "must name a language"},
		{stepOf("", `{"type":"rawscript","language":"bash","tag":"a,b"}`), "value.modules[0].value.tag", "without comma"},
		{stepOf("", `{"type":"rawscript","language":"bash","custom_concurrency_key":"$args["}`), "value.modules[0].value.custom_concurrency_key", "$args"},
		{stepOf("", `{"type":"rawscript","language":"bash","input_transforms":{"x":{"type":"ai"}}}`), "value.modules[0].value.input_transforms.x.type", "use static or javascript"},
		{stepOf("", `{"type":"rawscript","language":"bash","input_transforms":{"x":{"type":"javascript"}}}`), "value.modules[0].value.input_transforms.x.expr", "must be a JavaScript expression"},
		{stepOf("", `{"type":"script"}`), "value.modules[0].value.path", "must name what to run"},
		{stepOf("", `{"type":"script","path":"hub/1/x"}`), "value.modules[0].value.path", "push it under a path of your own"},
		{stepOf("", `{"type":"script","path":"f/a","concurrent_limit":1}`), "value.modules[0].value.concurrent_limit", "set it on the script that the step calls"},
		{stepOf(`"concurrent_limit":1`, code), "value.modules[0].concurrent_limit", "belongs in the step's value"},
		{stepOf("", `{"type":"forloopflow","modules":[]}`), "value.modules[0].value.iterator", "must say what to loop over"},
		{stepOf("", `{"type":"forloopflow","iterator":{"value":[]},"modules":[]}`), "value.modules[0].value.modules", "at least one step"},
		{stepOf("", `{"type":"whileloopflow","parallel":true,"modules":[]}`), "value.modules[0].value.parallel", "needs the end of one iteration"},
		{stepOf("", `{"type":"branchone","branches":[{"modules":[]}]}`), "value.modules[0].value.branches[0].expr", "must be a JavaScript expression"},
		{stepOf("", `{"type":"branchall","branches":[{"parallel":true}]}`), "value.modules[0].value.branches[0].parallel", "beside branches"},
		{stepOf("", `{"type":"branchall","branches":[`+many+`]}`), "value.modules[0].value.branches", "at most"},
		{stepOf("", `{"type":"identity","input_transforms":{"x":{"value":1}}}`), "value.modules[0].value.input_transforms", "takes no arguments"},
		{stepOf(`"retry":{"constant":{"attempts":1.5}}`, code), "value.modules[0].retry.constant.attempts", "whole number"},
		{stepOf(`"retry":{"constant":{"attempts":600},"exponential":{"attempts":600}}`, code), "value.modules[0].retry", "attempts in all"},
		{stepOf(`"stop_after_if":{}`, code), "value.modules[0].stop_after_if.expr", "must be a JavaScript expression"},
		{stepOf(`"skip_if":{"expr":"`+strings.Repeat("x", MaxExpr+1)+`"}`, code), "value.modules[0].skip_if.expr", "at most"},
		{stepOf(`"timeout":{"type":"static","value":1}`, `{"type":"identity"}`), "value.modules[0].timeout", "has no meaning on an identity"},
		{stepOf(`"suspend":{"required_events":101}`, code), "value.modules[0].suspend.required_events", "from 0 to 100"},
		{stepOf(`"suspend":{"user_groups_required":{"type":"static","value":["g"]}}`, code), "value.modules[0].suspend.user_groups_required", "use user_auth_required"},
		{stepOf(`"delete_after_secs":5`, code), "value.modules[0].delete_after_secs", "use delete_after_use"},
		{stepOf(`"continue_on_error":"yes"`, code), "value.modules[0].continue_on_error", "true or false"},
		{`{"modules":[{"id":"top","value":` + deep + `}]}`, ".modules", "deep within each other"},
	} {
		v, err := Parse(json.RawMessage(c.in))
		if v != nil || err == nil {
			t.Errorf("%.100s was taken", c.in)
			continue
		}
		field, message, _ := strings.Cut(err.Error(), ": ")
		field, _, _ = strings.Cut(field, " (step ")
		deepIn := strings.HasPrefix(c.field, ".") && strings.HasSuffix(field, c.field)
		if field != c.field && !deepIn || !strings.Contains(message, c.words) {
			t.Errorf("%.100s: %q: %q; want %q: … %s …", c.in, field, message, c.field, c.words)
		}
	}
}

// FuzzParse: nothing makes the parser panic; what it refuses has a field; what
// it takes, it takes without its white space, too, and finds the same in it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"modules":[]}`, `{"modules":[{"id":"a","value":` + code + `}],"failure_module":{"value":` + code + `}}`, stepOf(`"retry":{"exponential":{"attempts":2}}`, code),
		stepOf(`"stop_after_if":{"expr":"result"}`, `{"type":"forloopflow","iterator":{"value":[1]},"modules":[{"id":"b","value":`+code+`}]}`),
		stepOf(`"suspend":{"required_events":2},"sleep":3`, `{"type":"identity"}`), stepOf("", `{"type":"branchone","branches":[{"expr":"true","modules":[]}],"default":[]}`),
		stepOf("", `{"type":"branchall","branches":[{"modules":[{"id":"b","value":{"type":"flow","path":"f/x"}}]}]}`), `{"modules":[{}]}`, `[`, `null`, `{"modules":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := Parse(raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "value") {
				t.Fatalf("an error without a field: %v", err)
			}
			return
		}
		var small bytes.Buffer
		if err := json.Compact(&small, raw); err != nil {
			t.Fatalf("what is no JSON was taken: %v", err)
		}
		again, err := Parse(small.Bytes())
		if err != nil || len(again.byID) != len(v.byID) || len(again.scopes) != len(v.scopes) {
			t.Fatalf("without white space: %v", err)
		}
	})
}

// print prints a path as it could have been written.
func (p *path) print() string {
	switch {
	case p.literal != nil:
		return string(p.literal)
	case p.template != nil:
		var b strings.Builder
		for _, part := range p.template {
			if part.path == nil {
				b.WriteString(part.text)
			} else {
				b.WriteString("${" + part.path.print() + "}")
			}
		}
		return "`" + b.String() + "`"
	}
	s, keys := p.root, p.keys
	if p.step != "" {
		keys = append([]key{{name: p.step}}, keys...)
	}
	for _, k := range keys {
		if k.optional {
			s += "?."
		}
		switch {
		case k.name == "":
			s += fmt.Sprintf("[%d]", k.index)
		case strings.Contains(k.name, `"`):
			s += "['" + k.name + "']"
		default:
			s += `["` + k.name + `"]`
		}
	}
	return s
}

// FuzzParsePath: nothing makes the parser of plain paths panic, and it takes
// what it has understood once more, and understands the same.
func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{
		"flow_input.a.b[0]", "results.a", "results['a b'].c", `results["x"]?.y?.[2]`, "previous_result;", "`of ${flow_input.n} and ${results.a}`", "1.5", "-0", "'x'",
		"undefined", "flow_input.__proto__", "results", "`${`", "`a\\`", "flow_input[01]", "result?.", "error.message",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := parsePath(text)
		if p == nil {
			return
		}
		said := p.print()
		if p.literal != nil && strings.Contains(said, `\`) {
			return // JSON escapes what a plain literal may hold as it is
		}
		again := parsePath(said)
		if again == nil || again.print() != said {
			t.Fatalf("%q was read as %q, which is not read so again", text, said)
		}
	})
}
