package worker

import (
	"strings"
	"testing"
)

var pythonEcho = "def main(x):\n    return x\n"

func TestPython(t *testing.T) {
	values := []string{
		`null`, `true`, `false`, `0`, `-7`, `9007199254740993`, `123456789012345678901234567890`, `1.5`, `1e+300`, `""`, `"a b"`,
		`"héé 😀"`, `"nul \u0000 end"`, `"lone \ud800 half"`, `[]`, `[1,[2,[3,null]]]`, `{}`, `{"a":{"b":[{"c":1}]},"":2}`, `"\u003c\u2028"`,
	}
	cases := []languageCase{
		{name: "default", code: "def main(a, b=3, *, c='x'):\n    return [a, b, c]", args: `{"a":1}`, want: `[1,3,"x"]`},
		{name: "by name", code: "def main(a, b, /, c, *, d):\n    return [a, b, c, d]", args: `{"d":4,"c":3,"b":2,"a":1}`, want: `[1,2,3,4]`},
		{name: "missing", code: "def main(a, other):\n    return a", args: `{"a":1}`, errName: "TypeError", message: "'other'"},
		{name: "more than it takes", code: pythonEcho, args: `{"x":1,"y":2}`, want: `1`},
		{name: "kwargs", code: "def main(x, **more):\n    return [x, more]", args: `{"x":1,"y":2}`, want: `[1,{"y":2}]`},
		{name: "wrapped", code: "import functools\ndef d(f):\n    @functools.wraps(f)\n    def g(*a, **k):\n        return f(*a, **k)\n    return g\n@d\ndef main(x):\n    return x", args: `{"x":1,"y":2}`, want: `1`},
		{name: "declared types", code: "import datetime\nfrom typing import Optional\ndef main(b: bytes, d: datetime.datetime, e: Optional[datetime.date], f: 'bytes'):\n    return [b.hex(), d.year, e.day, f.hex()]", args: `{"b":"/wA=","d":"2026-01-02T03:04:05Z","e":"2026-01-09","f":"AA=="}`, want: `["ff00",2026,9,"00"]`},
		{name: "not of the declared type", code: "from datetime import datetime\ndef main(when: datetime):\n    return 1", args: `{"when":"soon"}`, errName: "ValueError", message: "argument when"},
		{name: "not a number", code: "def main():\n    return [float('nan'), float('inf'), {'x': -float('inf')}, 1.5]", want: `[null,null,{"x":null},1.5]`},
		{name: "dates and decimals", code: "import datetime as d, decimal, uuid\ndef main():\n    return [d.datetime(2026,1,2,3,4,5), d.date(2026,1,2), decimal.Decimal('1.10'), uuid.UUID(int=1)]", want: `["2026-01-02 03:04:05","2026-01-02","1.10","00000000-0000-0000-0000-000000000001"]`},
		{name: "bytes", code: "def main():\n    return [b'\\xff\\x00', bytearray(b'a')]", want: `["/wA=","YQ=="]`},
		{name: "sets and tuples", code: "def main():\n    return [{1}, (2, 3), frozenset()]", want: `[[1],[2,3],[]]`},
		{name: "data class", code: "from dataclasses import dataclass\nimport enum\nclass C(enum.Enum):\n    RED = 'r'\n@dataclass\nclass P:\n    x: int\n    c: C\ndef main():\n    return P(1, C.RED)", want: `{"x":1,"c":"r"}`},
		{name: "data frame", code: "class V:\n    def tolist(self): return [[1, 2]]\nclass DataFrame:\n    values = V()\nclass S:\n    def to_dict(self): return {'a': float('nan')}\ndef main():\n    return [DataFrame(), S()]", want: `[[[1,2]],{"a":null}]`},
		{name: "keys", code: "def main():\n    return {1: 1, None: 2, (1, 2): 3, True: 4} | {2.5: 5}", want: `{"1":4,"null":2,"(1, 2)":3,"2.5":5}`},
		{name: "function", code: "def main():\n    return main.__name__ and [type(main)]", want: `["<class 'function'>"]`},
		{name: "circle", code: "def main():\n    a = []\n    a.append(a)\n    return a", errName: FailureResult, message: "it holds itself"},
		{name: "too deep", code: "def main():\n    a = []\n    for _ in range(100000):\n        a = [a]\n    return a", errName: FailureResult, message: "recursion"},
		{name: "raised", code: "class Mine(Exception):\n    pass\ndef f():\n    raise Mine('why')\ndef main():\n    f()", errName: "Mine", message: "why", stack: "  File \"main.py\", line 6, in main\n    f()\n  File \"main.py\", line 4, in f\n    raise Mine('why')\n"},
		{name: "named like ours", code: "class WorkerLost(Exception):\n    pass\ndef main():\n    raise WorkerLost('no')", errName: "WorkerLost", message: "no"},
		{name: "raised while loading", code: "x = 1 / 0\ndef main():\n    pass", errName: "ZeroDivisionError", message: "division", stack: "main.py\", line 1"},
		{name: "no text of its own", code: "class E(Exception):\n    def __str__(self): return 1\ndef main():\n    raise E()", errName: "E", message: "cannot be shown"},
		{name: "exit 0", code: "import sys\ndef main():\n    print('bye')\n    sys.exit(0)", errName: FailureExecution, message: "before it had returned a result, last log lines:\nbye"},
		{name: "exit 3", code: "def main():\n    print('bye')\n    exit(3)", errName: FailureExecution, message: "ExitCode: 3, last log lines:\nbye"},
		{name: "exit at once", code: "import os\ndef main():\n    os._exit(0)", errName: FailureExecution, message: "before it had returned"},
		{name: "signal", code: "import os\ndef main():\n    os.kill(os.getpid(), 11)", errName: FailureExecution, message: "SIGSEGV"},
		{name: "async", code: "import asyncio\nasync def main(x):\n    await asyncio.sleep(0.01)\n    return x", args: `{"x":1}`, want: `1`},
		{name: "syntax", code: "def main():\n    return (1,\n", errName: "SyntaxError", message: "main.py, line 2"},
		{name: "no main", code: "def other():\n    pass", errName: "NameError", message: "no function main"},
		{name: "main is no function", code: "main = 3", errName: "NameError", message: "no function main"},
		{name: "preprocessor", entry: "preprocessor", code: "def preprocessor(event):\n    return {'got': event}\ndef main(got):\n    return got", args: `{"event":{"kind":"http"}}`, want: `{"got":{"kind":"http"}}`},
		{name: "preprocessor of plain arguments", entry: "preprocessor", code: "def preprocessor(event):\n    return event\ndef main():\n    pass", args: `{"a":1}`, want: `{"a":1}`},
		{name: "no preprocessor", entry: "preprocessor", code: "def main():\n    pass", errName: "NameError", message: "no function preprocessor"},
		{name: "standard input", code: "import sys\ndef main():\n    return [sys.stdin.read(), sys.stdin.fileno()]", want: `["",0]`},
		{name: "environment", code: "import os\ndef main():\n    return [os.environ['WM_JOB_ID'][:4], os.path.samefile(os.environ['HOME'], '.'), sorted(n for n in os.environ if 'SLUICE' in n), __name__]", want: `["job-",true,["SLUICE_ATTEMPT"],"main"]`},
		{name: "annotations of another day", code: "from __future__ import annotations\nimport dataclasses, typing\n@dataclasses.dataclass\nclass A:\n    x: int\ndef main():\n    return typing.get_type_hints(A)['x'].__name__", want: `"int"`},
		{name: "a reply of its own", code: "import os\ndef main():\n    for fd in range(3, 1024):\n        try:\n            os.write(fd, b'junk{\"result\":2}\\n{\"key\":\"\",\"result\":2}\\nrest')\n        except OSError:\n            pass\n    return 1", want: `1`},
		{name: "all closed", code: "import os\ndef main():\n    os.closerange(3, 1024)\n    return 1", errName: FailureExecution, message: "has closed the descriptor"},
		{name: "descriptor 3 is free", code: "import os\ndef main():\n    try:\n        os.fstat(3)\n    except OSError:\n        return 'free'", want: `"free"`},
		{name: "a child sees no channel", code: "import subprocess\ndef main():\n    return subprocess.run(['ls', '/proc/self/fd'], close_fds=False, capture_output=True, text=True).stdout.split()", want: `["0","1","2","3"]`},
		{name: "a child that returns", code: "import os\ndef main():\n    p = os.fork()\n    if p:\n        os.waitpid(p, 0)\n    return bool(p)", want: `true`},
		{name: "own module", code: "import pickle, main as m\nclass A:\n    pass\ndef main():\n    return type(pickle.loads(pickle.dumps(A()))) is A and m.A is A", want: `true`},
	}
	for _, v := range values {
		want := v
		switch v {
		case `"\u003c\u2028"`:
			want = "\"<\u2028\""
		}
		cases = append(cases, languageCase{name: "value " + v, code: pythonEcho, args: `{"x":` + v + `}`, want: want})
	}
	runLanguageCases(t, "python3", NewPython(), cases)
}

func TestPythonRuns(t *testing.T) {
	testRuns(t, "python3", NewPython(), languageRuns{
		echo:       pythonEcho,
		sleep:      "import time\ndef main():\n    print('up')\n    time.sleep(60)",
		ignoreTERM: "import time, signal\ndef main():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    print('up')\n    while True:\n        time.sleep(60)",
		flood:      "def main():\n    for i in range(40):\n        print('x' * 500000)\n    return 'done'",
		large:      "def main():\n    return 'x' * (8 << 20)",
	})
}

func TestPythonSplitsNoCharacters(t *testing.T) {
	f := newFakeSource()
	startLanguage(t, f, "python3", NewPython())
	f.push(languageJob(1, "python3", "import sys\ndef main():\n    print('é😀')\n    sys.stdout.write('no end')\n    sys.stderr.write('!')", ""))
	f.result(t, 1)
	if got := f.logOf(1); !strings.HasPrefix(got, "é😀\n") || len(got) != len("é😀\nno end!") {
		t.Errorf("%q", got)
	}
}
