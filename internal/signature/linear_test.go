package signature

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever is repeated, the time grows with the length of the code alone.
func TestTimeIsLinear(t *testing.T) {
	begins := map[string][]string{
		"bash": {""}, "postgresql": {""}, "go": {"", "package inner\nfunc main(a "},
		"python3": {"", "def main(a: ", "def main(a="}, "bun": {"", "export function main(a: ", "export function main(a = "},
	}
	pieces := []string{
		"1e+", "(", ")", "[", "{", "<", "a<", "`", "`${", "'", "\"", "'''", "f'{", "f\"{x:", "/", "/*", "*/", "--", "$1::", "$1:: ", "$a$", "$",
		"-- $1 a (", "# requirements:\n", "#\n", "import a\n", "import ", "from . import a,", "export {", "export ", "export const main = ", "type A = B\n",
		"enum A {", "class A(Enum):\n", "def main(", "def main(a):\n", "x = 1\n", "a=$1\n", "a=${1:-", "cat <<E\n", "f() {", "\\\n", "\\", " ", "\n", "=>", "A extends ",
		"//require a b\n", "package a\n", "struct{", "é", "\x00", "import(", "async ", "a|", "a&", "a[]", "{}&", "list[",
	}
	const short, times = 1 << 12, 8
	for language, starts := range begins {
		for _, begin := range starts {
			for _, piece := range pieces {
				var one, many time.Duration
				for range 3 { // a machine that is busy may be slow once
					one = cost(t, language, begin+strings.Repeat(piece, short/len(piece)))
					many = cost(t, language, begin+strings.Repeat(piece, times*short/len(piece)))
					// What grows with the square costs 64 times as much.
					if many <= 3*times*one+50*time.Millisecond {
						one = 0
						break
					}
				}
				if one > 0 {
					t.Errorf("%s: %q, and then %q again and again, took %s; %d times as many took %s", language, begin, piece, one, times, many)
				}
			}
		}
	}
}

// cost returns the processor time that reading a script takes.
func cost(t *testing.T, language, code string) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := processorTime(t)
	if sig, err := Parse(language, code); err == nil {
		sound(t, sig)
	}
	Imports(language, code)
	return processorTime(t) - before
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
