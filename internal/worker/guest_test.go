package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
)

// script makes the assignment of a script in a language.
func script(id int64, language, code string) sluice.Assignment {
	a := bashJob(id, code, "")
	a.Language, a.Hash = language, "0123456789abcdef"
	return a
}

// languagesKeptWarm have a job that says which process it is in, and what an
// earlier job has left behind there.
var languagesKeptWarm = map[string]string{
	"python3": `
import os, sys
def main():
    seen = getattr(sys, "mark", 0)
    sys.mark = seen + 1
    left = os.path.exists("mark")
    open("mark", "w").close()
    with open("/proc/self/status") as f:
        caps = [l.split()[1] for l in f if l.startswith(("CapEff", "CapPrm", "NoNewPrivs"))]
    import ctypes
    apart = ctypes.CDLL(None).unshare(0x10000000) == 0  # a user namespace
    return [os.getppid() < 2, os.getuid() != 0, seen, left or apart, caps, os.getcwd(), sys.argv, os.environ["WM_JOB_ID"], len(os.listdir("/proc/self/fd"))]
`,
	"bun": `
import { existsSync, readFileSync, writeFileSync, readdirSync } from "node:fs";
export function main() {
  const g = globalThis as any;
  const seen = g.mark ?? 0;
  g.mark = seen + 1;
  const left = existsSync("mark");
  writeFileSync("mark", "");
  const caps = readFileSync("/proc/self/status", "utf8").split("\n").filter((l) => /^(CapEff|CapPrm|NoNewPrivs)/.test(l)).map((l) => l.split(/\s+/)[1]);
  return [process.ppid < 2, process.getuid!() !== 0, seen, left, caps, process.cwd(), ["main.py"], process.env.WM_JOB_ID, 5];
}
`,
}

