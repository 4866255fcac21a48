package worker

import (
	"context"
	"regexp"
)

// Python runs Python scripts with the system's python3. The zero value is not
// usable; see [NewPython].
//
// The function main gets the arguments by name: those that it takes, or all if
// it takes any. Texts become bytes (from Base64), datetime or date where the
// parameter says so. The result is what it returns, awaited if need be: NaN and
// infinities become null, bytes Base64, sets lists, data classes objects, members
// of an Enum their values; what JSON has no word for becomes its text.
type Python struct {
	program program
	err     error
}

// NewPython looks for python3 in the system's folders.
func NewPython() *Python {
	path, err := findProgram("python3")
	return &Python{err: err, program: program{
		path: path,
		// Isolated, without the modules of a site: what the code imports beside the
		// standard library comes with the request.
		args: []string{"python3", "-I", "-S", "-B", "-X", "frozen_modules", "-X", "utf8", "-X", "int_max_str_digits=0", ".wrapper.py"},
		env:  []string{"PATH=" + jobPath, "LANG=C.UTF-8"}, files: putWrapper("wrapper.py"),
		warm: "python3", template: wrapperCode("template.py"), wrapper: wrapperCode("wrapper.py"), modules: fewModules,
	}}
}

// What is loaded ahead: what nearly every script imports, and what is large and
// imported by some. A script that names something of the latter gets a process in
// which it is loaded; the others do not pay for copying it.
const (
	fewModules = `base64 binascii collections contextlib copy dataclasses datetime enum functools hashlib io itertools
		linecache logging math operator os.path pathlib random re string textwrap time traceback types typing _sitebuiltins`
	moreModules = fewModules + ` asyncio atexit concurrent.futures csv decimal encodings.idna glob hmac html http.client inspect
		secrets shutil ssl statistics subprocess tempfile unicodedata urllib.error urllib.parse urllib.request uuid zoneinfo`
)

var namesMore = regexp.MustCompile(
	`\b(async|asyncio|concurrent|csv|decimal|http|inspect|secrets|shutil|ssl|statistics|subprocess|tempfile|urllib|uuid|zoneinfo)\b`)

// Available returns an error if python3 was not found.
func (p *Python) Available() error { return p.err }

// Run runs one script.
func (p *Python) Run(ctx context.Context, t *Task) Outcome {
	if p.err != nil {
		return failed(FailureUnsupported, "This worker cannot run Python: %v. Install it, for example with: apt install python3.", p.err)
	}
	packages, err := t.dependencies(ctx)
	if err != nil {
		return t.noDependencies(err)
	}
	program, q := p.program, t.request()
	if packages != "" || namesMore.MatchString(t.Content) {
		program.warm, program.modules = "python3, more modules", moreModules
	}
	if packages != "" {
		program.read, q.Paths = []string{packages}, []string{packages}
	}
	return t.ask(ctx, program, q, putCode("main.py", t.Content))
}