// W5, W7: a program started ahead serves one job, behind the same walls as any
// other.
func TestWarmProgramsServeOneJob(t *testing.T) {
	for language, code := range languagesKeptWarm {
		t.Run(language, func(t *testing.T) {
			f := newFakeSource()
			w, stop := startWorker(t, f, func(c *Config) { c.Places = 2 })
			var used []*guest
			for id := int64(1); id <= 6; id++ {
				if id > 1 {
					eventually(t, "programs started ahead", func() bool {
						w.guests.mu.Lock()
						defer w.guests.mu.Unlock()
						list := w.guests.warm[language]
						if len(list) == 2 {
							used = append(used, list[1])
						}
						return len(list) == 2
					})
				}
				f.push(script(id, language, code))
				got := string(f.result(t, id).Result)
				want := fmt.Sprintf(`[true,true,0,false,["0000000000000000","0000000000000000","1"],"/job",["main.py"],"job-%d",`, id)
				if !strings.HasPrefix(got, want) {
					t.Errorf("job %d: %s, want %s…", id, got, want)
				}
			}
			if !slices.ContainsFunc(used, func(g *guest) bool { return g.out.closed }) {
				t.Error("no program that was started ahead was used")
			}
			w.guests.mu.Lock()
			if len(w.guests.broken) > 0 || (len(w.guests.templates) > 0) != (language == "python3") {
				t.Errorf("templates %v, broken %v", w.guests.templates, w.guests.broken)
			}
			w.guests.mu.Unlock()
			stop()
			if _, err := os.Stat(w.dir); !os.IsNotExist(err) {
				left, _ := filepath.Glob(w.dir + "/*")
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// W6: a dedicated program serves many jobs of its script and of no other, with
// the environment and the log of each.
func TestDedicatedPrograms(t *testing.T) {
	for language, code := range languagesKeptWarm {
		t.Run(language, func(t *testing.T) {
			f := newFakeSource()
			startWorker(t, f, func(c *Config) { c.Places = 1 })
			say := map[string][2]string{"python3": {"def main():", "def main():\n    print('in', os.environ['WM_JOB_ID'])"}, "bun": {"export function main() {", "export function main() {\n  console.log('in', process.env.WM_JOB_ID);"}}[language]
			code := strings.Replace(code, say[0], say[1], 1)
			run := func(id int64, hash string) (string, string) {
				a := script(id, language, code)
				a.Dedicated, a.Hash = true, hash
				f.push(a)
				return string(f.result(t, id).Result), f.logOf(id)
			}
			for id := int64(1); id <= 5; id++ {
				got, log := run(id, "0123456789abcdef")
				if want := fmt.Sprintf(`[true,true,%d,%v,`, id-1, id > 1); !strings.HasPrefix(got, want) || !strings.Contains(got, fmt.Sprintf(`"job-%d"`, id)) {
					t.Errorf("job %d: %s, want %s…", id, got, want)
				}
				if want := fmt.Sprintf("in job-%d\n", id); log != want {
					t.Errorf("log of job %d: %q", id, log)
				}
			}
			if got, _ := run(6, "fedcba9876543210"); !strings.HasPrefix(got, `[true,true,0,false,`) {
				t.Errorf("another script: %s", got)
			}
		})
	}
}

// A dedicated program that is ended with its job, or that ends itself, is not
// used again.
func TestDedicatedProgramThatEnds(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, func(c *Config) { c.Places = 1 })
	code := `
import os, sys, time
n = 0
def main(what: str = ""):
    global n
    n += 1
    if what == "exit":
        os._exit(7)
    if what == "raise":
        raise ValueError("no")
    if what == "wait":
        print("up", flush=True)
        time.sleep(100)
    return n
`
	push := func(id int64, args string) {
		a := script(id, "python3", code)
		a.Dedicated, a.Args = true, []byte(args)
		f.push(a)
	}
	push(1, `{}`)
	push(2, `{"what":"raise"}`)
	push(3, `{}`)
	push(4, `{"what":"exit"}`)
	push(5, `{}`)
	push(6, `{"what":"wait"}`)
	f.until(t, "it waits", func() bool { return len(f.logs[6]) > 0 })
	f.order(sluice.Order{Execution: 6, Kill: true})
	push(7, `{}`)
	for id, want := range map[int64]string{1: "1", 3: "3", 5: "1", 7: "1"} {
		if r := f.result(t, id); string(r.Result) != want {
			t.Errorf("job %d: %s, want %s", id, r.Result, want)
		}
	}
	for id, want := range map[int64]string{2: "ValueError", 4: "ExitCode: 7", 6: FailureCanceled} {
		if r := f.result(t, id); r.Success || !strings.Contains(string(r.Result), want) {
			t.Errorf("job %d: %s, want %s", id, r.Result, want)
		}
	}
}

// A dedicated program that replies before it has read its request keeps its place
// no longer than the job may run.
func TestDedicatedProgramThatDoesNotRead(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, func(c *Config) { c.Places = 1 })
	code := `
import os, sys, time
def forge():
    line = b""
    while b"," not in line:
        line += os.read(4, 1)
    os.write(201, b'\n{"key":%s,"result":"forged"}\n' % line[line.index(b":") + 1:line.index(b",")])
    time.sleep(300)
def main(x: str = ""):
    sys._getframe(1).f_globals["receive"] = lambda source: forge()
    return 1
`
	for id := int64(1); id <= 2; id++ {
		a := script(id, "python3", code)
		a.Dedicated = true
		if id == 2 {
			a.Args, a.Timeout = []byte(`{"x":"`+strings.Repeat("x", 1<<20)+`"}`), time.Second
		}
		f.push(a)
		r := f.result(t, id)
		if id == 1 && string(r.Result) != "1" || id == 2 && !strings.Contains(string(r.Result), FailureTimeout) {
			t.Errorf("job %d: %.200s", id, r.Result)
		}
	}
}

// A script that names what is large finds it loaded; the others do not have it.
func TestModulesLoadedAhead(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(script(1, "python3", "import sys\ndef main():\n    return ['re' in sys.modules, 'as' + 'yncio' in sys.modules]"))
	f.push(script(2, "python3", "import sys\nasync def main():\n    return ['re' in sys.modules, 'asyncio' in sys.modules, 'ssl' in sys.modules]"))
	for id, want := range map[int64]string{1: "[true,false]", 2: "[true,true,true]"} {
		if got := string(f.result(t, id).Result); got != want {
			t.Errorf("job %d: %s, want %s", id, got, want)
		}
	}
}

// When a template was killed its programs are executed, and it is started anew.
func TestTemplateThatIsKilled(t *testing.T) {
	f := newFakeSource()
	w, _ := startWorker(t, f, func(c *Config) { c.Places = 1 })
	f.push(script(1, "python3", "def main():\n    return 1"))
	f.result(t, 1)
	w.guests.mu.Lock()
	tpl := w.guests.templates["python3"]
	w.guests.mu.Unlock()
	if tpl == nil {
		t.Fatal("there is no template")
	}
	if err := tpl.Kill(0); err != nil {
		t.Fatal(err)
	}
	<-tpl.Gone()
	w.guests.mu.Lock()
	warm := slices.Clone(w.guests.warm["python3"])
	w.guests.mu.Unlock()
	for _, g := range warm { // nobody would say how they end
		<-g.p.Gone()
	}
	for id := int64(2); id <= 6; id++ {
		f.push(script(id, "python3", "def main():\n    return 1"))
		if r := f.result(t, id); string(r.Result) != "1" {
			t.Errorf("job %d: %s", id, r.Result)
		}
	}
	w.guests.mu.Lock()
	defer w.guests.mu.Unlock()
	if now := w.guests.templates["python3"]; now == nil || now == tpl || w.guests.broken["python3"] {
		t.Errorf("the template was not started anew: %v", w.guests.broken)
	}
}

// What a forked program puts beside itself, as another child of the template, is
// of its tree, too.
func TestSiblingsOfForkedPrograms(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	for id := int64(1); id <= 3; id++ {
		f.push(script(id, "python3", `
import ctypes, os, time
libc = ctypes.CDLL(None)
def main():
    for _ in range(3):
        if libc.syscall(56 if os.uname().machine == "x86_64" else 220, 0x8000 | 17, 0, 0, 0, 0) == 0: # clone, CLONE_PARENT
            libc.prctl(15, b"sluice-sibling", 0, 0, 0)
            time.sleep(60)
            os._exit(0)
    time.sleep(0.1)
    return open("/proc/self/comm").read()
`))
		if r := f.result(t, id); !r.Success {
			t.Fatalf("job %d: %s", id, r.Result)
		}
		names, _ := filepath.Glob("/proc/[0-9]*/comm")
		for _, name := range names {
			if comm, _ := os.ReadFile(name); string(comm) == "sluice-sibling\n" {
				t.Errorf("job %d: %s outlived it", id, name)
			}
		}
	}
}

// A forked program is bounded as an executed one is.
func TestForkedProgramsAreBounded(t *testing.T) {
	f := newFakeSource()
	startWorker(t, f, nil)
	f.push(script(1, "python3", `
import resource as r
def main():
    return [r.getrlimit(x)[1] for x in (r.RLIMIT_DATA, r.RLIMIT_NPROC, r.RLIMIT_NOFILE, r.RLIMIT_FSIZE)]
`))
	l := DefaultLimits
	want := fmt.Sprintf("[%d,%d,%d,%d]", l.MemoryBytes, l.Processes, l.OpenFiles, l.FileBytes)
	if got := string(f.result(t, 1).Result); got != want {
		t.Errorf("the bounds are %s, not %s", got, want)
	}
}
